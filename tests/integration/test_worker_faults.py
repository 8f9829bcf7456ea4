"""What a bad image may cost: its own attempts and its own helper (promise 6; fault rows 15, 16, 27 to 29)."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session, sessionmaker

from core.settings import Settings
from db.base import make_engine, make_sessions
from db.claims import claim
from db.migrate import upgrade
from db.models.receipt import Receipt
from db.vocabulary import Outcome, ReceiptState
from tests.factories import dicom_objects as objects
from tests.integration import bad_readers
from tests.integration.worker_kit import Bench, always, bench
from tests.waiting import wait_until

POISON = bad_readers.MARK.decode()


@pytest.fixture
def small(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(helper_seconds=2.0, helper_cpu_seconds=1, helper_memory_bytes=1 << 30, maximum_attempts=2)


@pytest.fixture
def ledger(small: Settings) -> Iterator[Engine]:
    engine = make_engine(small)
    upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def small_sessions(ledger: Engine) -> sessionmaker[Session]:
    return make_sessions(ledger)


def poisoned() -> Dataset:
    dataset = objects.phantom()
    dataset.AccessionNumber = POISON
    return dataset


def run_until_quiet(worker: Bench, seconds: float = 60.0) -> None:
    """Run batches until no receipt is PENDING; an attempt that failed comes back after its pause."""

    def quiet() -> bool:
        worker.run()
        with worker.sessions.begin() as session:
            return session.scalar(select(Receipt.id).where(Receipt.state == ReceiptState.PENDING).limit(1)) is None

    wait_until(quiet, seconds, "no receipt is PENDING")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("segfault", "CRASHED"),
        ("killed", "CRASHED"),
        ("raises", "CRASHED"),
        ("hang", "TIMED_OUT"),
        ("spin", "TIMED_OUT"),
        ("memory_bomb", "OUT_OF_MEMORY"),
    ],
)
def test_a_bad_image_costs_its_own_attempts_and_nothing_else(
    small: Settings, small_sessions: sessionmaker[Session], fault: str, reason: str
) -> None:
    with bench(small, small_sessions, reader=f"tests.integration.bad_readers:{fault}") as worker:
        good = [worker.deliver(objects.phantom())]
        bad = worker.deliver(poisoned())
        good.append(worker.deliver(objects.phantom()))
        run_until_quiet(worker)
        receipt = worker.receipt(bad)
        assert (receipt.state, receipt.reason) == (ReceiptState.QUARANTINED, reason)
        assert receipt.attempts == small.maximum_attempts
        assert receipt.stored_at is not None
        assert "Phantom" not in (receipt.detail or "")
        for receipt_id in good:
            assert worker.receipt(receipt_id).state is ReceiptState.CLASSIFIED
            assert worker.receipt(receipt_id).attempts == 1
        # the header could be read, so the study shows what it lacks
        failed = [image for image in worker.images() if image.outcome is Outcome.NO_RESULT]
        assert [(image.reason, image.id) for image in failed] == [(reason, receipt.image_id)]
        assert ("NO_RESULT", reason) in worker.open_flags()
    assert worker.helpers.pids == []


def test_a_library_may_print(small: Settings, small_sessions: sessionmaker[Session]) -> None:
    with bench(small, small_sessions, reader="tests.integration.bad_readers:babbles") as worker:
        receipt = worker.deliver(poisoned())
        worker.run()
        assert worker.receipt(receipt).state is ReceiptState.CLASSIFIED


def test_huge_declarations_are_refused_before_decoding(small: Settings, small_sessions: sessionmaker[Session]) -> None:
    with bench(small, small_sessions) as worker:
        huge = worker.deliver(objects.huge_declared(frames=None))
        good = worker.deliver(objects.phantom())
        begun = time.monotonic()
        worker.run()
        assert time.monotonic() - begun < 30
        assert worker.receipt(huge).state is ReceiptState.QUARANTINED
        assert worker.receipt(good).state is ReceiptState.CLASSIFIED
        assert worker.receipt(huge).attempts == 1


def test_a_receipt_whose_worker_died_at_each_attempt_is_quarantined_without_another(
    small: Settings, small_sessions: sessionmaker[Session]
) -> None:
    with bench(small, small_sessions) as worker:
        receipt_id = worker.deliver(objects.phantom())
        with small_sessions.begin() as session:
            session.execute(update(Receipt).values(attempts=small.maximum_attempts))
        worker.run()
        receipt = worker.receipt(receipt_id)
        assert (receipt.state, receipt.reason) == (ReceiptState.QUARANTINED, "CRASHED")
        assert receipt.attempts == small.maximum_attempts
        assert worker.study().outcome is Outcome.NO_RESULT
        assert worker.runtime.images == 0


def test_a_lost_lease_drops_the_result(small: Settings, small_sessions: sessionmaker[Session]) -> None:
    with bench(small, small_sessions) as worker:
        receipt_id = worker.deliver(objects.phantom())

        def another_worker_takes_it(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
            with small_sessions.begin() as session:
                session.execute(update(Receipt).values(lease_token="somebody-else"))  # noqa: S106 - no secret
            return always(0.1)(inputs)

        worker.runtime.predict_with = another_worker_takes_it
        worker.run()
        assert worker.receipt(receipt_id).state is ReceiptState.PENDING
        assert worker.receipt(receipt_id).lease_token == "somebody-else"
        assert worker.images() == []


def test_a_slow_batch_keeps_its_leases(small_sessions: sessionmaker[Session], small: Settings) -> None:
    brief = small.model_copy(update={"lease_seconds": 1.0})
    with bench(brief, small_sessions) as worker:
        receipts = [worker.deliver(objects.phantom()) for _ in range(5)]
        stolen: list[int] = []

        def slowly(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
            time.sleep(0.4)
            with small_sessions.begin() as session:
                stolen.extend(one.receipt_id for one in claim(session, 10, 60))
            return always(0.1)(inputs)

        worker.runtime.predict_with = slowly
        worker.run()
        assert stolen == []
        assert {worker.receipt(receipt).state for receipt in receipts} == {ReceiptState.CLASSIFIED}


def test_stopping_finishes_what_is_in_hand_and_gives_the_rest_back(
    small: Settings, small_sessions: sessionmaker[Session]
) -> None:
    with bench(small, small_sessions) as worker:
        receipts = [worker.deliver(objects.phantom()) for _ in range(8)]

        def stop_now(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
            worker.stopping.set()
            return always(0.1)(inputs)

        worker.runtime.predict_with = stop_now
        worker.run_once()
        states = [worker.receipt(receipt).state for receipt in receipts]
        finished = states.count(ReceiptState.CLASSIFIED)
        assert 1 <= finished <= 3
        for receipt_id in receipts:
            receipt = worker.receipt(receipt_id)
            assert receipt.lease_token is None
            assert receipt.attempts == (1 if receipt.state is ReceiptState.CLASSIFIED else 0)


def test_helpers_are_recycled_and_die_with_their_parent(small_sessions: sessionmaker[Session], small: Settings) -> None:
    few = small.model_copy(update={"helper_images": 2})
    with bench(few, small_sessions) as worker:
        worker.lanes.warm()
        seen = set(worker.helpers.pids)
        for _ in range(3):
            worker.deliver(objects.phantom())
            worker.run()
            seen.update(worker.helpers.pids)
        assert len(seen) == 2
        (pid,) = worker.helpers.pids
        assert "LUNGWATCH" not in " ".join(psutil.Process(pid).environ())
    wait_until(lambda: not psutil.pid_exists(pid), 5, "the helper is gone")


def test_several_helpers_decode_at_once(small_sessions: sessionmaker[Session], small: Settings) -> None:
    two = small.model_copy(update={"helper_processes": 2, "helper_seconds": 10.0})
    with bench(two, small_sessions) as worker:
        worker.lanes.warm()
        assert len(worker.helpers.pids) == 2
        receipts = [worker.deliver(objects.phantom()) for _ in range(6)]
        worker.run()
        assert {worker.receipt(receipt).state for receipt in receipts} == {ReceiptState.CLASSIFIED}


def test_a_helper_killed_from_outside_is_replaced(small: Settings, small_sessions: sessionmaker[Session]) -> None:
    with bench(small, small_sessions) as worker:
        worker.lanes.warm()
        (pid,) = worker.helpers.pids
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, 5, "the helper is dead")
        receipt = worker.deliver(objects.phantom())
        worker.run()
        assert worker.receipt(receipt).state is ReceiptState.CLASSIFIED
        assert threading.active_count() < 10
