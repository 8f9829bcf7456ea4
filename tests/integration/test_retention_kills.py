"""``lungwatch retention`` killed at every step: what is left can be told from a loss, and the next run completes it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from core.failpoints import ENVIRONMENT_VARIABLE
from core.settings import Settings
from db import removal
from db.audit import Audit
from db.base import make_readers, make_sessions
from tests.integration.retention_kit import House
from tests.integration.worker_process import ROOT
from worker.retention.run import run

STUDIES = 3
POLICIES = {"retention_stored_days": 30, "retention_masters_days": 60}


@pytest.fixture
def sessions(sqlite_engine: Engine) -> sessionmaker[Session]:
    return make_sessions(sqlite_engine)


def retention(settings: Settings, *options: str, failpoint: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LUNGWATCH_")}
    environment |= {
        "LUNGWATCH_DATA_DIR": str(settings.data_dir),
        **{f"LUNGWATCH_{name.upper()}": str(days) for name, days in POLICIES.items()},
    }
    if failpoint is not None:
        environment[ENVIRONMENT_VARIABLE] = failpoint
    command = [sys.executable, "-m", "cli", "retention", "--json", *options]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120)


# after the failpoint: files left, files whose removal is noted, masters left (one set aside counts), masters noted
@pytest.mark.parametrize(
    ("failpoint", "state"),
    [
        ("retention.files_decided", (3, 0, 3, 0)),
        ("retention.file_removed:2", (1, 0, 3, 0)),
        ("retention.files_gone", (0, 0, 3, 0)),
        ("retention.files_noted", (0, 3, 3, 0)),
        ("retention.masters_decided", (0, 3, 3, 0)),
        ("retention.master_aside:2", (0, 3, 2, 1)),
        ("retention.master_removed", (0, 3, 2, 0)),
        ("retention.masters_gone", (0, 3, 2, 0)),
        ("retention.masters_noted", (0, 3, 2, 1)),
    ],
)
def test_killed_at_any_step_it_is_explained_and_completed(
    settings: Settings,
    sqlite_engine: Engine,
    sessions: sessionmaker[Session],
    failpoint: str,
    state: tuple[int, int, int, int],
) -> None:
    files, noted, masters, masters_noted = state
    house = House(settings, sessions)
    digests = [house.study()[1].stem for _ in range(STUDIES)]
    assert retention(settings, failpoint=failpoint).returncode == -signal.SIGKILL

    def left(folder: str) -> int:
        return sum(path.is_file() for path in (house.data / folder).rglob("*"))

    found = Audit(make_readers(sqlite_engine), house.data, pause=lambda _: None).run()
    assert found.clean
    assert (left("stored"), found.removed, found.removing) == (files, noted, STUDIES - noted)
    with sessions() as session:
        gone = removal.gone(session, digests)
    assert (left("masters"), sum(one.removed_at is not None for one in gone.values())) == (masters, masters_noted)
    # what is set aside is noted as gone only once it is
    done = run(settings.model_copy(update=POLICIES), sessions)
    assert done.stored_files == STUDIES - noted
    assert done.masters >= masters
    found = Audit(make_readers(sqlite_engine), house.data, pause=lambda _: None).run()
    assert found.clean
    assert (found.removed, found.removing, left("stored"), left("masters")) == (STUDIES, 0, 0, 0)
    with sessions() as session:
        assert {one.removed_at is not None for one in removal.gone(session, digests).values()} == {True}
        assert len(removal.gone(session, digests)) == STUDIES


def test_the_command_says_what_goes_and_a_dry_run_changes_nothing(
    settings: Settings, sqlite_engine: Engine, sessions: sessionmaker[Session]
) -> None:
    house = House(settings, sessions)
    paths = house.study()
    done = retention(settings, "--dry-run")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["dry_run"], said["stored_files"], said["masters"]) == (True, 1, 1)
    assert said["policies"]["stored"] == {"name": "RETENTION_STORED_DAYS", "days": 30}
    assert all(path.exists() for path in paths)
    assert house.receipts()[0].removal_policy is None
    done = retention(settings)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == said | {"dry_run": False}
    assert not any(path.exists() for path in paths)
    assert sqlite_engine.dialect.name == "sqlite"
