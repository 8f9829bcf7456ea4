from __future__ import annotations

import json
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest

from tests.factories.nights import failed, night
from training.examination.metrics import Scored, intervals
from training.nightly.report.measured import FIGURES
from training.nightly.report.night import Examined, Night
from training.nightly.report.write import JSON, PAGE, TEXT, write

MEGABYTE = 1 << 20


def measured(given: Examined) -> Examined:
    """Return the same with figures of few resamples, so that the test need not wait for many."""
    found = {}
    for role, said in given.answers.items():
        scored = Scored(given.pictures.labels, said.scores, said.probabilities, given.pictures.numbers)
        found[role] = intervals(scored, said.threshold, FIGURES, 20)
    return replace(given, figures=found)


@pytest.fixture(scope="module")
def given() -> Night:
    whole = night()
    assert whole.test is not None
    assert whole.recent is not None
    return replace(whole, test=measured(whole.test), recent=measured(whole.recent))


@pytest.fixture(scope="module")
def folder(given: Night, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that was not there, with the report of the night."""
    found = tmp_path_factory.mktemp("data") / "reports" / "2026-03-01"
    write(found, given)
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_all_three_say_the_same_of_the_night(folder: Path) -> None:
    assert sorted(contents(folder)) == [PAGE, JSON, TEXT]
    content = json.loads((folder / JSON).read_text())
    auc = content["models"][0]["test"]["metrics"]["auc"]
    cell = f"{auc['value']:.3f} ({auc['low']:.3f} to {auc['high']:.3f})"
    assert len(content["reasons"]) == 1
    for name in (PAGE, TEXT):
        text = " ".join(unescape((folder / name).read_text()).split())
        missing = [
            words
            for words in (cell, content["state"], content["headline"], *content["reasons"], *content["warnings"])
            if words not in text
        ]
        assert missing == []


def test_a_full_night_with_pictures_that_do_not_compress_stays_small(folder: Path, given: Night) -> None:
    assert len([one for one in given.disagreements if one.thumbnail is not None]) == 23
    assert sum(path.stat().st_size for path in folder.iterdir()) < 3 * MEGABYTE


def test_the_same_night_gives_the_same_bytes_and_replaces_what_was_there(
    folder: Path, given: Night, tmp_path: Path
) -> None:
    write(tmp_path, failed())
    before = contents(tmp_path)
    write(tmp_path, given)
    assert contents(tmp_path) == contents(folder)
    assert [name for name, content in contents(tmp_path).items() if content == before[name]] == []


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        write(tmp_path / "file" / "2026-03-01", failed())
