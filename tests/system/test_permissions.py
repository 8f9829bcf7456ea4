"""What lies below the data directory is about patients: nothing of it is for others."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.system.serving import Serving, command
from tests.waiting import wait_until


@pytest.fixture(params=[0o022, 0o000, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(data: Path) -> dict[str, int]:
    found = {}
    for path in (data, *data.rglob("*")):
        # temporaries come and go while it runs
        with suppress(FileNotFoundError):
            found[str(path.relative_to(data))] = stat.S_IMODE(path.stat().st_mode)
    return found


def test_a_ledger_is_not_for_others(tmp_path: Path, umask: int) -> None:
    data = tmp_path / "data"
    assert command("db", "upgrade", data=data).returncode == 0
    found = modes(data)
    assert "lungwatch.db" in found
    assert [name for name, mode in found.items() if mode & (umask | 0o027)] == []


@pytest.mark.parametrize("umask", [0o022], indirect=True)
def test_nothing_that_serve_makes_is_for_others(tmp_path: Path, umask: int) -> None:
    data = tmp_path / "data"
    with Serving(data):
        # while it runs: SQLite's journals are there only then
        wait_until(lambda: {"lungwatch.db-wal", "lungwatch.db-shm", "audit.key"} <= modes(data).keys(), 60, "a ledger")
        found = modes(data)
    assert [name for name, mode in (found | modes(data)).items() if mode & (umask | 0o027)] == []
