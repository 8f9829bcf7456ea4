"""The broker rings; without it the worker looks by itself (promise 3; fault rows 4 to 6, 31)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from celery import Celery
from redis import Redis
from sqlalchemy import Engine

from core.celery import RECONCILE, RETENTION, RING_CLASSIFY, make_app
from core.settings import Settings
from db.base import make_sessions
from tests import servers
from tests.factories import dicom_objects as objects
from tests.integration.retention_kit import House
from tests.integration.worker_kit import deliver
from tests.integration.worker_process import predictions, wait_finished, working
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
def test_row_31_a_bell_wakes_an_idle_worker_and_ten_bells_give_one_result(
    brokered: Settings, sqlite_engine: Engine, app: Celery
) -> None:
    with working(brokered, idle_poll_seconds=600, sweep_seconds=600) as worker:
        wait_until(lambda: worker.said("model_in_service"), 60, "the worker serves")
        wait_until(lambda: worker.said("Connected to redis"), 60, "Celery listens")
        deliver(brokered, make_sessions(sqlite_engine), objects.phantom())
        for _ in range(10):
            app.send_task(RING_CLASSIFY)
        wait_finished(sqlite_engine, 30)
        assert worker.stop() == 0
    assert predictions(sqlite_engine) == 1


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
        for path in (brokered.data_dir / "stored").rglob("*.dcm"):
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


@pytest.mark.requires("rabbitmq-server")
def test_a_bell_over_rabbitmq(
    make_settings: Callable[..., Settings], rabbitmq_server: servers.Server, sqlite_engine: Engine
) -> None:
    settings = make_settings(broker_url=rabbitmq_server.url)
    app = make_app(settings)
    with working(settings, idle_poll_seconds=600, sweep_seconds=600) as worker:
        wait_until(lambda: worker.said("model_in_service"), 60, "the worker serves")
        wait_until(lambda: worker.said("Connected to amqp"), 60, "Celery listens")
        deliver(settings, make_sessions(sqlite_engine), objects.phantom())
        app.send_task(RING_CLASSIFY)
        wait_finished(sqlite_engine, 30)
        assert worker.stop() == 0
    app.close()


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
