from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.cache import cached, digest_of

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
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["d.npy"]


def test_making_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path, "d", (10, 7), Maker(die_at=8), rows=4)
    maker, seen = Maker(), []
    np.testing.assert_array_equal(cached(tmp_path, "d", (10, 7), maker, seen.append, rows=4), WHOLE)
    assert maker.made == [8]
    assert seen == [8, 2]


@pytest.mark.parametrize("damage", ["rows", "partial"])
def test_what_is_damaged_is_made_anew(tmp_path: Path, damage: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        cached(tmp_path, "d", (10, 7), Maker(die_at=8), rows=4)
    (tmp_path / f"d.{damage}").write_bytes(b"?")
    maker = Maker()
    np.testing.assert_array_equal(cached(tmp_path, "d", (10, 7), maker, rows=4), WHOLE)
    assert maker.made == [0, 4, 8]


def test_a_digest_tells_parts_apart() -> None:
    assert digest_of("a", [1, 2]) == digest_of("a", [1, 2])
    assert len({digest_of("a", "b"), digest_of("ab"), digest_of("a", [1]), digest_of("b", "a")}) == 4
