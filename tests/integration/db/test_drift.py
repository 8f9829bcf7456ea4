from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from db.consensus import Finding
from db.drift import days, first_day, flagged, images, read, reference, set_reference
from db.vocabulary import FlagKind, Outcome, ReceiptState, VerdictKind
from tests.factories.rows import (
    FlagFactory,
    ImageFactory,
    ModelVersionFactory,
    PredictionFactory,
    ReceiptFactory,
    StudyFactory,
    StudyRevisionFactory,
    VerdictFactory,
    rows_in,
)

FIRST, LAST = date(2026, 1, 5), date(2026, 1, 18)
ILL, WELL = VerdictKind.PNEUMONIA, VerdictKind.NO_PNEUMONIA


def at(day: date, hour: int = 12) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


def test_days_end_at_midnight_by_utc_and_of_many_studies_the_same_few_are_looked_at(
    sessions: sessionmaker[Session],
) -> None:
    midnight = at(FIRST, 0)
    times = [
        midnight - timedelta(microseconds=1),
        midnight,
        at(LAST, 23) + timedelta(minutes=59),
        at(LAST, 0) + timedelta(days=1),
    ]
    with sessions.begin() as session, rows_in(session):
        assert first_day(session) is None
        for when in times:
            ImageFactory(study=StudyFactory(first_received_at=when))
        for _ in range(8):
            ImageFactory(study=StudyFactory(first_received_at=at(FIRST)))
    with sessions() as session:
        assert first_day(session) == FIRST - timedelta(days=1)
        chosen = days(session, FIRST, LAST, 100)
        assert (chosen.studies, len(chosen.looked_at)) == (10, 10)
        assert len(list(images(session, chosen))) == 10
        fewer = days(session, FIRST, LAST, 3)
        assert fewer.studies == 10
        looked_at = {one.study_id for one in images(session, fewer)}
        assert 2 <= len(looked_at) <= 3
        assert {study_id % 4 for study_id in looked_at} == {0}
        assert {one.study_id for one in images(session, fewer)} == looked_at


def test_an_image_comes_once_with_its_first_answer_and_its_first_sender(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session, rows_in(session):
        study = StudyFactory(first_received_at=at(FIRST), patient_id="P", issuer_of_patient_id="H")
        image = ImageFactory(
            study=study,
            outcome=Outcome.SUSPECTED,
            manufacturer="ACME",
            view="AP",
            patient_sex="F",
            patient_age_days=900,
            master_digest="0" * 64,
        )
        old, new = ModelVersionFactory(), ModelVersionFactory()
        PredictionFactory(image=image, model_version=old, score=0.25, unfamiliarity=1.5, unfamiliarity_threshold=2.0)
        PredictionFactory(image=image, model_version=new, score=0.75)
        for peer in ("FIRST", "SECOND"):
            ReceiptFactory(
                peer=peer, study_id=study.id, image_id=image.id, state=ReceiptState.CLASSIFIED, finished_at=at(FIRST)
            )
        # neither read nor sent by anybody known, and of nobody known
        ImageFactory(study=StudyFactory(first_received_at=at(FIRST), patient_id=None), outcome=Outcome.OUT_OF_SCOPE)
    with sessions() as session:
        one, other = sorted(images(session, days(session, FIRST, LAST, 10)), key=lambda image: image.study_id)
    assert one == replace(
        one,
        study_id=study.id,
        patient="H\\P",
        outcome=Outcome.SUSPECTED,
        reason=None,
        manufacturer="ACME",
        view="AP",
        sex="F",
        age_days=900,
        master_digest="0" * 64,
        peer="FIRST",
        model_version_id=old.id,
        score=0.25,
        unfamiliarity=1.5,
        unfamiliarity_threshold=2.0,
    )
    assert (other.outcome, other.model_version_id, other.peer) == (Outcome.OUT_OF_SCOPE, None, None)
    assert other.patient == f"study {other.study_id}"


def test_flags_that_are_about_the_image_count_open_or_cleared(sessions: sessionmaker[Session]) -> None:
    def study(*kinds: FlagKind, cleared: bool = False, day: date = FIRST) -> int:
        made = StudyFactory(first_received_at=at(day))
        for kind in kinds:
            FlagFactory(study=made, kind=kind, cleared_at=at(LAST) if cleared else None)
        return int(made.id)

    with sessions.begin() as session, rows_in(session):
        counted = {
            study(FlagKind.SUSPECTED, FlagKind.UNCERTAIN),
            study(FlagKind.NO_RESULT, cleared=True),
            study(FlagKind.UNFAMILIAR),
        }
        study()
        study(FlagKind.AUDIT)
        study(FlagKind.CONFLICT)
        study(FlagKind.SUSPECTED, day=LAST + timedelta(days=1))
    with sessions() as session:
        assert flagged(session, days(session, FIRST, LAST, 10)) == counted


def test_readers_who_saw_the_outcome_and_those_blind_are_apart(sessions: sessionmaker[Session]) -> None:
    def study(*said: tuple[int, str, VerdictKind, bool]) -> int:
        made = StudyFactory(first_received_at=at(FIRST), revision=2)
        revisions = [
            StudyRevisionFactory(study=made, revision=number, outcome=outcome, settled_at=at(FIRST))
            for number, outcome in ((1, Outcome.NOT_SUSPECTED), (2, Outcome.SUSPECTED))
        ]
        for revision, reader, kind, visible in said:
            VerdictFactory(study_revision=revisions[revision - 1], reader=reader, verdict=kind, model_visible=visible)
        return int(made.id)

    with sessions.begin() as session, rows_in(session):
        both = study((1, "a", ILL, False), (2, "a", WELL, False), (1, "b", WELL, True), (2, "b", ILL, True))
        disputed = study((2, "a", ILL, True), (2, "b", WELL, True))
        study()
    with sessions() as session:
        found = {(one.study_id, one.blind): one for one in read(session, days(session, FIRST, LAST, 10))}
    assert {key: (one.outcome, one.finding) for key, one in found.items()} == {
        (both, True): (Outcome.NOT_SUSPECTED, Finding.PNEUMONIA),
        (both, False): (Outcome.SUSPECTED, Finding.PNEUMONIA),
        (disputed, False): (Outcome.SUSPECTED, Finding.DISPUTED),
    }


def test_the_newest_reference_is_in_force_and_none_is_changed(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        assert reference(session) is None
        set_reference(session, FIRST, LAST, actor="a", reason="one")
        set_reference(session, FIRST, LAST - timedelta(days=1), actor="b", reason="two")
    with sessions() as session:
        found = reference(session)
        assert found is not None
        assert (found.first, found.last, found.actor, found.reason) == (FIRST, LAST - timedelta(days=1), "b", "two")
        assert found.chosen_at.tzinfo is not None
        for statement in ("UPDATE drift_reference SET last = first", "DELETE FROM drift_reference"):
            with pytest.raises(DBAPIError):
                session.execute(text(statement))
            session.rollback()
