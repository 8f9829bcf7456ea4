from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dicom_listener.disk import Watermark


def test_the_larger_of_share_and_bytes_holds(tmp_path: Path) -> None:
    disk = shutil.disk_usage(tmp_path)
    assert Watermark(tmp_path, 0.0, 0).admits(1)
    assert not Watermark(tmp_path, 0.0, 0).admits(disk.total * 2)
    assert not Watermark(tmp_path, 0.0, disk.total * 2).admits(0)
    assert not Watermark(tmp_path, 0.9999, 0).admits(disk.total)


def test_the_floor_is_what_status_shows(tmp_path: Path) -> None:
    assert Watermark(tmp_path, 0.1, 5).floor(1000) == 100
    assert Watermark(tmp_path, 0.1, 500).floor(1000) == 500


def test_a_disk_that_cannot_be_asked_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Watermark(tmp_path / "gone", 0.0, 0).admits(1)
