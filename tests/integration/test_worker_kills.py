"""A worker process killed, stopped or cut off: only seconds are lost (fault rows 2, 3, 7; promises 4, 10)."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from sqlalchemy import Engine, select
from sqlalchemy.exc import OperationalError

from core.settings import Settings
from db.base import make_engine, make_sessions
from db.claims import claim, release
from db.migrate import upgrade
from db.models.model import Heartbeat
from db.vocabulary import ReceiptState
from tests import servers
from tests.factories import dicom_objects as objects
from tests.integration.worker_kit import deliver
from tests.integration.worker_process import predictions, receipts, wait_finished, working
from tests.waiting import wait_until

# a helper that is merely slow on a busy machine must not be taken for one that hangs
BRIEF = {"helper_seconds": 3, "lease_seconds": 6.1}


@pytest.fixture
def database(sqlite_engine: Engine) -> Engine:
    return sqlite_engine


@pytest.mark.parametrize(
    ("failpoint", "attempts"),
    [("claimed", 1), ("attempt_charged", 2), ("decoding", 2), ("predicting", 2), ("recorded", 1), ("moved", 1)],
)
def test_row_02_kill_9_at_any_step_gives_one_result_after_a_restart(
    settings: Settings, database: Engine, failpoint: str, attempts: int
) -> None:
    deliver(settings, make_sessions(database), objects.phantom())
    with working(settings, failpoint=failpoint, **BRIEF) as dying:
        assert dying.process.wait(60) == -signal.SIGKILL
    with working(settings, **BRIEF) as worker:
        wait_finished(database)
        wait_until(lambda: receipts(database)[0].stored_at, 20, "the file is stored")
        assert worker.stop() == 0
    (receipt,) = receipts(database)
    assert (receipt.state, receipt.attempts) == (ReceiptState.CLASSIFIED, attempts)
    assert predictions(database) == 1
    assert not list((settings.data_dir / "spool").rglob("*.dcm"))
    assert len(list((settings.data_dir / "stored").rglob("*.dcm"))) == 1


def test_a_worker_that_sees_another_data_directory_takes_nothing_and_says_so(
    settings: Settings, database: Engine, tmp_path: Path
) -> None:
    deliver(settings, make_sessions(database), objects.phantom())

    def problems() -> list[str | None]:
        with make_sessions(database).begin() as session:
            return list(session.scalars(select(Heartbeat.problem)))

    with working(settings, data_dir=tmp_path / "not-mounted") as astray:
        wait_until(lambda: any("spool/listener" in (one or "") for one in problems()), 60, "the heartbeat says it")
        assert astray.stop() == 0
    (receipt,) = receipts(database)
    assert (receipt.state, receipt.attempts) == (ReceiptState.PENDING, 0)
    with working(settings) as worker:
        wait_finished(database)
        assert worker.stop() == 0
    assert predictions(database) == 1


def test_masters_that_refuse_show_in_the_heartbeat_and_quarantine_nothing(settings: Settings, database: Engine) -> None:
    settings.masters.parent.mkdir(parents=True, exist_ok=True)
    settings.masters.touch()
    deliver(settings, make_sessions(database), objects.phantom())

    def said() -> bool:
        with make_sessions(database).begin() as session:
            return any("masters" in (one or "") for one in session.scalars(select(Heartbeat.problem)))

    with working(settings) as worker:
        wait_until(said, 60, "the heartbeat says it")
        settings.masters.unlink()
        wait_finished(database)
        wait_until(lambda: not said(), 20, "the heartbeat is clear again")
        assert worker.stop() == 0
    (receipt,) = receipts(database)
    assert (receipt.state, receipt.attempts) == (ReceiptState.CLASSIFIED, 1)


def test_a_killed_worker_takes_its_helpers_with_it(settings: Settings, database: Engine) -> None:
    with working(settings) as worker:
        family = psutil.Process(worker.process.pid)
        wait_until(family.children, 30, "a helper runs")
        helpers = family.children()
        worker.kill()
        # one that was still importing notices when it is done
        wait_until(lambda: not any(_lives(helper) for helper in helpers), 30, "the helpers are gone")
    assert database.dialect.name == "sqlite"


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _answers(database: Engine) -> bool:
    database.dispose()
    with contextlib.suppress(OperationalError), database.connect():
        return True
    return False


def test_sigterm_gives_claims_back_and_ends_with_0(settings: Settings, database: Engine) -> None:
    sessions = make_sessions(database)
    for _ in range(12):
        deliver(settings, sessions, objects.phantom(picture=objects.gradient(1200, 1000)))
    with working(settings) as worker:
        wait_until(
            lambda: any(receipt.state is ReceiptState.CLASSIFIED for receipt in receipts(database)),
            60,
            "the first is classified",
        )
        # a supervisor and a terminal may both say so
        worker.process.send_signal(signal.SIGINT)
        assert worker.stop(10) == 0
        assert worker.said("worker_stopped")
    left = [receipt.id for receipt in receipts(database) if receipt.state is ReceiptState.PENDING]
    for receipt in receipts(database):
        # nothing keeps another worker from taking them now
        assert (receipt.lease_token, receipt.lease_until) == (None, None)
        assert receipt.attempts == (0 if receipt.state is ReceiptState.PENDING else 1)
    with make_sessions(database).begin() as session:
        taken = claim(session, 100, 60)
        assert [one.receipt_id for one in taken] == left
        release(session, taken)
    with working(settings):
        wait_finished(database)
    assert predictions(database) == 12


def test_row_02_a_stopped_holder_loses_its_lease_and_its_result(settings: Settings, database: Engine) -> None:
    sessions = make_sessions(database)
    for _ in range(20):
        deliver(settings, sessions, objects.phantom(picture=objects.gradient(1200, 1000)))
    with working(settings, **BRIEF) as frozen:
        wait_until(lambda: any(one.attempts for one in receipts(database)), 60, "work has begun")
        frozen.process.send_signal(signal.SIGSTOP)
        with working(settings, **BRIEF):
            wait_finished(database)
            frozen.process.send_signal(signal.SIGCONT)
            assert frozen.stop() == 0
    assert predictions(database) == 20
    assert {receipt.state for receipt in receipts(database)} == {ReceiptState.CLASSIFIED}
    assert max(receipt.attempts for receipt in receipts(database)) <= 2


def test_a_missing_schema_is_refused_and_says_what_to_do(settings: Settings) -> None:
    with working(settings) as worker:
        assert worker.process.wait(30) == 2
        assert worker.said("lungwatch db upgrade")


@pytest.mark.requires("postgres")
def test_row_07_a_database_that_stops_and_hangs_costs_only_time(make_settings: Callable[..., Settings]) -> None:
    server = servers.postgres()
    try:
        settings = make_settings(database_url=server.url)
        database = make_engine(settings)
        upgrade(database)
        sessions = make_sessions(database)
        with working(settings) as worker:
            for _ in range(12):
                deliver(settings, sessions, objects.phantom())
            wait_until(lambda: predictions(database) > 1, 60, "work has begun")
            server.kill()
            wait_until(lambda: worker.said("ledger_away") or worker.said("database_away"), 60, "the worker noticed")
            server.start()
            wait_until(lambda: _answers(database), 60, "the database has recovered")
            wait_finished(database)
            for _ in range(4):
                deliver(settings, sessions, objects.phantom())
            wait_until(lambda: predictions(database) > 12, 60, "the next is classified")
            server.hang()
            # a hung server's kernel still answers for it, so nobody can tell; what matters is what follows
            assert worker.process.poll() is None
            server.resume()
            wait_finished(database)
            assert worker.stop() == 0
        assert predictions(database) == 16
        assert {receipt.state for receipt in receipts(database)} == {ReceiptState.CLASSIFIED}
        database.dispose()
    finally:
        server.remove()
