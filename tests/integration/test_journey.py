"""The whole journey through each broker: a real listener, registrar and worker, and real senders (promises 3 to 5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from pydicom.dataset import Dataset
from redis import Redis
from sqlalchemy import Engine, select

from core.celery import Queue
from core.settings import Settings
from db import queries
from db.audit import reconcile
from db.base import make_engine, make_readers, make_sessions
from db.models.study import Image, Study
from db.vocabulary import ReceiptState
from tests import servers
from tests.factories import dicom_objects as objects
from tests.integration.worker_process import PATIENT, predictions, receipts, wait_finished, working
from tests.peers.listener import ListenerProcess, data_set_in, registrar
from tests.peers.raw import Context, RawPeer
from tests.waiting import wait_until

# so that nothing but the bell can have woken the worker in time
DEAF = {"idle_poll_seconds": 600}


def store(port: int, dataset: Dataset, calling: str = "PACS") -> int:
    """Send an object over an association of its own; return the status."""
    sop_class, syntax = str(dataset.SOPClassUID), str(dataset.file_meta.TransferSyntaxUID)
    with RawPeer(port) as peer:
        peer.associate([Context(sop_class, [syntax])], calling=calling.encode())
        status = peer.store(dataset.SOPInstanceUID, data_set_in(objects.part10(dataset)), sop_class).status
        peer.release()
    return status


@pytest.mark.timeout(400)
@pytest.mark.requires("postgres", "redis-server")
def test_row_11_one_instance_sent_a_hundred_times_by_eight_at_once_gives_one_result(
    make_settings: Callable[..., Settings],
    postgres_server: servers.Server,
    migrated_postgres: str,
    redis_url: str,
) -> None:
    dataset = objects.phantom()
    with postgres_server.database(migrated_postgres) as url, ExitStack() as stack:
        settings = make_settings(database_url=url, broker_url=redis_url)
        database = make_engine(settings)
        stack.callback(database.dispose)
        with (
            ListenerProcess(settings.data_dir) as listener,
            registrar(settings.data_dir, database_url=url, broker_url=redis_url),
            working(settings) as worker,
        ):
            with ThreadPoolExecutor(8) as peers:
                sent = peers.map(lambda number: store(listener.port, dataset, f"PACS{number % 8}"), range(100))
                assert Counter(sent) == {0x0000: 100}
            wait_until(lambda: len(receipts(database)) == 100, 60, "every delivery is registered")
            # deliveries of one instance are taken one after another
            wait_finished(database, 240)
            assert worker.stop() == 0
        states = Counter(receipt.state for receipt in receipts(database))
        assert states == {ReceiptState.CLASSIFIED: 1, ReceiptState.DUPLICATE: 99}
        with make_sessions(database)() as session:
            assert [len(session.scalars(select(model)).all()) for model in (Study, Image)] == [1, 1]
            assert len(queries.results(session, limit=None)) == 1
        assert predictions(database) == 1
        found = reconcile(make_readers(database), settings.data_dir)
        assert (found.clean, found.acknowledged) == (True, 100)


@pytest.mark.requires("rabbitmq-server")
def test_a_study_travels_by_rabbitmq(
    make_settings: Callable[..., Settings], rabbitmq_server: servers.Server, sqlite_engine: Engine
) -> None:
    settings = make_settings(broker_url=rabbitmq_server.url)
    with (
        ListenerProcess(settings.data_dir) as listener,
        registrar(settings.data_dir, broker_url=rabbitmq_server.url) as process,
        working(settings, **DEAF) as worker,
    ):
        wait_until(lambda: worker.said("model_in_service"), 60, "the worker serves")
        wait_until(lambda: worker.said("Connected to amqp"), 60, "Celery listens")
        first = objects.phantom()
        assert store(listener.port, first) == 0x0000
        wait_until(lambda: len(receipts(sqlite_engine)) == 1, 20, "it is registered")
        wait_finished(sqlite_engine, 30)
        # the same again, and another image of the same study: one new result
        assert store(listener.port, first) == 0x0000
        assert store(listener.port, objects.phantom(study_uid=first.StudyInstanceUID)) == 0x0000
        wait_until(lambda: len(receipts(sqlite_engine)) == 3, 20, "they are registered")
        wait_finished(sqlite_engine, 30)
        assert (worker.stop(), process.terminate()) == (0, 0)
    states = Counter(receipt.state for receipt in receipts(sqlite_engine))
    assert states == {ReceiptState.CLASSIFIED: 2, ReceiptState.DUPLICATE: 1}
    assert predictions(sqlite_engine) == 2
    assert reconcile(make_readers(sqlite_engine), settings.data_dir).clean


@pytest.mark.requires("redis-server")
def test_row_06_a_broker_wiped_killed_and_started_again_under_load_changes_no_result(
    make_settings: Callable[..., Settings], sqlite_engine: Engine
) -> None:
    broker = servers.redis()
    try:
        settings = make_settings(broker_url=broker.url)
        pictures = [objects.phantom() for _ in range(24)]
        with (
            ListenerProcess(settings.data_dir) as listener,
            registrar(settings.data_dir, broker_url=broker.url) as process,
            working(settings, **PATIENT) as worker,
            ThreadPoolExecutor(1) as pool,
        ):
            wait_until(lambda: worker.said("Connected to redis"), 60, "Celery listens")

            def send() -> list[int]:
                return [store(listener.port, picture) for picture in pictures]

            def classified(count: int) -> bool:
                return sum(one.state is ReceiptState.CLASSIFIED for one in receipts(sqlite_engine)) >= count

            sending = pool.submit(send)
            wait_until(lambda: classified(2), 60, "work has begun")
            with Redis.from_url(broker.url) as client:
                client.flushall()
            wait_until(lambda: classified(6), 60, "it goes on without what was wiped")
            broker.kill()
            wait_until(lambda: classified(12), 60, "and without a broker")
            broker.start()
            assert sending.result(60) == [0x0000] * len(pictures)
            wait_until(lambda: len(receipts(sqlite_engine)) == len(pictures), 30, "all are registered")
            wait_finished(sqlite_engine)
            # a bell is heard again: the queue that it fills is emptied
            with Redis.from_url(broker.url) as client:
                wait_until(lambda: worker.log.read_text().count("Connected to redis") > 1, 60, "Celery listens again")
                wait_until(lambda: client.llen(Queue.CLASSIFY.value) == 0, 60, "the worker empties the queue")
            assert (worker.stop(15), process.terminate()) == (0, 0)
    finally:
        broker.remove()
    states = Counter((one.state, one.attempts) for one in receipts(sqlite_engine))
    assert states == {(ReceiptState.CLASSIFIED, 1): len(pictures)}
    assert predictions(sqlite_engine) == len(pictures)
    assert reconcile(make_readers(sqlite_engine), settings.data_dir).clean
