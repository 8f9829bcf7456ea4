from __future__ import annotations

import pytest
from sqlalchemy.orm import Session, sessionmaker

from db.backlog import Waiting, backlog
from db.claims import claim, release
from db.heartbeats import Pulse, beat
from db.report import status
from db.vocabulary import URGENCY_RANK, Outcome, ProcessKind, Urgency
from db.worker_figures import Timing, WorkerFigures
from tests.factories.rows import FlagFactory, HeartbeatFactory, ReceiptFactory, StudyFactory, ago, rows_in

Sessions = sessionmaker[Session]


def test_an_empty_ledger_has_none_and_names_every_urgency(sessions: Sessions) -> None:
    with sessions() as session:
        found = backlog(session)
    assert found.waiting == dict.fromkeys(Urgency, Waiting())
    assert (found.pending, found.in_hand, found.overdue, found.oldest_seconds) == (0, 0, 0, None)
    assert (found.quarantined, found.rescoring, found.unsettled, found.flagged) == ({}, 0, 0, 0)


def test_what_waits_is_counted_by_urgency(sessions: Sessions) -> None:
    urgent = URGENCY_RANK[Urgency.URGENT]
    with sessions.begin() as session, rows_in(session):
        ReceiptFactory(urgency=urgent, received_at=ago(40))
        ReceiptFactory(urgency=urgent, received_at=ago(20))
        ReceiptFactory(received_at=ago(1000), overdue=True)
        ReceiptFactory(quarantined=True)
        FlagFactory(study=StudyFactory(outcome=Outcome.SUSPECTED))
    with sessions.begin() as session:
        held = claim(session, 2, 60)
        # put off for a moment: in nobody's hand
        release(session, held[:1], delay_seconds=30)
    with sessions() as session:
        found = backlog(session)
    waiting = found.waiting
    assert [(word, one.receipts, one.in_hand, one.overdue) for word, one in waiting.items()] == [
        (Urgency.URGENT, 2, 1, 0),
        (Urgency.ROUTINE, 1, 0, 1),
        (Urgency.RESCORE, 0, 0, 0),
    ]
    assert waiting[Urgency.URGENT].oldest_seconds == pytest.approx(40, abs=10)
    assert found.oldest_seconds == pytest.approx(1000, abs=10)
    assert (found.pending, found.in_hand, found.overdue) == (3, 1, 1)
    assert found.quarantined == {"TRUNCATED": 1}
    # beside the study, what is overdue and what is in quarantine
    assert (found.unsettled, found.flagged) == (1, 3)


def test_a_lease_that_ran_out_is_in_nobodys_hand(sessions: Sessions) -> None:
    with sessions.begin() as session, rows_in(session):
        ReceiptFactory()
    with sessions.begin() as session:
        assert claim(session, 1, -1)
    with sessions() as session:
        assert backlog(session).in_hand == 0


def test_a_workers_figures_come_back_from_its_heartbeat(sessions: Sessions) -> None:
    figures = WorkerFigures(over_seconds=60.0, finished=7, decode={"RLELossless": Timing(7, 0.5)})
    with sessions.begin() as session, rows_in(session):
        beat(session, Pulse("w", ProcessKind.WORKER, "h", 5, ago(60), figures=figures))
        # of the release before, which has no such column
        HeartbeatFactory(kind=ProcessKind.WORKER, listener=None, horizon=None)
    with sessions() as session:
        assert [one.figures for one in status(session).processes] == [None, figures]
    with sessions.begin() as session:
        beat(session, Pulse("w", ProcessKind.WORKER, "h", 5, ago(60)))
    with sessions() as session:
        assert [one.figures for one in status(session).processes] == [None, None]
