"""The reader's list page by page is the view in its order, whatever waits for a reader and why."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session, sessionmaker

from db.base import make_sessions
from db.models.flag import Flag
from db.models.study import Study
from db.queries import ResultRow, flagged_count, results
from db.settling import settle
from db.studies import widen
from db.vocabulary import FLAG_PRIORITY, FlagKind, ReceiptState
from tests.factories.rows import FlagFactory, ReceiptFactory, StudyFactory, ago, rows_in

# few, so that many rows are of one time and of one priority
TIMES = [ago(500), ago(400), ago(300)]


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with make_sessions(engine).begin() as session, rows_in(session):
        yield session


def _populate(chance: random.Random) -> None:
    for _ in range(40):
        study = StudyFactory(first_received_at=chance.choice(TIMES), last_received_at=chance.choice([ago(50), ago(5)]))
        for kind in chance.sample(sorted(FLAG_PRIORITY), chance.randrange(4)):
            gone = {"cleared_at": ago(1)} if chance.random() < 0.4 else {}
            FlagFactory(study=study, kind=kind, answered_at=chance.choice([None, ago(1)]), **gone)
        if chance.random() < 0.2:
            # one that a person put back
            ReceiptFactory(study_id=study.id, due_at=chance.choice([ago(1), ago(-500)]))
    for _ in range(6):
        ReceiptFactory(received_at=chance.choice(TIMES), overdue=True)
        ReceiptFactory(received_at=chance.choice(TIMES), quarantined=True)
        ReceiptFactory(received_at=chance.choice(TIMES), state=ReceiptState.DUPLICATE)


def _pages(session: Session, size: int) -> list[ResultRow]:
    paged: list[ResultRow] = []
    while page := results(session, flagged=True, limit=size, after=paged[-1] if paged else None):
        paged += page
    return paged


@pytest.mark.parametrize("seed", range(2))
def test_pages_are_the_view_in_its_order(session: Session, seed: int) -> None:
    _populate(random.Random(seed))
    ordered = session.execute(
        text(
            "SELECT priority, study_id, receipt_id, flags, reason, outcome FROM flagged_result "
            "ORDER BY priority, received_at, coalesce(study_id, 0), coalesce(receipt_id, 0)"
        )
    )
    expected = [tuple(row) for row in ordered]
    assert len(expected) > 20
    for size in (5, 500):
        found = [
            (row.priority, row.study_id, row.receipt_id, ",".join(row.flags), row.reason, row.outcome)
            for row in _pages(session, size)
        ]
        assert found == expected
    assert flagged_count(session) == len(expected)


def test_since_keeps_the_order(session: Session) -> None:
    _populate(random.Random(7))
    whole = results(session, flagged=True, limit=None)
    since = ago(20)
    late = [row for row in whole if row.last_received_at >= since]
    assert 0 < len(late) < len(whole)
    assert results(session, flagged=True, limit=None, since=since) == late


def test_settling_puts_flags_where_an_earlier_image_belongs(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session, rows_in(session):
        study = StudyFactory(first_received_at=ago(300))
        FlagFactory(study=study, kind=FlagKind.SUSPECTED)
        other = StudyFactory(first_received_at=ago(400))
        FlagFactory(study=other, kind=FlagKind.SUSPECTED)
        # received before, and read later
        widen(study, ago(500))
    with sessions.begin() as session:
        assert settle(session, study.id, 1) is not None
    with sessions() as session:
        assert [row.study_id for row in results(session, flagged=True)] == [study.id, other.id]


def test_a_flag_raised_by_the_release_before_is_first_and_never_unseen(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session, rows_in(session):
        FlagFactory(study=StudyFactory(), kind=FlagKind.SUSPECTED)
        old = StudyFactory()
        session.add(Flag(study_id=old.id, study_revision=1, kind=FlagKind.SUSPECTED, priority=10, raised_at=ago(1)))
    with sessions() as session:
        assert _pages(session, 1)[0].study_id == old.id
        assert len(_pages(session, 1)) == 2
        assert session.get_one(Study, old.id).first_received_at > ago(1000)
