from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from dicom_listener.storage.disk import Room, Watermark

MEGABYTE = 1 << 20


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What the disk says of itself, to be changed by hand: 1000 blocks of 1 MB, all of it free."""
    said = SimpleNamespace(f_frsize=MEGABYTE, f_blocks=1000, f_bavail=1000, f_files=1 << 20, f_favail=1 << 20)
    monkeypatch.setattr(os, "statvfs", lambda _: said)
    return said


def test_the_larger_of_share_and_bytes_holds(tmp_path: Path) -> None:
    disk = shutil.disk_usage(tmp_path)
    assert Watermark(tmp_path, 0.0, 0).admits(1)
    assert not Watermark(tmp_path, 0.0, 0).admits(disk.total * 2)
    assert not Watermark(tmp_path, 0.0, disk.total * 2).admits(0)
    assert not Watermark(tmp_path, 0.9999, 0).admits(disk.total)


def test_the_floor_is_what_status_shows(tmp_path: Path) -> None:
    assert Watermark(tmp_path, 0.1, 5).floor(1000) == 100
    assert Watermark(tmp_path, 0.1, 500).floor(1000) == 500


def test_a_disk_that_cannot_be_asked_is_an_error_and_rejects_nobody(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Watermark(tmp_path / "gone", 0.0, 0).admits(1)
    assert not Watermark(tmp_path / "gone", 0.0, 0).rejects_associations()


def test_associations_are_rejected_below_half_the_mark_and_taken_again_above(disk: SimpleNamespace) -> None:
    watermark = Watermark(Path(), 0.1, 5)
    said = []
    for disk.f_bavail in (100, 99, 50, 49, 0, 50, 100):
        said.append((watermark.admits(0), watermark.rejects_associations()))
    taken, refused, rejected = (True, False), (False, False), (False, True)
    assert said == [taken, refused, refused, rejected, rejected, refused, taken]


@pytest.mark.parametrize(("inodes", "floor"), [(1 << 20, 1024), (10_000, 10), (12, 0)])
def test_some_inodes_stay_free(disk: SimpleNamespace, inodes: int, floor: int) -> None:
    watermark = Watermark(Path(), 0.0, 0)
    disk.f_files = inodes
    disk.f_favail = floor + 1
    assert watermark.admits(1)
    disk.f_favail = floor
    assert not watermark.admits(1)
    # what has its file already may be finished
    assert watermark.admits(1, files=0)
    assert not watermark.rejects_associations()
    disk.f_favail = 0
    assert watermark.rejects_associations() is (floor > 0)


def test_a_disk_that_makes_inodes_as_it_needs_them_is_never_out_of_them(disk: SimpleNamespace) -> None:
    disk.f_files = disk.f_favail = 0
    assert Watermark(Path(), 0.1, 0).admits(1)
    assert not Watermark(Path(), 0.1, 0).rejects_associations()


def test_what_others_claimed_and_have_not_written_is_not_free(disk: SimpleNamespace) -> None:
    disk.f_bavail = 10
    room = Room(Watermark(Path(), 0.0, 3 * MEGABYTE))
    first, second = room.allowance(), room.allowance()
    # claims 4 MB
    assert first.spend(1, files=1)
    # 3 MB more are free: not enough to claim ahead, enough for this
    assert second.spend(2 * MEGABYTE, files=1)
    assert not second.spend(2 * MEGABYTE)
    # the disk of this test does not see what was written, so only what was not yet written counts against it
    second.written(MEGABYTE)
    assert second.spend(2 * MEGABYTE)
    second.written(4 * MEGABYTE)
    assert not second.spend(4 * MEGABYTE)
    first.end()
    assert second.spend(4 * MEGABYTE)
    for allowance in (first, second):
        allowance.end()
        allowance.end()
    assert room.claim(7 * MEGABYTE, files=1) == 7 * MEGABYTE


def test_what_is_written_late_frees_no_more_than_was_claimed(disk: SimpleNamespace) -> None:
    disk.f_bavail = 10
    room = Room(Watermark(Path(), 0.0, 0))
    allowance = room.allowance()
    assert allowance.spend(10, files=1)
    allowance.written(10)
    allowance.end()
    allowance.written(5 * MEGABYTE)
    assert room.claim(10 * MEGABYTE + 1, files=0) == 0


def test_the_disk_is_asked_every_few_megabytes_where_there_is_plenty(
    disk: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def said(path: Path) -> SimpleNamespace:
        asked.append(path)
        return disk

    monkeypatch.setattr(os, "statvfs", said)
    allowance = Room(Watermark(Path(), 0.0, 0)).allowance()
    for _ in range(120):
        assert allowance.spend(MEGABYTE // 8)
    assert len(asked) == 4


def test_nothing_stays_claimed_when_all_have_ended(disk: SimpleNamespace) -> None:
    disk.f_bavail = 20
    room = Room(Watermark(Path(), 0.0, 0))

    def receive(_: int) -> bool:
        allowance = room.allowance()
        taken = [allowance.spend(100_000) for _ in range(50)]
        allowance.end()
        return all(taken)

    with ThreadPoolExecutor(8) as pool:
        assert any(pool.map(receive, range(40)))
    assert room.claim(20 * MEGABYTE, files=0) == 20 * MEGABYTE
