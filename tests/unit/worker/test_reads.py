from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from core.spool import Entry
from db.claims import Claim
from tests.waiting import wait_until
from worker.reads import Reads


def a_claim(number: int, attempts: int = 0, *, abandoned: bool = True) -> Claim:
    entry = Entry("0" * 16, number, "0" * 64)
    return Claim(
        receipt_id=number,
        entry=entry,
        listener="listener",
        size=1,
        attempts=attempts,
        token="token",  # noqa: S106 - no secret
        received_at=datetime(2026, 1, 1, tzinfo=UTC),
        stored=False,
        put_back=False,
        lease_seconds=60.0,
        abandoned=abandoned,
    )


class Threads:
    """Lanes without helper processes."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.pool = ThreadPoolExecutor(count)

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        return self.pool.submit(work, *arguments)


class Kit:
    """Reads whose lanes wait until they are let go."""

    def __init__(self, lanes: Threads, attempts: list[int], batch: int = 1, *, abandoned: bool = True) -> None:
        self.abandoned = abandoned
        self.asked: list[int] = []
        self.begun: list[int] = []
        self.go = threading.Event()
        self.reads: Reads[int] = Reads(lanes, self._read, self._claims(attempts), batch=batch, maximum_attempts=3)

    def _read(self, claim: Claim) -> int:
        self.begun.append(claim.receipt_id)
        self.go.wait(10)
        return claim.receipt_id

    def _claims(self, attempts: list[int]) -> Iterator[Claim]:
        for number, before in enumerate(attempts):
            self.asked.append(number)
            yield a_claim(number, before, abandoned=self.abandoned)

    def found(self) -> list[int]:
        return sorted(future.result() for _, future in self.reads.wait(10))


@contextmanager
def kit(count: int, attempts: list[int], batch: int = 1, *, abandoned: bool = True) -> Iterator[Kit]:
    lanes = Threads(count)
    made = Kit(lanes, attempts, batch, abandoned=abandoned)
    try:
        yield made
    finally:
        made.go.set()
        lanes.pool.shutdown()


def test_each_lane_finds_a_file_waiting_and_no_more_is_claimed_than_that() -> None:
    with kit(2, [0] * 9) as made:
        made.reads.submit(others=False)
        assert made.asked == [0, 1, 2, 3]
        assert len(made.reads) == made.reads.begun == 4
        wait_until(lambda: len(made.begun) == 2, 5, "both lanes read")
        assert made.reads.wait(0) == []


def test_where_batches_pay_a_batch_is_read_ahead() -> None:
    with kit(2, [0] * 9, batch=5) as made:
        made.reads.submit(others=False)
        assert len(made.asked) == 7


def test_what_is_done_makes_room_when_it_is_asked_for() -> None:
    with kit(1, [0] * 3) as made:
        made.reads.submit(others=False)
        made.go.set()
        found = []
        while made.reads:
            found += made.found()
            made.reads.submit(others=True)
        assert found == [0, 1, 2]
        assert made.reads.begun == 3


def test_what_no_lane_has_begun_is_taken_back() -> None:
    with kit(1, [0] * 5) as made:
        made.reads.submit(others=False)
        wait_until(lambda: made.begun == [0], 5, "the lane reads")
        made.reads.cancel()
        assert len(made.reads) == 1
        made.go.set()
        assert made.found() == [0]
        assert made.begun == [0]


def test_the_last_start_of_an_image_is_made_alone() -> None:
    with kit(2, [0, 2, 0, 1]) as made:
        made.reads.submit(others=False)
        assert len(made.reads) == 1
        made.go.set()
        assert made.found() == [0]
        # the one before it is not recorded yet
        made.reads.submit(others=True)
        assert len(made.reads) == 0
        made.reads.submit(others=False)
        assert len(made.reads) == 1
        assert made.found() == [1]
        made.reads.submit(others=False)
        assert len(made.reads) == 2


def test_images_that_failed_by_themselves_hold_nobody_up() -> None:
    with kit(2, [2, 2, 0], abandoned=False) as made:
        made.reads.submit(others=False)
        assert len(made.reads) == 3
