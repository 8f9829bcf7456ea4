from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.errors import Misconfigured
from core.settings import Settings
from dicom_listener import announcement
from dicom_listener.announcement import Address

WHERE = Address("127.0.0.1", 4711, "OURS")
STARTED = datetime(2024, 1, 2, tzinfo=UTC)


def test_what_is_written_is_read(settings: Settings) -> None:
    assert announcement.read(settings) is None
    announcement.write(settings, WHERE, started_at=STARTED)
    assert announcement.read(settings) == WHERE
    said = json.loads(announcement.path(settings).read_bytes())
    assert said["pid"] == os.getpid()
    assert datetime.fromisoformat(said["started_at"]) == STARTED


def test_the_further_ports_are_said_too_and_an_earlier_version_need_not(settings: Settings) -> None:
    everywhere = Address("127.0.0.1", 4711, "OURS", tls_port=4712, metrics_port=4713)
    announcement.write(settings, everywhere, started_at=STARTED)
    assert announcement.read(settings) == everywhere
    announcement.path(settings).write_text('{"host": "127.0.0.1", "port": 4711, "ae_title": "OURS", "tls_port": "x"}')
    assert announcement.read(settings) == WHERE


def test_each_listener_has_its_own(make_settings: Callable[..., Settings]) -> None:
    announcement.write(make_settings(listener_name="west"), WHERE, started_at=STARTED)
    assert announcement.read(make_settings(listener_name="east")) is None


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", '{"host": "h", "port": "x", "ae_title": "A"}', '{"port": 1}'])
def test_what_is_no_announcement_is_none(settings: Settings, content: str) -> None:
    announcement.path(settings).parent.mkdir(parents=True)
    announcement.path(settings).write_text(content)
    assert announcement.read(settings) is None


def test_a_data_directory_that_cannot_be_made_is_named(make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    settings = make_settings(data_dir=tmp_path / "file" / "data")
    with pytest.raises(Misconfigured, match=r"cannot be written.*data directory"):
        announcement.write(settings, WHERE, started_at=STARTED)
