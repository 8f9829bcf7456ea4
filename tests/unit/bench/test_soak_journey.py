from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from bench import encoding
from bench.soak_books import Books, Told
from bench.soak_journey import Report, find_troubles, text
from bench.soak_pictures import pictures
from db.vocabulary import ReceiptState


def told(**acknowledged: int) -> Told:
    one = Told()
    for instance, times in acknowledged.items():
        one.sending(instance)
        for _ in range(times):
            one.stored(instance, 10)
    return one


def books(**results: int) -> Books:
    count = Counter(results)
    return Books(Counter({ReceiptState.CLASSIFIED: count.total()}), count, count, {"A under model 1": {0.5}})


WELL = Report(
    minutes=1,
    seed=1,
    facts={},
    highest_rate=10,
    rate=5,
    limited_by_disk=False,
    struck={"worker killed": 1},
    sent=2,
    acknowledged=3,
    failed=0,
    books=books(a=1, b=1),
    seconds={"p50": 0.5, "p95": 1.0, "most": 2.0},
    reconciled=0,
    reconcile_said="",
    drained=True,
    stopped=0,
    gigabytes=0.0,
)
TOLD = told(a=1, b=2)


def _states(**states: int) -> Callable[[Report], Report]:
    return lambda report: replace(report, books=replace(report.books, states=Counter(states)))


def test_what_is_well_has_no_trouble() -> None:
    assert find_troubles(WELL, TOLD) == []
    # an answer that was cut off makes the sender send again, which is a duplicate; what was never answered may be there
    assert find_troubles(_states(CLASSIFIED=2, DUPLICATE=1)(WELL), TOLD) == []
    assert find_troubles(replace(WELL, books=books(a=1, b=1, c=1)), told(a=1, b=1, c=0)) == []
    assert "WRONG" not in text(WELL)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda report: replace(report, books=books(a=1)), "1 acknowledged instances without a result"),
        (lambda report: replace(report, books=books(a=1, b=2)), "1 instances with more than one result"),
        (lambda report: replace(report, books=books(a=1, b=1, x=1)), "1 instances that nobody sent"),
        (_states(CLASSIFIED=2, PENDING=1), "1 receipts still pending"),
        (_states(CLASSIFIED=2, QUARANTINED=1), "{'QUARANTINED': 1} receipts ended otherwise"),
        (lambda report: replace(report, reconciled=1, reconcile_said="a gap"), "reconcile ended with 1: a gap"),
        (lambda report: replace(report, stopped=1), "serve stopped with 1"),
        (lambda report: replace(report, drained=False), "not drained in time"),
        (lambda report: replace(report, struck={}), "nothing was killed or stopped"),
        (
            lambda report: replace(report, books=replace(report.books, scores={"A under model 1": {0.5, 0.6}})),
            "one picture under one model has other scores",
        ),
    ],
)
def test_each_trouble_is_told(change: Callable[[Report], Report], said: str) -> None:
    (trouble,) = find_troubles(change(WELL), TOLD)
    assert said in trouble


def test_a_picture_goes_out_under_the_uids_it_is_given_and_nothing_else_changes() -> None:
    picture, other = pictures("7")[:2]
    instance, study = (encoding.new_uid(random.Random(number)) for number in (1, 2))
    head = bytes(picture.head(instance, study))
    assert head.count(instance.encode()) == 2
    assert head.count(study.encode()) == 1
    before = picture.message.head
    assert len(head) == len(before)
    assert sum(a != b for a, b in zip(head, before, strict=True)) <= 3 * len(instance)
    assert picture.transfer_syntax_uid != other.transfer_syntax_uid
