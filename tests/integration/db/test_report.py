"""Status, quarantine and a study's story."""

from __future__ import annotations

import pytest
from sqlalchemy.orm import Session, sessionmaker

from db.claims import claim, finish
from db.heartbeats import Pulse, beat, stop
from db.models.receipt import Receipt
from db.models.study import Study
from db.quarantine import UnknownReceipt, quarantined, retry, show
from db.receipts import mark_stored
from db.registry import install_champion_if_none
from db.report import status
from db.settling import settle
from db.story import trace
from db.studies import recompute_outcome
from db.vocabulary import FlagKind, IllegalMove, Outcome, ProcessKind, ReceiptState
from tests.factories.rows import (
    FlagFactory,
    HeartbeatFactory,
    ImageFactory,
    ModelVersionFactory,
    PredictionFactory,
    ReceiptFactory,
    StudyFactory,
    ago,
    rows_in,
)

Sessions = sessionmaker[Session]


def test_status_of_an_empty_ledger(sessions: Sessions) -> None:
    with sessions() as session:
        report = status(session)
    assert (report.terminal, report.pending, report.flagged, report.champion) == (0, 0, 0, None)
    assert report.oldest_pending_seconds is None
    assert set(report.receipts) == set(ReceiptState)
    assert set(report.studies) == set(Outcome)


def test_status_counts_everything(sessions: Sessions) -> None:
    with sessions.begin() as session, rows_in(session):
        model = ModelVersionFactory(name="starter", version="9")
        install_champion_if_none(session, model.id)
        ReceiptFactory(received_at=ago(100))
        ReceiptFactory(received_at=ago(50), overdue=True)
        ReceiptFactory(quarantined=True, reason="TRUNCATED")
        ReceiptFactory(quarantined=True, reason=None)
        ReceiptFactory(state=ReceiptState.DUPLICATE, finished_at=ago(86_000))
        # history: `reconcile` counts it
        ReceiptFactory(state=ReceiptState.CLASSIFIED, finished_at=ago(87_000))
        StudyFactory(outcome=Outcome.SUSPECTED, first_received_at=ago(87_000), settled_at=ago(86_000))
        FlagFactory(study=StudyFactory(outcome=Outcome.SUSPECTED))
        pulse = Pulse("w", ProcessKind.WORKER, "h", 5, ago(60), model_version_id=model.id, problem="x" * 300)
        beat(session, pulse)
        beat(session, Pulse("r", ProcessKind.REGISTRAR, "h", 6, ago(60), listener="listener", horizon=ago(30)))
        stop(session, "r")
    with sessions() as session:
        report = status(session)
    assert (report.terminal, report.pending, report.overdue) == (3, 2, 1)
    assert report.receipts[ReceiptState.CLASSIFIED] == 0
    assert report.oldest_pending_seconds == pytest.approx(100, abs=10)
    assert report.quarantined == {"TRUNCATED": 1, "?": 1}
    assert report.studies[Outcome.SUSPECTED] == 1
    assert (report.flagged, report.unsettled) == (4, 1)
    assert report.champion is not None
    assert report.champion.version == "9"
    registrar, worker = report.processes
    assert (worker.model, len(worker.problem or "")) == ("starter 9", 200)
    assert worker.seen_seconds < 10
    assert registrar.stopped_at is not None
    assert registrar.horizon_seconds == pytest.approx(30, abs=10)


def test_a_beat_overwrites_its_row(sessions: Sessions) -> None:
    for problem in ("no model", None):
        with sessions.begin() as session:
            beat(session, Pulse("w", ProcessKind.WORKER, "h", 5, ago(60), problem=problem))
    with sessions() as session:
        (process,) = status(session).processes
    assert process.problem is None


def test_a_process_that_fell_silent_is_history_after_a_week(sessions: Sessions) -> None:
    with sessions.begin() as session, rows_in(session):
        HeartbeatFactory(pid=1, seen_at=ago(8 * 86_400))
        HeartbeatFactory(pid=2, seen_at=ago(6 * 86_400))
        HeartbeatFactory(pid=3, seen_at=ago(2 * 86_400), stopped_at=ago(2 * 86_400))
    with sessions() as session:
        assert [process.pid for process in status(session).processes] == [2]


def test_a_registrar_that_settling_waits_for_never_is(sessions: Sessions) -> None:
    with sessions.begin() as session, rows_in(session):
        HeartbeatFactory(pid=1, seen_at=ago(99 * 86_400), listener="superseded")
        HeartbeatFactory(pid=2, seen_at=ago(90 * 86_400), listener="renamed")
        HeartbeatFactory(pid=3, seen_at=ago(90 * 86_400), stopped_at=ago(90 * 86_400), listener="superseded")
        HeartbeatFactory(pid=4)
    with sessions() as session:
        assert [process.pid for process in status(session).processes] == [4, 2]


