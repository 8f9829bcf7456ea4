from __future__ import annotations

import threading

import pytest

from dicom_listener.metrics.tally import CAPACITY, NAMED, REST, UNKNOWN, NoSlot, Series, Tally
from tests.unit.dicom_listener.forks import Children

TOTAL, OPEN = 1, 2
ONE = Series(TOTAL, 3, 0xA700, "PACS")


def test_children_count_and_the_parent_reads(children: Children) -> None:
    tally = Tally(2)

    def count(slot: int) -> None:
        tally.enter(slot)
        tally.add([(ONE, slot + 1), (Series(TOTAL), 0.5)])

    both = [children.fork(lambda slot=slot: count(slot)) for slot in (0, 1)]
    totals = tally.totals()
    assert totals.values == {ONE: 3, Series(TOTAL): 1.0}
    assert (totals.living, totals.starts) == (2, 2)
    for child in both:
        children.kill(child)
    assert tally.totals().values == totals.values


def test_who_takes_a_dead_ones_place_counts_on_and_what_was_open_is_closed(children: Children) -> None:
    tally = Tally(1, momentary={OPEN})

    def count() -> None:
        tally.enter(0)
        tally.add([(ONE, 1), (Series(OPEN), 1)])

    children.kill(children.fork(count))
    assert tally.totals().values[Series(OPEN)] == 1
    tally.leave(0)
    assert tally.totals().values == {ONE: 1, Series(OPEN): 0}
    assert tally.totals().living == 0
    children.kill(children.fork(count))
    assert tally.totals().values == {ONE: 2, Series(OPEN): 1}
    # whether or not the parent has noticed
    children.kill(children.fork(count))
    assert tally.totals().values == {ONE: 3, Series(OPEN): 1}
    assert tally.totals().starts == 3


def test_threads_lose_nothing() -> None:
    tally = Tally(1)
    tally.enter(0)

    def count() -> None:
        for _ in range(5000):
            tally.add([(ONE, 1), (Series(TOTAL), 2)])

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tally.totals().values == {ONE: 40_000, Series(TOTAL): 80_000}


def test_memory_is_bounded_and_totals_stay_right_however_many_names_there_are() -> None:
    tally = Tally(1)
    tally.enter(0)
    for number in range(3 * CAPACITY):
        tally.add([(Series(TOTAL, 0, 0, f"AE{number}"), 1)])
    values = tally.totals().values
    assert len(values) == NAMED + 1
    assert values[Series(TOTAL, 0, 0, REST)] == 3 * CAPACITY - NAMED
    assert sum(values.values()) == 3 * CAPACITY
    # what is not a name's own still finds room
    tally.add([(Series(OPEN, 7), 1), (Series(OPEN, 0, 0, UNKNOWN), 1)])
    assert tally.totals().values[Series(OPEN, 7)] == tally.totals().values[Series(OPEN, 0, 0, UNKNOWN)] == 1


def test_a_full_slot_drops_what_is_new_and_harms_nobody() -> None:
    tally = Tally(1)
    tally.enter(0)
    for number in range(CAPACITY + 10):
        tally.add([(Series(TOTAL, number), 1)])
    assert len(tally.totals().values) == CAPACITY
    tally.put(Series(OPEN), 1)
    assert Series(OPEN) not in tally.totals().values


def test_a_name_is_cut_to_what_an_ae_title_is() -> None:
    tally = Tally(1)
    tally.enter(0)
    tally.add([(Series(TOTAL, 0, 0, "x" * 40), 1), (Series(TOTAL, 0, 0, "ÄÖ\n"), 1)])
    assert {series.name for series in tally.totals().values} == {"x" * 16, "??\n"}


def test_counting_without_a_slot_is_a_mistake() -> None:
    tally = Tally(1)
    with pytest.raises(NoSlot):
        tally.add([(ONE, 1)])
    with pytest.raises(NoSlot):
        tally.put(ONE, 1)
