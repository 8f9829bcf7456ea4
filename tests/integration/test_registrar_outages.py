"""Rows 4 to 7: brokers and databases that refuse, hang or forget. No answer to a sender changes, nothing is lost."""

from __future__ import annotations

import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator

import pytest
from redis import Redis
from sqlalchemy import Engine, func, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from core.celery import Queue
from core.settings import Settings
from db.base import make_engine, make_sessions
from db.migrate import upgrade
from db.models.receipt import Receipt
from tests import servers
from tests.peers.data_sets import IMPLICIT, data_set, new_uid
from tests.peers.listener import ListenerProcess, registrar
from tests.peers.raw import VERIFICATION, Context, RawPeer
from tests.waiting import wait_until

# far below any timeout of a broker's
UNCHANGED = 1.0


@pytest.fixture
def migrated(sqlite_engine: Engine) -> sessionmaker[Session]:
    return make_sessions(sqlite_engine)


@pytest.fixture
def broker() -> Iterator[servers.Server]:
    """A Redis of this test's own, to be stopped and hung."""
    server = servers.redis()
    yield server
    server.remove()


def store(port: int, count: int = 1) -> list[float]:
    """Store instances; return the seconds each answer took."""
    taken = []
    with RawPeer(port) as peer:
        peer.associate()
        for _ in range(count):
            instance = new_uid()
            data = data_set(instance, pixels=64 * 1024)
            began = time.monotonic()
            assert peer.store(instance, data).status == 0x0000
            taken.append(time.monotonic() - began)
        peer.release()
    return taken


def echo(port: int) -> None:
    with RawPeer(port) as peer:
        assert peer.associate([Context(VERIFICATION, [IMPLICIT])]).echo().status == 0x0000


def registered(sessions: sessionmaker[Session], count: int, seconds: float = 20) -> None:
    def found() -> int:
        try:
            with sessions() as session:
                return session.scalar(select(func.count()).select_from(Receipt)) or 0
        except OperationalError:
            # a database that has just been started says so
            return 0

    wait_until(lambda: found() >= count, seconds, f"{count} receipts")
    assert found() == count


def wait_for_the_bell(url: str, seconds: float) -> None:
    with Redis.from_url(url) as client:
        wait_until(lambda: client.llen(Queue.CLASSIFY.value) > 0, seconds, "the bell is rung")


@pytest.mark.requires("redis-server")
def test_row_04_a_broker_that_refuses_changes_no_answer(
    settings: Settings, migrated: sessionmaker[Session], broker: servers.Server
) -> None:
    data = settings.data_dir
    with (
        ListenerProcess(data, settings={"broker_url": broker.url}) as listener,
        registrar(data, broker_url=broker.url) as process,
    ):
        usual = statistics.median(store(listener.port, 8))
        registered(migrated, 8)
        wait_for_the_bell(broker.url, 20)
        broker.stop()
        assert statistics.median(store(listener.port, 8)) < max(10 * usual, UNCHANGED)
        registered(migrated, 16, 10)
        process.wait_for("bell_not_heard")
        broker.start()
        store(listener.port)
        wait_for_the_bell(broker.url, 30)
        registered(migrated, 17)
        assert process.terminate() == 0


@pytest.mark.requires("redis-server")
def test_row_05_a_broker_that_hangs_changes_no_answer_and_is_given_up(
    settings: Settings, migrated: sessionmaker[Session], broker: servers.Server
) -> None:
    data = settings.data_dir
    with (
        ListenerProcess(data, settings={"broker_url": broker.url}) as listener,
        registrar(data, broker_url=broker.url) as process,
    ):
        usual = statistics.median(store(listener.port, 8))
        registered(migrated, 8)
        wait_for_the_bell(broker.url, 20)
        broker.hang()
        began = time.monotonic()
        assert statistics.median(store(listener.port, 8)) < max(10 * usual, UNCHANGED)
        registered(migrated, 16, 10)
        process.wait_for("bell_not_heard")
        # an attempt to ring is given up within six seconds
        assert time.monotonic() - began < 6 + 5
        assert process.terminate() == 0


@pytest.mark.requires("redis-server")
def test_row_06_a_broker_that_was_wiped_is_rung_again(
    settings: Settings, migrated: sessionmaker[Session], broker: servers.Server
) -> None:
    """At the next image at the latest; until then idle workers look by themselves (test_worker_broker.py)."""
    data = settings.data_dir
    with (
        ListenerProcess(data, settings={"broker_url": broker.url}) as listener,
        registrar(data, broker_url=broker.url),
        Redis.from_url(broker.url) as client,
    ):
        store(listener.port, 2)
        wait_for_the_bell(broker.url, 20)
        client.flushall()
        store(listener.port)
        registered(migrated, 3)
        wait_for_the_bell(broker.url, 20)


@pytest.mark.requires("postgres")
def test_row_07_a_postgresql_that_is_stopped_or_hangs_delays_receipts_only(
    settings: Settings, make_settings: Callable[..., Settings]
) -> None:
    database = servers.postgres()
    engine = make_engine(make_settings(database_url=database.url))
    try:
        upgrade(engine)
        sessions = make_sessions(engine)
        with (
            ListenerProcess(settings.data_dir) as listener,
            registrar(settings.data_dir, database_url=database.url) as process,
        ):
            store(listener.port, 2)
            registered(sessions, 2)
            engine.dispose()
            database.hang()
            assert max(store(listener.port, 3)) < 5
            echo(listener.port)
            database.resume()
            registered(sessions, 5, 40)
            engine.dispose()
            database.stop()
            assert max(store(listener.port, 3)) < 5
            process.wait_for("registration_waits")
            database.start()
            registered(sessions, 8, 30)
            assert process.terminate() == 0
    finally:
        engine.dispose()
        database.remove()


def test_row_07_a_locked_sqlite_delays_receipts_only(settings: Settings, migrated: sessionmaker[Session]) -> None:
    with ListenerProcess(settings.data_dir) as listener, registrar(settings.data_dir) as process:
        process.wait_for("ledger_ready")
        with sqlite3.connect(settings.data_dir / "lungwatch.db", isolation_level=None) as lock:
            lock.execute("BEGIN EXCLUSIVE")
            assert max(store(listener.port, 3)) < 5
            echo(listener.port)
            lock.execute("ROLLBACK")
        lock.close()
        registered(migrated, 3, 30)
