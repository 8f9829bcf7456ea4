import os
import stat
from pathlib import Path

import pytest

from core.files import make_directories, move_durably, write_durably
from tests.limits import writing_at_most


def test_a_written_file_is_whole_and_leaves_no_temporary(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "file"
    write_durably(target, b"first")
    write_durably(target, b"second")
    assert target.read_bytes() == b"second"
    assert list(target.parent.iterdir()) == [target]


def test_with_an_owner_the_mode_is_taken_literally(tmp_path: Path) -> None:
    target = tmp_path / "file"
    before = os.umask(0o077)
    try:
        write_durably(target, b"x", 0o664, (os.geteuid(), os.getegid()))
        write_durably(tmp_path / "other", b"x", 0o664)
    finally:
        os.umask(before)
    assert stat.S_IMODE(target.stat().st_mode) == 0o664
    assert stat.S_IMODE((tmp_path / "other").stat().st_mode) == 0o600


def test_a_failed_write_leaves_the_old_content_and_no_temporary(tmp_path: Path) -> None:
    target = tmp_path / "taken"
    target.mkdir()
    with pytest.raises(OSError, match="directory") as refused:
        write_durably(target, b"x")
    assert (refused.value.filename, refused.value.filename2) == (str(target), None)
    assert list(tmp_path.iterdir()) == [target]


def test_a_disk_that_is_full_is_told_with_the_file(tmp_path: Path) -> None:
    target = tmp_path / "file"
    write_durably(target, b"first")
    with writing_at_most(8), pytest.raises(OSError, match="File too large") as refused:
        write_durably(target, b"x" * 9)
    assert refused.value.filename == str(target)
    assert target.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [target]


def test_moving_twice_counts_once(tmp_path: Path) -> None:
    source, destination = tmp_path / "source", tmp_path / "shard" / "destination"
    source.write_bytes(b"x")
    move_durably(source, destination)
    move_durably(source, destination)
    assert destination.read_bytes() == b"x"
    assert not source.exists()


def test_moving_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        move_durably(tmp_path / "none", tmp_path / "shard" / "none")


def test_directories_may_stand_already(tmp_path: Path) -> None:
    make_directories(tmp_path / "a" / "b")
    make_directories(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
