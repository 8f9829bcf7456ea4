"""How decoding and inference go together: neither waits for the other; where batches pay, images wait for others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import Engine, func, select, update
from sqlalchemy.orm import Session, sessionmaker

from core.settings import Settings
from db.base import make_sessions
from db.claims import claim
from db.models.receipt import Receipt
from db.vocabulary import ReceiptState
from tests.factories import dicom_objects as objects
from tests.factories.rows import ago
from tests.integration.worker_kit import Bench, HandClock, always, bench
from tests.waiting import wait_until
from worker.batching import Collecting


@pytest.fixture
def sessions(sqlite_engine: Engine) -> sessionmaker[Session]:
    return make_sessions(sqlite_engine)


@contextmanager
def collecting(
    settings: Settings, sessions: sessionmaker[Session], images: int, seconds: float, clock: HandClock | None = None
) -> Iterator[Bench]:
    """A worker whose model is one that batches pay for."""
    with bench(settings, sessions, clock=clock) as worker:
        worker.serving = replace(worker.serving, collecting=Collecting(images, seconds))
        worker.lanes.warm()
        yield worker


def started(sessions: sessionmaker[Session]) -> int:
    with sessions.begin() as session:
        return session.scalars(select(func.count()).where(Receipt.attempts > 0)).one()


def states(worker: Bench, receipts: list[int]) -> set[ReceiptState]:
    return {worker.receipt(receipt).state for receipt in receipts}


class Gate:
    """A model that waits, while it has a batch, until something has happened."""

    def __init__(self, happened: Callable[[], bool], what: str) -> None:
        self.happened = happened
        self.what = what

    def __call__(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        wait_until(self.happened, 30, self.what)
        return always(0.1)(inputs)


def test_while_the_model_runs_every_lane_goes_on_reading(
    make_settings: Callable[..., Settings], sessions: sessionmaker[Session]
) -> None:
    settings = make_settings(helper_processes=2)
    with bench(settings, sessions) as worker:
        worker.lanes.warm()
        receipts = [worker.deliver(objects.phantom()) for _ in range(8)]
        # the first image that is found is with the model; two a lane are in hand beside it
        worker.runtime.predict_with = Gate(lambda: started(sessions) >= 5, "files are read while the model runs")
        assert worker.run_once() == 8
        assert states(worker, receipts) == {ReceiptState.CLASSIFIED}


def test_where_batches_pay_a_whole_batch_is_read_while_one_is_with_the_model(
    make_settings: Callable[..., Settings], sessions: sessionmaker[Session]
) -> None:
    # claims are fewer than what is in hand: others are claimed meanwhile
    settings = make_settings(batch_size=3)
    with collecting(settings, sessions, 4, 30.0, HandClock()) as worker:
        receipts = [worker.deliver(objects.phantom()) for _ in range(9)]
        full = 4 + 4 + 1
        worker.runtime.predict_with = Gate(lambda: started(sessions) == full, "a batch is read while the model runs")
        assert worker.run_once() == 9
        assert worker.runtime.batches == [4, 4, 1]
        assert states(worker, receipts) == {ReceiptState.CLASSIFIED}
        assert {worker.receipt(receipt).attempts for receipt in receipts} == {1}


def test_a_batch_closes_after_its_time_though_another_file_is_being_read(
    settings: Settings, sessions: sessionmaker[Session]
) -> None:
    clock = HandClock()
    with collecting(settings, sessions, 8, 0.5, clock) as worker:
        first = worker.deliver(objects.phantom())
        second = worker.deliver(objects.phantom())
        read = worker.journey._reader.read

        def slowly(claimed, rules):  # noqa: ANN001, ANN202 - as the reader's
            if claimed.receipt_id == second:
                # only a step of the clock closes the first one's batch
                time.sleep(0.2)
                clock.seconds += 0.5
                wait_until(lambda: worker.receipt(first).state is ReceiptState.CLASSIFIED, 30, "the first is done")
            return read(claimed, rules)

        worker.journey._reader.read = slowly
        assert worker.run_once() == 2
        assert worker.runtime.batches == [1, 1]


def test_an_image_that_waits_for_others_keeps_its_lease(
    make_settings: Callable[..., Settings], sessions: sessionmaker[Session]
) -> None:
    settings = make_settings(lease_seconds=3.0, helper_seconds=1.0)
    with collecting(settings, sessions, 8, 1000.0) as worker:
        first, second = worker.deliver(objects.phantom()), worker.deliver(objects.phantom())
        read = worker.journey._reader.read
        stolen: list[int] = []

        def slowly(claimed, rules):  # noqa: ANN001, ANN202 - as the reader's
            if claimed.receipt_id == second:
                until = time.monotonic() + 1.5 * settings.lease_seconds
                while time.monotonic() < until:
                    with sessions.begin() as session:
                        stolen.extend(one.receipt_id for one in claim(session, 10, 60))
                    time.sleep(0.3)
            return read(claimed, rules)

        worker.journey._reader.read = slowly
        assert worker.run_once() == 2
        assert stolen == []
        assert worker.runtime.batches == [2]
        assert states(worker, [first, second]) == {ReceiptState.CLASSIFIED}


def test_a_stop_closes_the_batch_and_gives_the_rest_back(settings: Settings, sessions: sessionmaker[Session]) -> None:
    with collecting(settings, sessions, 8, 1000.0, HandClock()) as worker:
        receipts = [worker.deliver(objects.phantom()) for _ in range(4)]
        read = worker.journey._reader.read
        hold = threading.Event()

        def slowly(claimed, rules):  # noqa: ANN001, ANN202 - as the reader's
            if claimed.receipt_id == receipts[1]:
                worker.stopping.set()
                # what is being read is finished, but what was read does not wait for it
                wait_until(
                    lambda: worker.receipt(receipts[0]).state is ReceiptState.CLASSIFIED, 30, "the first is done"
                )
                hold.set()
            return read(claimed, rules)

        worker.journey._reader.read = slowly
        worker.run_once()
        assert hold.is_set()
        assert worker.runtime.batches == [1, 1]
        assert states(worker, receipts[:2]) == {ReceiptState.CLASSIFIED}
        for receipt in receipts[2:]:
            row = worker.receipt(receipt)
            assert (row.state, row.attempts, row.lease_token) == (ReceiptState.PENDING, 0, None)


def test_one_image_that_the_model_fails_on_does_not_fail_its_batch(
    make_settings: Callable[..., Settings], sessions: sessionmaker[Session]
) -> None:
    settings = make_settings(maximum_attempts=2)
    with collecting(settings, sessions, 4, 1000.0, HandClock()) as worker:
        receipts = [worker.deliver(objects.phantom()) for _ in range(3)]
        bad = worker.deliver(objects.phantom(picture=objects.gradient(300, 300)))

        known: list[bytes] = []

        def picky(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
            pixels = [one.tobytes() for one in inputs]
            known.append(max(pixels, key=pixels.count))
            # the others have the same pixels
            if any(one != known[0] for one in pixels):
                raise MemoryError
            return always(0.1)(inputs)

        worker.runtime.predict_with = picky
        assert worker.run_once() == 4
        assert worker.runtime.batches == [4, 1, 1, 1, 1]
        assert states(worker, receipts) == {ReceiptState.CLASSIFIED}
        assert (worker.receipt(bad).state, worker.receipt(bad).attempts) == (ReceiptState.PENDING, 1)
        with sessions.begin() as session:
            session.execute(update(Receipt).where(Receipt.id == bad).values(lease_until=None))
        worker.run()
        assert (worker.receipt(bad).state, worker.receipt(bad).reason) == (
            ReceiptState.QUARANTINED,
            "INFERENCE_FAILED",
        )


def test_an_image_on_its_last_start_goes_alone(
    make_settings: Callable[..., Settings], sessions: sessionmaker[Session]
) -> None:
    settings = make_settings(helper_processes=2)
    with collecting(settings, sessions, 4, 1000.0, HandClock()) as worker:
        receipts = [worker.deliver(objects.phantom()) for _ in range(5)]
        with sessions.begin() as session:
            last = settings.maximum_attempts - 1
            # as a worker leaves it that was killed
            left = {"attempts": last, "lease_token": "dead", "lease_until": ago(1)}
            session.execute(update(Receipt).where(Receipt.id == receipts[2]).values(left))
        seen: list[int] = []

        def look(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
            seen.append(started(sessions))
            return always(0.1)(inputs)

        worker.runtime.predict_with = look
        worker.run()
        # those before it are done before it starts, and those after it start when it is done
        assert worker.runtime.batches == [2, 1, 2]
        assert seen == [3, 3, 5]
