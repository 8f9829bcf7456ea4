from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from db.models.flag import Flag
from db.models.study import Image, Study
from db.studies import find_image, lock_or_create_image, recompute_outcome, widen
from db.vocabulary import FlagKind, Outcome, ReceiptState
from tests.factories.rows import (
    FlagFactory,
    ImageFactory,
    ReceiptFactory,
    StudyFactory,
    ago,
    digest,
    named_study,
    rows_in,
)

Sessions = sessionmaker[Session]


def test_a_study_is_made_once_and_its_times_widen(sessions: Sessions) -> None:
    first, middle, last = ago(100), ago(50), ago(10)
    for received in (middle, last, first):
        with sessions.begin() as session:
            widen(named_study(session, "1.2.3", received), received)
    with sessions() as session:
        study = session.scalars(select(Study)).one()
    assert (study.first_received_at, study.last_received_at) == (first, last)
    assert study.outcome is Outcome.PENDING


def test_naming_a_study_does_not_change_it(sessions: Sessions) -> None:
    for received in (ago(50), ago(10), ago(100)):
        with sessions.begin() as session:
            study = named_study(session, "1.2.3", received)
            session.flush()
            assert study.first_received_at == study.last_received_at
    assert study.first_received_at < ago(40)
    assert study.last_received_at < ago(40)


def test_many_workers_make_one_study_and_one_image(sessions: Sessions) -> None:
    start = threading.Barrier(5)

    def work(number: int) -> bool:
        start.wait()
        with sessions.begin() as session:
            study = named_study(session, "1.2.3", ago(number))
            _, made = lock_or_create_image(
                session,
                study_id=study.id,
                sop_instance_uid="1.2.4",
                sop_class_uid="1.2.5",
                transfer_syntax_uid="1.2.6",
                receipt_sha256=digest(number),
            )
            return made

    with ThreadPoolExecutor(5) as pool:
        assert sum(pool.map(work, range(5))) == 1
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(Study)) == 1
        assert session.scalar(select(func.count()).select_from(Image)) == 1


def test_an_image_is_found_by_its_uid(sessions: Sessions) -> None:
    with sessions.begin() as session, rows_in(session):
        image = ImageFactory(annotations=["VIEW_PA"])
        found = find_image(session, image.sop_instance_uid)
        assert found is image
        assert found.annotations == ["VIEW_PA"]
        assert find_image(session, "1.9.9") is None


@pytest.mark.parametrize(
    ("outcomes", "receipt", "expected"),
    [
        ((Outcome.NOT_SUSPECTED,), None, Outcome.NOT_SUSPECTED),
        ((Outcome.NOT_SUSPECTED, Outcome.SUSPECTED), ReceiptState.QUARANTINED, Outcome.SUSPECTED),
        ((Outcome.NOT_SUSPECTED,), ReceiptState.QUARANTINED, Outcome.NO_RESULT),
        ((Outcome.NOT_SUSPECTED,), ReceiptState.PENDING, Outcome.PENDING),
        ((Outcome.NOT_SUSPECTED,), ReceiptState.CONFLICT, Outcome.NOT_SUSPECTED),
        ((Outcome.OUT_OF_SCOPE, Outcome.PENDING), None, Outcome.PENDING),
        ((), None, Outcome.NO_RESULT),
    ],
)
def test_the_outcome_is_the_first_by_precedence(
    sessions: Sessions, outcomes: tuple[Outcome, ...], receipt: ReceiptState | None, expected: Outcome
) -> None:
    with sessions.begin() as session, rows_in(session):
        study = StudyFactory()
        for outcome in outcomes:
            ImageFactory(study=study, outcome=outcome)
        if receipt is not None:
            ReceiptFactory(study_id=study.id, state=receipt)
        assert recompute_outcome(session, study) is expected
    with sessions() as session:
        assert session.scalars(select(Study.outcome)).one() is expected


@pytest.mark.parametrize("state", [ReceiptState.CONFLICT, ReceiptState.QUARANTINED])
def test_an_instance_in_force_elsewhere_leaves_its_study_without_result(
    sessions: Sessions, state: ReceiptState
) -> None:
    with sessions.begin() as session, rows_in(session):
        study, elsewhere = StudyFactory(), ImageFactory()
        ImageFactory(study=study, outcome=Outcome.NOT_SUSPECTED)
        ReceiptFactory(study_id=elsewhere.study_id, image_id=elsewhere.id, state=ReceiptState.CLASSIFIED)
        ReceiptFactory(study_id=study.id, image_id=elsewhere.id, state=state)
        assert recompute_outcome(session, study) is Outcome.NO_RESULT
        assert recompute_outcome(session, session.get_one(Study, elsewhere.study_id)) is Outcome.NOT_SUSPECTED


@pytest.mark.parametrize("of_image", [True, False])
def test_a_flag_stands_once_a_revision(sessions: Sessions, of_image: bool) -> None:
    with sessions.begin() as session, rows_in(session):
        image = ImageFactory()
        about = image.id if of_image else None
        for revision in (1, 2):
            FlagFactory(study_id=image.study_id, image_id=about, study_revision=revision, kind=FlagKind.CONFLICT)
        with pytest.raises(IntegrityError), session.begin_nested():
            FlagFactory(study_id=image.study_id, image_id=about, study_revision=2, kind=FlagKind.CONFLICT)
        assert session.scalar(select(func.count()).select_from(Flag)) == 2