def test_quarantine_lists_newest_first_in_pages(sessions: Sessions) -> None:
    with sessions.begin() as session, rows_in(session):
        numbers = [ReceiptFactory(quarantined=True, reason="A" if number % 2 else "B").id for number in range(5)]
    with sessions() as session:
        page = quarantined(session, limit=3)
        assert [row.receipt_id for row in page] == numbers[:1:-1]
        assert [row.receipt_id for row in quarantined(session, after_id=page[-1].receipt_id)] == numbers[1::-1]
        assert len(quarantined(session, reason="A")) == 2
        assert show(session, numbers[0]).reason == "B"
        with pytest.raises(UnknownReceipt, match="quarantine list"):
            show(session, 999)


def test_retry_puts_back_and_remembers(sessions: Sessions) -> None:
    with sessions.begin() as session, rows_in(session):
        study = StudyFactory(first_received_at=ago(500))
        receipt = ReceiptFactory(quarantined=True, study_id=study.id, attempts=3, detail="cut short")
        mark_stored(session, [receipt.id])
        recompute_outcome(session, study)
        assert settle(session, study.id, 60) is not None
    with sessions.begin() as session:
        retry(session, receipt.id)
    with sessions.begin() as session:
        again = session.get_one(Study, study.id)
        assert (again.outcome, again.revision, again.settled_at) == (Outcome.PENDING, 2, None)
        (held,) = claim(session, 1, 60)
        assert (held.receipt_id, held.attempts, held.stored) == (receipt.id, 0, True)
        finish(session, held, ReceiptState.OUT_OF_SCOPE, "VIEW")
        (story,) = trace(session, again.study_uid)
    (delivery,) = story.receipts
    assert (delivery.state, delivery.attempts) == (ReceiptState.OUT_OF_SCOPE, 0)
    (put_back,) = delivery.retries
    assert (put_back.reason, put_back.detail, put_back.attempts) == ("TRUNCATED", "cut short", 3)


@pytest.mark.parametrize("state", sorted(set(ReceiptState) - {ReceiptState.QUARANTINED}))
def test_only_quarantined_receipts_can_be_put_back(sessions: Sessions, state: ReceiptState) -> None:
    with sessions.begin() as session, rows_in(session):
        receipt = ReceiptFactory(state=state)
    with pytest.raises(IllegalMove), sessions.begin() as session:
        retry(session, receipt.id)
    with sessions() as session:
        assert session.get_one(Receipt, receipt.id).state is state


def test_retry_of_nothing_says_so(sessions: Sessions) -> None:
    with pytest.raises(UnknownReceipt, match="no receipt 7"), sessions.begin() as session:
        retry(session, 7)


def test_the_whole_story_of_a_study(sessions: Sessions) -> None:
    with sessions.begin() as session, rows_in(session):
        study = StudyFactory(accession_number="A1", first_received_at=ago(500))
        image = ImageFactory(study=study, outcome=Outcome.SUSPECTED, annotations=["VIEW_PA"])
        PredictionFactory(image=image, outcome=Outcome.SUSPECTED, score=0.9)
        FlagFactory(study=study, image_id=image.id, kind=FlagKind.SUSPECTED)
        ReceiptFactory(state=ReceiptState.CLASSIFIED, study_id=study.id, image_id=image.id)
        ReceiptFactory(state=ReceiptState.DUPLICATE, study_id=study.id, image_id=image.id)
        settle(session, study.id, 60)
        other = StudyFactory(accession_number="A1")
    with sessions() as session:
        stories = trace(session, "A1")
        assert [story.study_id for story in stories] == [other.id, study.id]
        assert trace(session, study.study_uid) == stories[1:]
        assert trace(session, image.sop_instance_uid) == stories[1:]
        assert trace(session, "nothing") == ()
    story = stories[1]
    assert [receipt.state for receipt in story.receipts] == [ReceiptState.CLASSIFIED, ReceiptState.DUPLICATE]
    assert story.images[0].predictions[0].score == 0.9
    assert story.images[0].annotations == ("VIEW_PA",)
    assert [flag.kind for flag in story.flags] == [FlagKind.SUSPECTED]
    assert [(one.revision, one.outcome, one.images) for one in story.revisions] == [(1, Outcome.SUSPECTED, 1)]
