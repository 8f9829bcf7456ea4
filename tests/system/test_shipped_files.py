"""Every file that pydicom ships goes through the whole journey, and no helper or worker is the worse for it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine

from core.settings import Settings
from db.base import make_engine, make_sessions, sqlite_path
from tests.tools.shipped_files import LIMITS, PAGE, decode, page, rows, travel

# a quarter of what they may map and all that they may keep: neither an image nor a header made them grow
MOST_RESIDENT = 256 << 20
FAILED = {"CRASHED", "TIMED_OUT", "OUT_OF_MEMORY"}


@pytest.mark.timeout(300)
def test_every_shipped_file_comes_to_its_end_within_the_limits(
    sqlite_settings: Settings,
    sqlite_engine: Engine,
    make_settings: Callable[..., Settings],
    migrated_sqlite: Path,
    tmp_path: Path,
) -> None:
    second = make_settings(data_dir=tmp_path / "second")
    second.data_dir.mkdir()
    shutil.copyfile(migrated_sqlite, sqlite_path(second))
    database = make_engine(second)
    travelled, helpers = travel(sqlite_settings, sqlite_engine)
    taken, others = decode(second, make_sessions(database))
    database.dispose()
    ended = rows(travelled, taken)
    assert len(ended) > 150
    assert not {one.state for one in ended} & {"PENDING"}
    assert not {one.reason for one in ended} & FAILED
    assert not {one.taken.rpartition(" ")[2] for one in ended} & FAILED
    for helper in (*helpers, *others):
        # one that failed, or was too much for, would have been replaced
        assert helper.was_there
        assert helper.mapped < LIMITS["helper_memory_bytes"]
        assert helper.resident < MOST_RESIDENT
        # of all files together, less than one may take
        assert helper.cpu_seconds < LIMITS["helper_cpu_seconds"]
    assert PAGE.read_text() == page(ended), "say make test-files"
