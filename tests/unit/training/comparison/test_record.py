from __future__ import annotations

from pathlib import Path

import pytest

from training.comparison.record import Layer, Parameters, Point, Record, Result, read_result
from training.errors import FitFailed

POINT = Point(1, 0.5, 0.8, 0.6, 0.7, 2.5, 4.5)
RESULT = Result(
    (POINT,), (0.5,), (0.1, 0.9), 2.5, 4.5, 0.0, 0.0, 7, Parameters(3, 2, 1), (Layer("Dense", "(None, 2)", 3),)
)


def recorded(folder: Path, epochs: int) -> Record:
    record = Record.open(folder, "f")
    record.write()
    for number in range(1, epochs + 1):
        record.weights(number).write_bytes(b"w")
        record = record.after(Point(number, 0.5, None, 0.6, 0.7, 1.0, 2.0), peak_memory=10 * number)
    return record


def test_a_fit_goes_on_where_it_stopped_and_keeps_the_latest_weights(tmp_path: Path) -> None:
    record = recorded(tmp_path / "new", 3)
    again = Record.open(tmp_path / "new", "f")
    assert again == record
    assert again.peak_memory == 30
    # killed while weights were written: not named, so not used
    again.weights(4).write_bytes(b"half")
    assert len(Record.open(tmp_path / "new", "f").points) == 3
    assert sorted(path.name for path in (tmp_path / "new").glob("*001*")) == []


def test_a_result_is_whole_or_not_there(tmp_path: Path) -> None:
    record = recorded(tmp_path, 2)
    assert read_result(tmp_path, "f") is None
    record.finish(RESULT)
    assert read_result(tmp_path, "f") == RESULT
    assert list(tmp_path.glob("epoch-*")) == []


def test_another_fit_is_not_gone_on_with(tmp_path: Path) -> None:
    recorded(tmp_path, 1).finish(RESULT)
    for read in (Record.open, read_result):
        with pytest.raises(FitFailed, match="choose another --out"):
            read(tmp_path, "g")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"fingerprint": "f"}', '{"fingerprint": "f", "points": [{}]}'])
def test_what_is_damaged_is_named(tmp_path: Path, content: str) -> None:
    recorded(tmp_path, 1).finish(RESULT)
    for name, read in (("progress.json", Record.open), ("result.json", read_result)):
        (tmp_path / name).write_text(content)
        with pytest.raises(FitFailed, match=rf"{name} is damaged; remove"):
            read(tmp_path, "f")
