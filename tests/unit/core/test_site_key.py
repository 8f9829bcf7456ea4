from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.errors import Misconfigured
from core.site_key import site_key


def key(path: Path) -> bytes:
    return site_key(path, "something", "LUNGWATCH_SOMETHING")


def test_the_first_of_many_makes_the_key_of_all(tmp_path: Path) -> None:
    path = tmp_path / "data" / "some.key"
    with ThreadPoolExecutor(8) as pool:
        (found,) = {future.result() for future in [pool.submit(key, path) for _ in range(32)]}
    assert len(found) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]
    assert key(tmp_path / "other.key") != found


def test_a_file_that_holds_no_key_is_named_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "some.key"
    path.write_text("abc")
    with pytest.raises(Misconfigured, match=r"some.key holds no key of something: put it back from a backup"):
        key(path)
    assert path.read_text() == "abc"
    with pytest.raises(Misconfigured, match="LUNGWATCH_SOMETHING"):
        key(tmp_path)
