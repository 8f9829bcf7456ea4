"""A night is started when it is due, as a process that outlives the message, and only where the key is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from sqlalchemy import Engine, select

from core import celery
from core.celery import NIGHTLY, Queue
from core.clock import SystemClock
from core.settings import Settings
from db.base import make_readers, make_sessions
from db.models.learning import NightlyRun
from db.vocabulary import NightState
from tests.factories.bundles import make_key, write_private
from tests.integration.night_kit import NightClock
from tests.integration.worker_process import working
from tests.waiting import wait_until
from worker import nightly
from worker.nightly import Nights


@pytest.fixture
def trainer(
    make_settings: Callable[..., Settings], sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Settings]:
    """Settings of a machine with the key, for this process and those it starts."""
    del sqlite_engine
    key = write_private(make_key(), tmp_path / "key.pem")

    def make(**changes: Any) -> Settings:
        settings = make_settings(signing_key_file=key, **{"nightly_hour": 2, **changes})
        monkeypatch.setenv("LUNGWATCH_DATA_DIR", str(settings.data_dir))
        for name in ("signing_key_file", "nightly_hour", "nightly_hours"):
            value = getattr(settings, name)
            monkeypatch.setenv(f"LUNGWATCH_{name.upper()}", "" if value is None else str(value))
        return settings

    return make


def at(hour: int, minute: int = 0) -> NightClock:
    """A clock at which it is so late here."""
    now = datetime.now().astimezone().replace(hour=hour, minute=minute, second=0)
    return NightClock(now.astimezone(UTC))


def rows(engine: Engine) -> list[NightlyRun]:
    with make_sessions(engine).begin() as session:
        return list(session.scalars(select(NightlyRun)))


def test_only_at_its_hours_and_where_the_key_is(trainer: Callable[..., Settings], sqlite_engine: Engine) -> None:
    readers = make_readers(sqlite_engine)
    for settings, clock in (
        (trainer(), at(1, 59)),
        (trainer(), at(7)),
        (trainer(nightly_hour=None), at(2)),
        (trainer().model_copy(update={"signing_key_file": None}), at(2)),
    ):
        assert not Nights(settings, readers, clock).start_if_due()
    assert not rows(sqlite_engine)


def test_a_night_that_is_due_runs_once_however_often_it_is_rung_for(
    trainer: Callable[..., Settings], sqlite_engine: Engine
) -> None:
    # the process reads the real clock
    settings = trainer(nightly_hour=datetime.now().astimezone().hour, nightly_hours=12.0)
    nights = Nights(settings, make_readers(sqlite_engine), SystemClock())
    assert nights.start_if_due()
    assert not nights.start_if_due()
    (row,) = wait_until(
        lambda: [row for row in rows(sqlite_engine) if row.state is not NightState.RUNNING], 120, "the night has ended"
    )
    wait_until(lambda: not nights.running, 60, "its process has ended")
    # nothing is in service here: it says so, and that is its end
    assert (row.state, row.attempts) == (NightState.FAILED, 1)
    assert "start a worker first" in (row.reason or "")
    assert not Nights(settings, make_readers(sqlite_engine), SystemClock()).start_if_due()


def test_a_worker_with_the_key_hears_the_bell_and_the_night_outlives_it(
    trainer: Callable[..., Settings], sqlite_engine: Engine, redis_url: str
) -> None:
    settings = trainer(nightly_hour=datetime.now().astimezone().hour, nightly_hours=12.0, broker_url=redis_url)
    app: Celery = celery.make_app(settings)
    given = {
        "signing_key_file": settings.signing_key_file,
        "nightly_hour": settings.nightly_hour,
        "nightly_hours": settings.nightly_hours,
    }
    with working(settings, **given) as worker:
        wait_until(lambda: worker.said("model_in_service"), 60, "a model is in service")
        for _ in range(3):
            app.send_task(NIGHTLY, queue=Queue.TRAINING.value)
        wait_until(lambda: rows(sqlite_engine), 60, "the night has begun")
        worker.kill()
    (row,) = wait_until(
        lambda: [row for row in rows(sqlite_engine) if row.state is not NightState.RUNNING], 120, "the night has ended"
    )
    assert row.state is NightState.EVALUATED, row.reason
    assert "testset freeze" in (row.reason or "")


def test_by_hand_it_says_how_it_ended_and_sigterm_gives_it_back(
    trainer: Callable[..., Settings], sqlite_engine: Engine
) -> None:
    trainer(nightly_hour=None)
    command = [sys.executable, "-m", "cli", "nightly", "--now", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ))
    wait_until(lambda: rows(sqlite_engine) or process.poll() is not None, 60, "it has begun")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)
    assert (done.returncode, found["state"]) == (1, "FAILED"), done.stderr
    # by hand it is run again, for what it failed of may have been put right
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert json.loads(again.stdout)["state"] == "FAILED"
    (row,) = rows(sqlite_engine)
    assert row.attempts == 1


def test_a_worker_that_is_stopped_asks_its_night_to_stop(
    trainer: Callable[..., Settings], sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = tmp_path / "said"
    program = (
        "import signal, sys; from pathlib import Path; "
        f"signal.signal(signal.SIGTERM, lambda *_: (Path({str(said)!r}).write_text('stopping'), sys.exit(0))); "
        f"Path({str(said)!r}).write_text('at it'); signal.pause()"
    )
    monkeypatch.setattr(nightly, "COMMAND", (sys.executable, "-c", program))
    settings = trainer(nightly_hour=datetime.now().astimezone().hour, nightly_hours=12.0)
    nights = Nights(settings, make_readers(sqlite_engine), SystemClock())
    nights.stop()
    assert nights.start_if_due()
    wait_until(lambda: said.exists() and said.read_text() == "at it", 30, "it is at it")
    nights.stop()
    wait_until(lambda: not nights.running, 30, "it has ended")
    assert said.read_text() == "stopping"
