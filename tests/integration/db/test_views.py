"""Each promise of the two views, on both databases."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session, object_session

from db.answering import note_answers
from db.base import make_readers, make_sessions
from db.consensus import Reading, standing
from db.models.study import Study, StudyRevision
from db.queries import ResultRow, flagged_count, result, results
from db.settling import reopen
from db.vocabulary import FLAG_PRIORITY, FlagKind, Outcome, ReceiptState, VerdictKind
from tests.factories.rows import (
    FlagFactory,
    ImageFactory,
    ModelVersionFactory,
    PredictionFactory,
    ReceiptFactory,
    StudyFactory,
    StudyRevisionFactory,
    VerdictFactory,
    ago,
    rows_in,
)

BASE = ago(100)


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with make_sessions(engine).begin() as session, rows_in(session):
        yield session


def _study(*outcomes: Outcome, **values: object) -> int:
    study = StudyFactory(**values)
    for outcome in outcomes:
        ImageFactory(study=study, outcome=outcome)
    return study.id


def _row(session: Session, study_id: int) -> ResultRow:
    return next(row for row in results(session, limit=None) if row.study_id == study_id)


def _flagged(session: Session, study_id: int) -> ResultRow | None:
    return next((row for row in results(session, flagged=True, limit=None) if row.study_id == study_id), None)


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ((Outcome.NOT_SUSPECTED, Outcome.SUSPECTED, Outcome.NO_RESULT), Outcome.SUSPECTED),
        ((Outcome.NOT_SUSPECTED, Outcome.PENDING, Outcome.NO_RESULT), Outcome.NO_RESULT),
        ((Outcome.NOT_SUSPECTED, Outcome.PENDING, Outcome.OUT_OF_SCOPE), Outcome.PENDING),
        ((Outcome.NOT_SUSPECTED, Outcome.OUT_OF_SCOPE), Outcome.NOT_SUSPECTED),
        ((Outcome.OUT_OF_SCOPE,), Outcome.OUT_OF_SCOPE),
        ((), Outcome.NO_RESULT),
    ],
)
def test_a_study_takes_the_first_outcome_by_precedence(
    session: Session, outcomes: tuple[Outcome, ...], expected: Outcome
) -> None:
    # whatever `study.outcome` says: the view does not trust it
    study = _study(*outcomes, outcome=Outcome.NOT_SUSPECTED)
    assert _row(session, study).outcome is expected


def test_an_unreadable_instance_is_never_hidden_behind_a_negative(session: Session) -> None:
    study = _study(Outcome.NOT_SUSPECTED)
    ReceiptFactory(quarantined=True, study_id=study)
    row = _row(session, study)
    assert (row.outcome, row.reason, row.probability) == (Outcome.NO_RESULT, "TRUNCATED", None)


def test_a_later_copy_that_was_read_makes_good(session: Session) -> None:
    image = ImageFactory(outcome=Outcome.NOT_SUSPECTED)
    ReceiptFactory(quarantined=True, study_id=image.study_id, image_id=image.id)
    assert _row(session, image.study_id).outcome is Outcome.NO_RESULT
    ReceiptFactory(state=ReceiptState.CLASSIFIED, study_id=image.study_id, image_id=image.id)
    assert _row(session, image.study_id).outcome is Outcome.NOT_SUSPECTED


def test_an_unreadable_copy_leaves_what_was_read_before_in_force(session: Session) -> None:
    image = ImageFactory(outcome=Outcome.NOT_SUSPECTED)
    ReceiptFactory(state=ReceiptState.CLASSIFIED, study_id=image.study_id, image_id=image.id)
    ReceiptFactory(quarantined=True, study_id=image.study_id, image_id=image.id)
    assert _row(session, image.study_id).outcome is Outcome.NOT_SUSPECTED


@pytest.mark.parametrize("state", [ReceiptState.CONFLICT, ReceiptState.QUARANTINED])
def test_an_instance_in_force_in_another_study_is_no_result_in_its_own(session: Session, state: ReceiptState) -> None:
    study, elsewhere = _study(Outcome.NOT_SUSPECTED), ImageFactory(outcome=Outcome.NOT_SUSPECTED)
    ReceiptFactory(state=ReceiptState.CLASSIFIED, study_id=elsewhere.study_id, image_id=elsewhere.id)
    ReceiptFactory(state=state, reason="STUDY", study_id=study, image_id=elsewhere.id)
    row = _row(session, study)
    assert (row.outcome, row.reason, row.probability) == (Outcome.NO_RESULT, "STUDY", None)
    assert _row(session, elsewhere.study_id).outcome is Outcome.NOT_SUSPECTED


def test_a_conflict_within_the_study_leaves_the_first_in_force(session: Session) -> None:
    image = ImageFactory(outcome=Outcome.NOT_SUSPECTED)
    ReceiptFactory(state=ReceiptState.CONFLICT, reason="PIXELS", study_id=image.study_id, image_id=image.id)
    assert _row(session, image.study_id).outcome is Outcome.NOT_SUSPECTED


def test_a_receipt_put_back_makes_its_study_pending(session: Session) -> None:
    study = _study(Outcome.NOT_SUSPECTED)
    ReceiptFactory(study_id=study)
    assert _row(session, study).outcome is Outcome.PENDING


def test_the_probability_is_that_of_the_image_that_decided(session: Session) -> None:
    model = ModelVersionFactory(name="starter", version="7")
    study = StudyFactory()
    for outcome, probability in ((Outcome.SUSPECTED, 0.7), (Outcome.SUSPECTED, 0.9), (Outcome.NO_RESULT, 0.99)):
        image = ImageFactory(study=study, outcome=outcome)
        PredictionFactory(image=image, model_version=model, outcome=outcome, probability=probability, score=0.8)
    row = _row(session, study.id)
    assert (row.probability, row.threshold, row.score, row.score_threshold) == (0.9, 0.4, 0.8, 0.5)
    assert row.model_version == "starter 7"


def test_of_an_image_the_newest_prediction_for_its_present_revision_is_in_force(session: Session) -> None:
    image = ImageFactory(outcome=Outcome.NOT_SUSPECTED, revision=2)
    PredictionFactory(image=image, image_revision=1, probability=0.3)
    assert _row(session, image.study_id).probability == 0.3  # inherited
    PredictionFactory(image=image, image_revision=2, probability=0.2)
    PredictionFactory(image=image, image_revision=2, probability=0.1)
    PredictionFactory(image=image, image_revision=1, probability=0.4)
    assert _row(session, image.study_id).probability == 0.1


def test_what_was_said_beside_the_result_in_force_does_not_show(session: Session) -> None:
    former, new = ModelVersionFactory(name="starter", version="7"), ModelVersionFactory()
    image = ImageFactory(outcome=Outcome.SUSPECTED)
    PredictionFactory(image=image, model_version=former, outcome=Outcome.SUSPECTED, probability=0.7)
    beside = {"model_version": new, "outcome": Outcome.NOT_SUSPECTED, "probability": 0.2, "beside": True}
    PredictionFactory(image=image, **beside)
    row = _row(session, image.study_id)
    assert (row.outcome, row.probability, row.model_version) == (Outcome.SUSPECTED, 0.7, "starter 7")


@pytest.mark.parametrize("outcome", [Outcome.NO_RESULT, Outcome.PENDING, Outcome.OUT_OF_SCOPE])
def test_no_probability_stands_beside_an_outcome_that_is_no_result(session: Session, outcome: Outcome) -> None:
    study = StudyFactory()
    ImageFactory(study=study, outcome=outcome)
    PredictionFactory(image=ImageFactory(study=study, outcome=outcome))
    row = _row(session, study.id)
    assert (row.outcome, row.probability, row.threshold, row.score) == (outcome, None, None, None)


def test_flags_stand_by_priority_and_cleared_ones_do_not(session: Session) -> None:
    study = StudyFactory()
    for kind in (FlagKind.POOR_IMAGE, FlagKind.UNCERTAIN, FlagKind.SUSPECTED):
        FlagFactory(study=study, kind=kind)
    FlagFactory(study=study, kind=FlagKind.CONFLICT, cleared_at=ago(1))
    FlagFactory(study=study, kind=FlagKind.UNCERTAIN, image_id=ImageFactory(study=study).id)
    row = _row(session, study.id)
    assert row.flags == ("SUSPECTED", "UNCERTAIN", "POOR_IMAGE")
    assert row.priority == FLAG_PRIORITY[FlagKind.SUSPECTED]


def test_annotations_of_all_images_stand_once(session: Session) -> None:
    study = StudyFactory()
    ImageFactory(study=study, annotations=["VIEW_PA", "UNKNOWN_AGE"])
    ImageFactory(study=study, annotations=["UNKNOWN_AGE", "OUTSIDE_INTENDED_USE:AGE"])
    assert _row(session, study.id).annotations == ("OUTSIDE_INTENDED_USE:AGE", "UNKNOWN_AGE", "VIEW_PA")


def test_reasons_are_those_of_what_decided(session: Session) -> None:
    study = StudyFactory()
    ImageFactory(study=study, outcome=Outcome.OUT_OF_SCOPE, reason="VIEW")
    ImageFactory(study=study, outcome=Outcome.NO_RESULT, reason="NOT_FINITE")
    assert _row(session, study.id).reason == "NOT_FINITE"


def test_every_study_is_in_study_result_and_only_waiting_ones_are_flagged(session: Session) -> None:
    quiet, waiting = _study(Outcome.NOT_SUSPECTED), _study(Outcome.SUSPECTED)
    FlagFactory(study_id=waiting)
    assert {row.study_id for row in results(session)} == {quiet, waiting}
    assert [row.study_id for row in results(session, flagged=True)] == [waiting]
    assert flagged_count(session) == 1


def test_overdue_shows_by_the_clock_alone(session: Session) -> None:
    study = _study(Outcome.NOT_SUSPECTED)
    receipt = ReceiptFactory(study_id=study)
    assert _flagged(session, study) is None
    receipt.due_at = ago(1)
    session.flush()
    row = _flagged(session, study)
    assert row is not None
    assert (row.outcome, row.flags, row.priority) == (Outcome.PENDING, ("OVERDUE",), FLAG_PRIORITY[FlagKind.OVERDUE])
    receipt.state = ReceiptState.CLASSIFIED
    session.flush()
    assert _flagged(session, study) is None


def test_receipts_without_study_are_listed_when_unreadable_or_overdue(session: Session) -> None:
    ReceiptFactory()
    ReceiptFactory(state=ReceiptState.OUT_OF_SCOPE, reason="NOT_AN_IMAGE")
    unreadable, overdue = ReceiptFactory(quarantined=True, reason="NOT_DICOM"), ReceiptFactory(overdue=True)
    late, bad = results(session, flagged=True)
    assert (late.receipt_id, late.outcome, late.flags, late.study_uid) == (
        overdue.id,
        Outcome.PENDING,
        ("OVERDUE",),
        None,
    )
    assert (bad.receipt_id, bad.outcome, bad.flags, bad.reason) == (
        unreadable.id,
        Outcome.NO_RESULT,
        ("NO_RESULT",),
        "NOT_DICOM",
    )
    assert bad.received_at == unreadable.received_at


@pytest.mark.parametrize(
    ("others", "shown", "priority"),
    [
        ((), ("AUDIT",), FlagKind.UNCERTAIN),
        # the flags are hidden, the patient's place in the list is kept
        ((FlagKind.SUSPECTED, FlagKind.UNCERTAIN), ("AUDIT",), FlagKind.SUSPECTED),
        ((FlagKind.NO_RESULT, FlagKind.UNFAMILIAR), ("AUDIT",), FlagKind.NO_RESULT),
        ((FlagKind.SUSPECTED, FlagKind.CONFLICT), ("CONFLICT", "AUDIT"), FlagKind.SUSPECTED),
        ((FlagKind.POOR_IMAGE,), ("POOR_IMAGE", "AUDIT"), FlagKind.UNCERTAIN),
    ],
)
def test_a_blind_row_tells_nothing_of_the_score(
    session: Session, others: tuple[FlagKind, ...], shown: tuple[str, ...], priority: FlagKind
) -> None:
    image = ImageFactory(outcome=Outcome.SUSPECTED, reason="X", annotations=["VIEW_PA"])
    PredictionFactory(image=image, probability=0.9)
    drawn = FLAG_PRIORITY[FlagKind.UNCERTAIN]
    audit = FlagFactory(study_id=image.study_id, kind=FlagKind.AUDIT, priority=drawn)
    for kind in others:
        FlagFactory(study_id=image.study_id, kind=kind)
    row = _flagged(session, image.study_id)
    assert row is not None
    assert row.flags == shown
    assert row.priority == FLAG_PRIORITY[priority]
    assert (row.outcome, row.reason, row.probability, row.threshold, row.score, row.model_version) == (None,) * 6
    assert row.annotations == ()
    assert row.study_uid is not None
    # once a verdict stands, nothing is hidden
    audit.cleared_at = ago(0)
    session.flush()
    row = _flagged(session, image.study_id)
    assert row is None if not others else row is not None and row.outcome is Outcome.SUSPECTED


def test_times_are_aware_and_values_come_back_as_stored(session: Session) -> None:
    study = StudyFactory(settled_at=ago(10), revision=3, accession_number="ÄÖ'; DROP TABLE study;--")
    row = result(session, study.study_uid)
    assert row is not None
    assert (row.received_at, row.settled_at, row.revision) == (study.first_received_at, study.settled_at, 3)
    assert row.accession_number == "ÄÖ'; DROP TABLE study;--"
    assert row.study_date == study.study_date
    assert result(session, "1.2.3") is None


def test_pages_neither_skip_nor_repeat(session: Session) -> None:
    moment = ago(50)
    studies = [StudyFactory(first_received_at=moment if number % 2 else ago(number)).id for number in range(1, 12)]
    for study in studies[:6]:
        FlagFactory(study_id=study, kind=FlagKind.CONFLICT)
    for _ in range(3):
        ReceiptFactory(quarantined=True, received_at=moment)
    for flagged, count in ((False, 11), (True, 9)):
        whole = results(session, flagged=flagged, limit=None)
        assert len(whole) == count
        paged: list[ResultRow] = []
        while page := results(session, flagged=flagged, limit=4, after=paged[-1] if paged else None):
            paged += page
        assert paged == whole


def test_since_counts_from_the_last_thing_received(session: Session) -> None:
    StudyFactory(first_received_at=ago(500), last_received_at=ago(400))
    late = StudyFactory(first_received_at=ago(500), last_received_at=ago(10))
    assert [row.study_id for row in results(session, since=ago(100))] == [late.id]


def test_readers_do_not_wait_for_a_writer(engine: Engine) -> None:
    with make_sessions(engine).begin() as writer, rows_in(writer):
        StudyFactory()
        with make_readers(engine)() as reader:
            assert results(reader) == []
    with make_readers(engine)() as reader:
        assert len(results(reader)) == 1


def test_the_views_answer_plain_sql(session: Session) -> None:
    FlagFactory(study=StudyFactory(accession_number="A77"))
    row = session.execute(
        text("SELECT accession_number, outcome, flags FROM flagged_result WHERE flags LIKE '%SUSPECTED%'")
    ).one()
    assert tuple(row) == ("A77", "NO_RESULT", "SUSPECTED")


def _read(revision: StudyRevision, kind: VerdictKind, seconds_ago: float = 10, reader: str = "a") -> None:
    VerdictFactory(
        study_revision=revision, verdict=kind, read_at=ago(seconds_ago), recorded_at=ago(seconds_ago), reader=reader
    )
    session = object_session(revision)
    assert session is not None
    note_answers(session, [revision.study_id])


def _revised(session: Session, study: Study) -> None:
    study.settled_at = ago(1)
    assert reopen(session, study)


def test_a_verdict_takes_a_study_out_of_the_list_unless_its_reader_could_not_tell(session: Session) -> None:
    revisions = {}
    for kind in VerdictKind:
        revisions[kind] = StudyRevisionFactory()
        FlagFactory(study_id=revisions[kind].study_id)
        assert _flagged(session, revisions[kind].study_id) is not None
        _read(revisions[kind], kind)
    assert [row.study_id for row in results(session, flagged=True)] == [revisions[VerdictKind.INDETERMINATE].study_id]
    assert flagged_count(session) == 1
    # it stays in the other view, flags and all: nothing is cleared
    assert all(row.flags == ("SUSPECTED",) for row in results(session))


def test_a_study_comes_back_where_a_verdict_is_taken_back_or_something_changed(session: Session) -> None:
    study = StudyFactory()
    FlagFactory(study=study)
    revision = StudyRevisionFactory(study=study)
    _read(revision, VerdictKind.PNEUMONIA)
    assert _flagged(session, study.id) is None
    _read(revision, VerdictKind.INDETERMINATE, seconds_ago=5)
    assert _flagged(session, study.id) is not None
    _read(revision, VerdictKind.NO_PNEUMONIA, reader="b")
    assert _flagged(session, study.id) is None
    _revised(session, study)
    assert _flagged(session, study.id) is not None
    _read(StudyRevisionFactory(study=study), VerdictKind.NO_PNEUMONIA)
    assert _flagged(session, study.id) is None


def test_what_was_flagged_after_the_reading_waits_for_another(session: Session) -> None:
    study = StudyFactory()
    FlagFactory(study=study)
    revision = StudyRevisionFactory(study=study)
    _read(revision, VerdictKind.NO_PNEUMONIA)
    FlagFactory(study=study, kind=FlagKind.CONFLICT, raised_at=ago(1))
    row = _flagged(session, study.id)
    assert row is not None
    assert row.flags == ("SUSPECTED", "CONFLICT")
    _read(revision, VerdictKind.NO_PNEUMONIA, seconds_ago=0)
    assert _flagged(session, study.id) is None
    # an instance that is overdue shows whatever was said of the others
    ReceiptFactory(study_id=study.id, overdue=True)
    assert _flagged(session, study.id) is not None


def test_a_drawn_study_is_shown_blind_until_a_verdict_stands(session: Session) -> None:
    study = StudyFactory()
    ImageFactory(study=study, outcome=Outcome.SUSPECTED)
    for kind in (FlagKind.SUSPECTED, FlagKind.AUDIT):
        FlagFactory(study=study, kind=kind)
    first = StudyRevisionFactory(study=study)
    _read(first, VerdictKind.INDETERMINATE)
    row = _flagged(session, study.id)
    assert row is not None
    assert (row.outcome, row.flags) == (None, ("AUDIT",))
    # a late image before anybody could tell: still blind
    _revised(session, study)
    row = _flagged(session, study.id)
    assert row is not None
    assert (row.outcome, row.revision) == (None, 2)
    # another reader could, on the revision before: there is nothing to hide any more, and the new one is to be read
    _read(first, VerdictKind.PNEUMONIA, reader="b")
    row = _flagged(session, study.id)
    assert row is not None
    assert (row.outcome, row.flags) == (Outcome.SUSPECTED, ("SUSPECTED", "AUDIT"))


def test_the_draw_asks_for_a_verdict_from_whenever_it_is(session: Session) -> None:
    study = StudyFactory()
    FlagFactory(study=study, kind=FlagKind.AUDIT)
    _read(StudyRevisionFactory(study=study), VerdictKind.NO_PNEUMONIA, seconds_ago=10_000)
    assert _flagged(session, study.id) is None


def test_the_view_and_the_consensus_rule_agree_on_what_stands(session: Session) -> None:
    dice = random.Random(5)
    expected = {}
    for _ in range(150):
        study = StudyFactory()
        FlagFactory(study=study, raised_at=BASE - timedelta(seconds=900))
        revision = StudyRevisionFactory(study=study)
        readings = []
        for _ in range(dice.randrange(5)):
            hours = dice.randrange(3)
            one = VerdictFactory(
                study_revision=revision,
                reader=dice.choice("ab"),
                read_at=BASE + timedelta(seconds=hours),
                verdict=dice.choice([VerdictKind.INDETERMINATE, VerdictKind.PNEUMONIA]),
            )
            readings.append(Reading(one.id, one.reader, one.read_at, one.verdict, one.model_visible))
        expected[study.id] = all(one.verdict is VerdictKind.INDETERMINATE for one in standing(readings))
    note_answers(session, list(expected))
    waiting = {row.study_id for row in results(session, flagged=True, limit=None)}
    assert {study: study in waiting for study in expected} == expected
    assert 20 < len(waiting) < 130
