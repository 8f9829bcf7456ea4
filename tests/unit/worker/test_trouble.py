from __future__ import annotations

import itertools

from tests.integration.worker_kit import HandClock
from worker.trouble import Trouble


def test_pauses_grow_to_a_bound_while_nothing_works() -> None:
    clock = HandClock()
    trouble = Trouble(clock)
    pauses = []
    for _ in range(8):
        assert not trouble.resting
        delay = trouble.failed("the disk is full")
        assert trouble.failed("the disk is full") == delay
        trouble.batch_ended()
        before = clock.seconds
        while trouble.resting:
            clock.seconds += 1
        pauses.append(clock.seconds - before)
        assert delay == 2 * pauses[-1]
    assert pauses[0] == 2
    assert pauses[-2:] == [60, 60]
    assert all(earlier <= later for earlier, later in itertools.pairwise(pauses))


def test_one_file_that_cannot_be_read_holds_nobody_up() -> None:
    trouble = Trouble(HandClock())
    trouble.failed("one file")
    trouble.worked()
    trouble.batch_ended()
    assert not trouble.resting
    assert trouble.problem == "one file"


def test_a_batch_without_trouble_ends_it_and_an_empty_one_does_not() -> None:
    clock = HandClock()
    trouble = Trouble(clock)
    trouble.failed("the disk is full")
    trouble.batch_ended()
    clock.seconds += 2
    trouble.batch_ended()
    assert trouble.problem == "the disk is full"
    trouble.worked()
    trouble.batch_ended()
    assert trouble.problem is None
    assert trouble.failed("again") == 4
