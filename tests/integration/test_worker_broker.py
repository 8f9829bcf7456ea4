"""The broker rings; without it the worker looks by itself (promise 3; fault rows 3 to 6, 31)."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import pytest
from celery import Celery
from redis import Redis
from sqlalchemy import Engine

from core.celery import RECONCILE, RETENTION, RING_CLASSIFY, Queue, make_app
from core.failpoints import ENVIRONMENT_VARIABLE
from core.settings import Settings
from db.base import make_sessions
from db.vocabulary import ReceiptState
from tests import servers
from tests.factories import dicom_objects as objects
from tests.integration.retention_kit import House
from tests.integration.worker_kit import bench, deliver, spool
from tests.integration.worker_process import PATIENT, predictions, receipts, wait_finished, working
from tests.peers.listener import registrar
from tests.waiting import wait_until


@pytest.fixture
def brokered(make_settings: Callable[..., Settings], redis_url: str) -> Settings:
    return make_settings(broker_url=redis_url)


@pytest.fixture
def app(brokered: Settings) -> Iterator[Celery]:
    app = make_app(brokered)
    yield app
    app.close()


@pytest.mark.requires("redis-server")
def test_row_31_ten_bells_wake_two_idle_workers_and_give_one_result(
    brokered: Settings, sqlite_engine: Engine, app: Celery
) -> None:
    silent = {"idle_poll_seconds": 600, "sweep_seconds": 600, **PATIENT}
    with working(brokered, **silent) as worker, working(brokered, **silent) as second:
        for one in (worker, second):
            wait_until(lambda one=one: one.said("model_in_service"), 60, "the worker serves")  # type: ignore[misc]
            wait_until(lambda one=one: one.said("Connected to redis"), 60, "Celery listens")  # type: ignore[misc]
        instances = [deliver(brokered, make_sessions(sqlite_engine), objects.phantom()) for _ in range(3)]
        for _ in range(10):
            app.send_task(RING_CLASSIFY)
        wait_finished(sqlite_engine, 30)
        assert (worker.stop(), second.stop()) == (0, 0)
    assert [receipt.attempts for receipt in receipts(sqlite_engine)] == [1] * len(instances)
    assert predictions(sqlite_engine) == len(instances)


@pytest.mark.requires("redis-server")
def test_rows_05_06_a_wiped_or_hung_broker_costs_seconds(
    make_settings: Callable[..., Settings], sqlite_engine: Engine
) -> None:
    server = servers.redis()
    try:
        settings = make_settings(broker_url=server.url)
        sessions = make_sessions(sqlite_engine)
        with working(settings) as worker:
            wait_until(lambda: worker.said("Connected to redis"), 60, "Celery listens")
            with Redis.from_url(server.url) as client:
                client.flushall()
            deliver(settings, sessions, objects.phantom())
            wait_finished(sqlite_engine, 30)
            server.hang()
            deliver(settings, sessions, objects.phantom())
            wait_finished(sqlite_engine, 30)
            server.resume()
            server.kill()
            deliver(settings, sessions, objects.phantom())
            wait_finished(sqlite_engine, 30)
            # and it still stops in order
            assert worker.stop(15) == 0
        assert predictions(sqlite_engine) == 3
    finally:
        server.remove()


@pytest.mark.requires("redis-server")
def test_a_broker_that_hangs_or_is_absent_at_start_stops_nothing(
    make_settings: Callable[..., Settings], sqlite_engine: Engine
) -> None:
    server = servers.redis()
    try:
        settings = make_settings(broker_url=server.url)
        sessions = make_sessions(sqlite_engine)
        server.hang()
        deliver(settings, sessions, objects.phantom())
        with working(settings) as worker:
            wait_finished(sqlite_engine)
            assert worker.stop(15) == 0
        server.resume()
        server.stop()
        deliver(settings, sessions, objects.phantom())
        with working(settings) as worker:
            wait_finished(sqlite_engine)
            assert worker.stop(15) == 0
    finally:
        server.remove()


@pytest.mark.requires("redis-server")
def test_reconciliation_is_an_alarm_when_a_file_is_gone(brokered: Settings, sqlite_engine: Engine, app: Celery) -> None:
    with working(brokered) as worker:
        wait_until(lambda: worker.said("Connected to redis"), 60, "Celery listens")
        deliver(brokered, make_sessions(sqlite_engine), objects.phantom())
        wait_finished(sqlite_engine)
        # it moves after its receipt's end
        stored = brokered.data_dir / "stored"
        (path,) = wait_until(lambda: list(stored.rglob("*.dcm")), 30, "the file is stored")
        path.unlink()
        app.send_task(RECONCILE)
        wait_until(lambda: worker.said("not_reconciled"), 30, "the alarm")
        assert worker.stop() == 0


@pytest.mark.requires("redis-server")
def test_retention_runs_once_however_often_beat_rings(brokered: Settings, sqlite_engine: Engine, app: Celery) -> None:
    house = House(brokered, make_sessions(sqlite_engine))
    path, _ = house.study()
    with working(brokered, retention_stored_days=30) as worker:
        wait_until(lambda: worker.said("Connected to redis"), 60, "Celery listens")
        for _ in range(3):
            app.send_task(RETENTION)
        # behind them in the queue: when this was done, they were
        app.send_task(RECONCILE)
        wait_until(lambda: worker.said('"reconciled"'), 60, "the queue is empty")
        assert worker.log.read_text().count('"retention_ran"') == 1
        assert worker.stop() == 0
    assert not path.exists()


@pytest.mark.requires("redis-server")
def test_row_03_beat_killed_around_a_message_loses_and_doubles_nothing(
    brokered: Settings, sqlite_engine: Engine, redis_url: str
) -> None:
    program = ("-m", "tests.integration.beat_process")
    path, _ = House(brokered, make_sessions(sqlite_engine)).study()
    with Redis.from_url(redis_url) as client:
        for step, messages in (("publishing", 0), ("published", 1)):
            with working(brokered, command="beat", program=program, failpoint=f"beat.{step}") as dying:
                assert dying.process.wait(60) == -signal.SIGKILL
            assert client.llen(Queue.MAINTENANCE.value) == messages
    # the next beat goes on ringing, and the message that was left counts once more
    with (
        working(brokered, retention_stored_days=30) as worker,
        working(brokered, command="beat", program=program) as beat,
    ):
        wait_until(lambda: worker.log.read_text().count('"reconciled"') > 2, 60, "it has rung more than once")
        assert worker.log.read_text().count('"retention_ran"') == 1
        assert (beat.stop(15), worker.stop(15)) == (0, 0)
    assert not path.exists()


@pytest.mark.requires("redis-server")
def test_row_03_a_registrar_killed_around_its_ring_loses_and_doubles_nothing(
    brokered: Settings, sqlite_engine: Engine, redis_url: str
) -> None:
    sessions, count = make_sessions(sqlite_engine), 0
    with Redis.from_url(redis_url) as client:
        for step, rings in (("ringing", 0), ("rung", 1)):
            spool(brokered, objects.phantom())
            count += 1
            process = registrar(brokered.data_dir, broker_url=redis_url).start(**{ENVIRONMENT_VARIABLE: f"bell.{step}"})
            assert process.wait() == -signal.SIGKILL
            # what it would have rung for is in the ledger, where a worker finds it without
            assert len(receipts(sqlite_engine)) == count
            assert client.llen(Queue.CLASSIFY.value) == rings
        with process.start():
            wait_until(
                lambda: client.llen(Queue.CLASSIFY.value) == rings + 1, 20, "the next one rings for what it finds"
            )
            assert process.terminate() == 0
    with bench(brokered, sessions) as worker:
        worker.run()
        assert {(one.state, one.attempts) for one in receipts(sqlite_engine)} == {(ReceiptState.CLASSIFIED, 1)}
        assert (len(receipts(sqlite_engine)), len(worker.predictions())) == (2, 2)


def test_beat_without_a_broker_says_what_to_do(settings: Settings, sqlite_engine: Engine) -> None:
    with working(settings, command="beat") as beat:
        assert beat.process.wait(30) == 2
        assert beat.said("work --beat")
    with working(settings, "--beat") as worker:
        wait_until(lambda: worker.said("beat: Starting"), 60, "the embedded beat runs")
        deliver(settings, make_sessions(sqlite_engine), objects.phantom())
        wait_finished(sqlite_engine)
        assert worker.stop() == 0


@pytest.mark.requires("redis-server")
def test_beat_runs_until_stopped(brokered: Settings, sqlite_engine: Engine) -> None:
    with working(brokered, command="beat") as beat:
        wait_until(lambda: beat.said("beat: Starting"), 60, "beat runs")
        assert beat.stop(15) == 0
        assert beat.said("beat_stopped")
    assert predictions(sqlite_engine) == 0
