from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session, sessionmaker

from db.base import make_readers
from imaging.reasons import Rejection
from tests.factories.rows import ReceiptFactory, rows_in
from tests.integration.worker_kit import HandClock
from worker.metrics.families import LEDGER, LEDGER_FAMILIES
from worker.metrics.ledger import LedgerCollector

Sessions = sessionmaker[Session]


@dataclass
class Counting:
    """A factory of sessions that counts them, and may be made to hang or to fail."""

    readers: Sessions
    asked: int = 0
    hang: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.hang.set()

    def __call__(self) -> Session:
        self.asked += 1
        assert self.hang.wait(60)
        return self.readers()


@pytest.fixture
def counting(engine: Engine) -> Iterator[Counting]:
    counting = Counting(make_readers(engine))
    yield counting
    counting.hang.set()
    for thread in threading.enumerate():
        if thread.name == "ledger-figures":
            thread.join(60)


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may need longer for its first look than a scraper is made to wait."""
    monkeypatch.setattr("worker.metrics.ledger._PATIENCE_SECONDS", 60.0)


def shown(collector: LedgerCollector) -> dict[tuple[str, ...], float]:
    samples = [sample for metric in collector.collect() for sample in metric.samples]
    return {(one.name.removeprefix(LEDGER), *one.labels.values()): one.value for one in samples}


def test_what_waits_is_shown_as_documented(counting: Counting, sessions: Sessions) -> None:
    with sessions.begin() as session, rows_in(session):
        ReceiptFactory(urgency=0)
        ReceiptFactory(overdue=True)
        ReceiptFactory(quarantined=True)
        ReceiptFactory(quarantined=True, reason="A^PATIENT")
        ReceiptFactory(quarantined=True, reason=None)
    collector = LedgerCollector(counting, HandClock())
    found = shown(collector)
    assert found["up",] == 1
    assert (found["receipts_waiting", "URGENT"], found["receipts_waiting", "ROUTINE"]) == (1, 1)
    assert found["receipts_waiting", "RESCORE"] == found["oldest_waiting_seconds", "RESCORE"] == 0
    assert 290 < found["oldest_waiting_seconds", "URGENT"] < 400
    assert (found["receipts_overdue",], found["receipts_in_hand",], found["flagged_waiting",]) == (1, 0, 4)
    assert found["receipts_quarantined", "TRUNCATED"] == 1
    # whatever stands in the ledger, only words of ours become labels
    assert found["receipts_quarantined", "other"] == 2
    reasons = {labels[0] for name, *labels in found if name == "receipts_quarantined"}
    assert reasons == {*Rejection, "other"}
    assert {name for name, *_ in found} == {family.name.removeprefix(LEDGER) for family in LEDGER_FAMILIES}


def test_however_many_ask_the_ledger_is_asked_seldom(counting: Counting) -> None:
    clock = HandClock()
    collector = LedgerCollector(counting, clock)
    for _ in range(50):
        assert shown(collector)["up",] == 1
    assert counting.asked == 1
    clock.seconds = 11
    shown(collector)
    assert counting.asked == 2


def test_a_look_that_took_long_is_followed_by_a_long_rest(counting: Counting) -> None:
    clock = HandClock()
    collector = LedgerCollector(counting, clock)
    counting.hang.clear()
    looking = collector._look()
    assert looking is not None
    # it takes three seconds
    clock.seconds = 3
    counting.hang.set()
    looking.join(60)
    for clock.seconds in (14, 62):
        shown(collector)
    assert counting.asked == 1
    clock.seconds = 64
    shown(collector)
    assert counting.asked == 2


def test_a_ledger_that_hangs_is_asked_once_and_shown_as_away(
    counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.metrics.ledger._PATIENCE_SECONDS", 0.05)
    clock = HandClock()
    collector = LedgerCollector(counting, clock)
    counting.hang.clear()
    for clock.seconds in (0, 30, 60):
        assert shown(collector) == {("up",): 0}
    assert counting.asked == 1
    looking = collector._looking
    assert looking is not None
    counting.hang.set()
    looking.join(60)
    # what it found at last is shown
    assert shown(collector)["up",] == 1


def test_what_was_found_long_ago_is_not_shown_as_if_it_were_now(
    counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = HandClock()
    collector = LedgerCollector(counting, clock)
    assert shown(collector)["up",] == 1
    monkeypatch.setattr("worker.metrics.ledger._PATIENCE_SECONDS", 0.05)
    counting.hang.clear()
    clock.seconds = 59
    assert shown(collector)["up",] == 1
    clock.seconds = 61
    assert shown(collector) == {("up",): 0}


def test_a_ledger_that_fails_is_away_and_may_come_back(counting: Counting, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE rescoring RENAME TO elsewhere"))
    clock = HandClock()
    collector = LedgerCollector(counting, clock)
    assert shown(collector) == {("up",): 0}
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO rescoring"))
    clock.seconds = 11
    assert shown(collector)["up",] == 1
