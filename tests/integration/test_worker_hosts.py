"""Hosts that share a spool, a PostgreSQL and a Redis: one is killed, one is cut off; nothing is lost or doubled."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import pytest
from sqlalchemy import Engine, func, make_url, select
from sqlalchemy.orm import Session, sessionmaker

from core.settings import Settings
from db.audit import reconcile
from db.base import make_engine, make_readers, make_sessions
from db.models.model import Heartbeat
from db.models.prediction import Prediction
from db.models.receipt import Receipt
from db.vocabulary import ReceiptState
from tests import servers
from tests.factories import dicom_objects as objects
from tests.integration.worker_kit import deliver
from tests.integration.worker_process import WorkerProcess, receipts, wait_finished, working
from tests.peers.relay import Relay
from tests.waiting import wait_until

LOAD = 16
# small batches, so that both hosts have some in hand; a lease that a busy machine can keep
BRIEF = {"batch_size": 4, "helper_seconds": 3, "lease_seconds": 6.1}


def named(host: str) -> Sequence[str]:
    """What gives a program a host name of its own, where the system lets us."""
    return ["unshare", "--uts", "sh", "-c", f'hostname {host} && exec "$@"', "sh"] if os.getuid() == 0 else []


def finished_by(worker: WorkerProcess) -> set[int]:
    """The receipts that a worker says it has finished."""
    events = [json.loads(line) for line in worker.log.read_text().splitlines() if line.startswith("{")]
    return {int(event["receipt_id"]) for event in events if event["event"] == "receipt_finished"}


def in_hand(sessions: sessionmaker[Session]) -> set[int]:
    """Receipts that somebody holds."""
    with sessions() as session:
        held = select(Receipt.id).where(Receipt.state == ReceiptState.PENDING, Receipt.lease_token.is_not(None))
        return set(session.scalars(held))


def ending(database: Engine, count: int) -> list[tuple[object, ...]]:
    """All that a late writer could have changed: how the first receipts ended, and what was said of their images."""
    first = receipts(database)[:count]
    with make_sessions(database)() as session:
        said = session.execute(
            select(Prediction.image_id, Prediction.id, Prediction.score)
            .where(Prediction.image_id.in_([one.image_id for one in first]))
            .order_by(Prediction.id)
        )
        return [
            *((one.id, one.state, one.attempts, one.finished_at) for one in first),
            *(tuple(row) for row in said),
        ]


@pytest.mark.timeout(300)
@pytest.mark.requires("postgres", "redis-server")
def test_row_02_of_two_hosts_one_is_killed_and_one_cut_off_under_load(
    make_settings: Callable[..., Settings],
    postgres_server: servers.Server,
    migrated_postgres: str,
    redis_server: servers.Server,
    redis_url: str,
) -> None:
    with (
        postgres_server.database(migrated_postgres) as url,
        Relay(postgres_server.port) as ledger_link,
        Relay(redis_server.port) as broker_link,
        ExitStack() as stack,
    ):
        here = make_settings(database_url=url, broker_url=redis_url)
        far_ledger = make_url(url).set(port=ledger_link.port).render_as_string(hide_password=False)
        far = make_settings(
            database_url=far_ledger, broker_url=redis_url.replace(str(redis_server.port), str(broker_link.port))
        )
        database = make_engine(here)
        stack.callback(database.dispose)
        sessions = make_sessions(database)

        def load(count: int) -> None:
            for _ in range(count):
                deliver(here, sessions, objects.phantom(picture=objects.gradient(600, 500)))

        with working(far, prefix=named("far"), **BRIEF) as distant:
            with working(here, prefix=named("near"), **BRIEF) as dying:
                for one in (distant, dying):
                    wait_until(lambda one=one: one.said("model_in_service"), 60, "both hosts serve")  # type: ignore[misc]
                load(LOAD)
                wait_until(lambda: finished_by(distant) and finished_by(dying), 60, "both hosts work")
                dying.kill()
            # what it had in hand is taken over when its lease has ended
            wait_finished(database)

            load(LOAD)

            def cut() -> set[int]:
                if not finished_by(distant) & {one.id for one in receipts(database)[LOAD:]}:
                    return set()
                for link in (ledger_link, broker_link):
                    link.cut()
                held = in_hand(sessions)
                if len(held) < 3:
                    # between two batches: again, or there would be nothing to take from it
                    for link in (ledger_link, broker_link):
                        link.mend()
                    return set()
                return held

            held = wait_until(cut, 60, "it is cut off with images in hand")
            with working(here, prefix=named("near"), **BRIEF) as successor:
                wait_finished(database)
                # most were not begun where they were held, and one may have come to its end as the link was cut
                assert len(held & finished_by(successor)) >= len(held) - 1
                before = ending(database, 2 * LOAD)
                assert successor.stop() == 0
            for link in (ledger_link, broker_link):
                link.mend()
            # it is a worker like any other again, and has done with what it held when it takes the next
            load(1)
            wait_until(lambda: receipts(database)[-1].id in finished_by(distant), 60, "it works again")
            assert ending(database, 2 * LOAD) == before
            assert distant.stop() == 0
        ended = receipts(database)
        assert len(ended) == 2 * LOAD + 1
        assert {one.state for one in ended} == {ReceiptState.CLASSIFIED}
        assert max(one.attempts for one in ended) <= 3
        with sessions() as session:
            images = session.execute(select(Prediction.image_id, func.count()).group_by(Prediction.image_id)).all()
            hosts = set(session.scalars(select(Heartbeat.host)))
        assert [count for _, count in images] == [1] * len(ended)
        assert os.getuid() != 0 or hosts == {"far", "near"}
        assert reconcile(make_readers(database), here.data_dir).clean
        assert not list((here.data_dir / "spool").rglob("*.dcm"))
