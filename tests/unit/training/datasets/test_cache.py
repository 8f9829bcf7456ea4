from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.limits import writing_at_most
from training.datasets.cache import cached, digest_of
from training.errors import FitFailed, NoRoom

WHOLE = np.arange(70, dtype=np.float32).reshape(10, 7)


class Maker:
    """Makes rows, and may die before some."""

    def __init__(self, die_at: int | None = None) -> None:
        self.die_at = die_at
        self.made: list[int] = []

    def __call__(self, rows: slice) -> np.ndarray:
        if rows.start == self.die_at:
            raise KeyboardInterrupt
        self.made.append(rows.start)
        return WHOLE[rows]


def test_an_array_is_made_once(tmp_path: Path) -> None:
    maker, seen = Maker(), []
    found = cached(tmp_path / "new", "d", (10, 7), maker, seen.append, rows=4)
    np.testing.assert_array_equal(found, WHOLE)
    assert maker.made == [0, 4, 8]
    again = Maker(die_at=0)
    np.testing.assert_array_equal(cached(tmp_path / "new", "d", (10, 7), again, seen.append, rows=4), WHOLE)
    assert again.made == []
    assert sum(seen) == 20
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["d.npy", "d.sums"]


def test_making_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path, "d", (10, 7), Maker(die_at=8), rows=4)
    maker, seen = Maker(), []
    np.testing.assert_array_equal(cached(tmp_path, "d", (10, 7), maker, seen.append, rows=4), WHOLE)
    assert maker.made == [8]
    assert seen == [8, 2]


@pytest.mark.parametrize("damage", ["sums", "partial"])
def test_what_is_damaged_is_made_anew(tmp_path: Path, damage: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path, "d", (10, 7), Maker(die_at=8), rows=4)
    (tmp_path / f"d.{damage}").write_bytes(b"?")
    maker = Maker()
    np.testing.assert_array_equal(cached(tmp_path, "d", (10, 7), maker, rows=4), WHOLE)
    assert maker.made == [0, 4, 8]


@pytest.mark.parametrize(("spoil", "anew"), [(lambda b: b[:-90] + b"?" + b[-89:], [4, 8]), (lambda b: b[:-1], [8])])
def test_what_was_kept_is_checked_and_made_anew_from_the_first_damage_on(
    tmp_path: Path, spoil: Callable[[bytes], bytes], anew: list[int]
) -> None:
    cached(tmp_path, "d", (10, 7), Maker(), rows=4)
    (tmp_path / "d.npy").write_bytes(spoil((tmp_path / "d.npy").read_bytes()))
    maker = Maker()
    np.testing.assert_array_equal(cached(tmp_path, "d", (10, 7), maker, rows=4), WHOLE)
    assert maker.made == anew


def test_another_type_and_nothing_at_all(tmp_path: Path) -> None:
    cached(tmp_path, "d", (10, 7), Maker(), rows=4)
    found = cached(tmp_path, "d", (10, 7), Maker(), rows=4, dtype=np.uint16)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, WHOLE)
    assert cached(tmp_path, "e", (0, 7), Maker(die_at=0)).shape == (0, 7)


def test_a_disk_without_room_is_met_before_anything_is_made(tmp_path: Path) -> None:
    maker = Maker()
    with pytest.raises(FitFailed, match=r"10 images take 40000\.0 GB there; .* Make room"):
        cached(tmp_path, "d", (10, 10**12), maker)
    with writing_at_most(4096), pytest.raises(FitFailed, match=r"could not be written: File too large"):
        cached(tmp_path, "d", (1000, 70), maker)
    assert maker.made == []
    assert list(tmp_path.iterdir()) == []


def test_room_is_told_in_numbers_that_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.datasets.cache._SPARE", 1 << 60)
    with pytest.raises(NoRoom, match=r"1000 images take 280\.1 kB there; .* or keep it on another disk$"):
        cached(tmp_path, "d", (1000, 70), Maker())
    with pytest.raises(NoRoom, match=r"1000 images take 64\.0 MB there"):
        cached(tmp_path, "d", (1000, 16_000), Maker())


def test_what_cannot_be_made_is_said_as_it_was(tmp_path: Path) -> None:
    def make(_rows: slice) -> np.ndarray:
        raise FileNotFoundError("a picture")

    with pytest.raises(FileNotFoundError, match="a picture"):
        cached(tmp_path, "d", (10, 7), make)


def test_a_digest_tells_parts_apart() -> None:
    assert digest_of("a", [1, 2]) == digest_of("a", [1, 2])
    assert len({digest_of("a", "b"), digest_of("ab"), digest_of("a", [1]), digest_of("b", "a")}) == 4
