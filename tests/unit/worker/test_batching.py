from __future__ import annotations

import pytest

from tests.integration.worker_kit import HandClock
from worker.batching import AT_ONCE, Batch, Collecting

GPU = Collecting(images=3, seconds=0.5)


def batch_of(collecting: Collecting) -> tuple[Batch, HandClock]:
    clock = HandClock(100.0)
    return Batch(collecting, clock), clock


def test_on_cpu_what_is_ready_waits_for_nothing() -> None:
    batch, _ = batch_of(AT_ONCE)
    assert batch.close(more_may_come=True) == []
    batch.add(["a", "b"])
    assert batch.seconds_left == 0
    assert batch.close(more_may_come=True) == ["a", "b"]
    assert len(batch) == 0


def test_a_batch_closes_when_it_is_full() -> None:
    batch, _ = batch_of(GPU)
    batch.add(["a", "b"])
    assert batch.close(more_may_come=True) == []
    batch.add(["c", "d"])
    # no more than the model takes at once
    assert batch.close(more_may_come=True) == ["a", "b", "c"]
    assert batch.close(more_may_come=True) == []
    assert len(batch) == 1


def test_a_batch_closes_when_its_first_image_has_waited_long_enough() -> None:
    batch, clock = batch_of(GPU)
    batch.add([])
    clock.seconds += 10
    batch.add(["a"])
    clock.seconds += 0.25
    batch.add(["b"])
    assert batch.seconds_left == pytest.approx(0.25)
    assert batch.close(more_may_come=True) == []
    clock.seconds += 0.25
    assert batch.close(more_may_come=True) == ["a", "b"]
    assert batch.seconds_left == float("inf")
    # and the next one's time begins with its own first
    batch.add(["c"])
    assert batch.seconds_left == pytest.approx(0.5)


def test_nothing_is_held_back_when_nothing_more_comes() -> None:
    batch, _ = batch_of(GPU)
    batch.add(["a", "b", "c", "d"])
    assert batch.close(more_may_come=False) == ["a", "b", "c"]
    assert batch.close(more_may_come=False) == ["d"]
    assert batch.close(more_may_come=False) == []


def test_where_batches_pay_a_whole_one_is_read_ahead() -> None:
    assert (AT_ONCE.ahead, GPU.ahead) == (1, 3)
