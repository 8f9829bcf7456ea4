"""Which images a new champion looks at again, and who holds them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session, sessionmaker

from db.claims import LeaseLost
from db.models.model import Champion, ModelVersion
from db.models.rescoring import Rescoring
from db.models.study import Image, Study, StudyRevision
from db.registry import install_champion_if_none
from db.rescoring import Again, claim, finish, queue, release, skip_superseded, waiting, why_not
from db.vocabulary import Outcome, RescoringState, Unscored, VerdictKind
from tests.factories.rows import (
    ImageFactory,
    ModelVersionFactory,
    PredictionFactory,
    StudyFactory,
    StudyRevisionFactory,
    VerdictFactory,
    ago,
    digest,
    promoted,
    rows_in,
)

Sessions = sessionmaker[Session]
DAY = 86_400
# where the other database would add nothing
sqlite = pytest.mark.parametrize("ledger_settings", ["sqlite"], indirect=True)


def models(session: Session) -> tuple[int, int]:
    """A former model and the champion."""
    former, champion = ModelVersionFactory(), ModelVersionFactory()
    install_champion_if_none(session, champion.id)
    return former.id, champion.id


def classified(former: ModelVersion | None = None, *, days: float = 1, **values: object) -> Image:
    """An image of a settled study that the former model classified so many days ago."""
    study = StudyFactory(first_received_at=ago(days * DAY), settled_at=ago(days * DAY - 60))
    image = ImageFactory(study=study, master_digest=digest("m"), input_digest=digest("i"), **values)
    StudyRevisionFactory(study=study)
    if former is not None:
        PredictionFactory(image=image, model_version=former)
    return image


def review(session: Session, image: Image, kind: VerdictKind = VerdictKind.NO_PNEUMONIA) -> None:
    """Enter a verdict on the present revision of an image's study."""
    present = select(StudyRevision).where(StudyRevision.study_id == image.study_id)
    VerdictFactory(study_revision=session.scalars(present).one(), verdict=kind)


def rows(sessions: Sessions) -> list[Rescoring]:
    with sessions() as session:
        return list(session.scalars(select(Rescoring).order_by(Rescoring.id)))


def filled(sessions: Sessions, count: int = 3) -> tuple[int, int]:
    """Images that wait for the champion; return the former model and the champion."""
    with sessions.begin() as session, rows_in(session):
        former, champion = models(session)
        for number in range(count):
            classified(session.get_one(ModelVersion, former), days=number + 1)
        assert queue(session, champion, 30) == count
    return former, champion


def take(sessions: Sessions, model: int, limit: int = 10, seconds: float = 60) -> list[Again]:
    with sessions.begin() as session:
        return claim(session, model, limit, seconds)


def test_what_nobody_reviewed_within_the_days_is_queued_the_newest_first(sessions: Sessions) -> None:
    with sessions.begin() as session, rows_in(session):
        former, champion = (session.get_one(ModelVersion, number) for number in models(session))
        older, newer = classified(former, days=6), classified(former, days=2)
        too_old = classified(former, days=8)
        reviewed = classified(former)
        review(session, reviewed)
        untold = classified(former)
        review(session, untold, VerdictKind.INDETERMINATE)
        out_of_scope = classified(former, outcome=Outcome.OUT_OF_SCOPE)
        unreadable = ImageFactory(study=StudyFactory(), outcome=Outcome.NO_RESULT)
        judged = classified(former)
        PredictionFactory(image=judged, model_version=champion)
        wanted = [untold.id, newer.id, older.id]
        assert queue(session, champion.id, 7) == 3
        left_out = {too_old.id, reviewed.id, out_of_scope.id, unreadable.id, judged.id}
    found = rows(sessions)
    assert [row.image_id for row in found] == wanted
    assert left_out.isdisjoint(row.image_id for row in found)
    assert {(row.state, row.attempts, row.reason) for row in found} == {(RescoringState.WAITING, 0, None)}
    with sessions() as session:
        assert waiting(session) == 3


@sqlite
@pytest.mark.parametrize("days", [0, -1])
def test_no_days_queue_nothing(sessions: Sessions, days: float) -> None:
    with sessions.begin() as session, rows_in(session):
        former, champion = models(session)
        classified(session.get_one(ModelVersion, former))
        assert queue(session, champion, days) == 0


@sqlite
def test_the_days_are_reckoned_from_the_time_given(sessions: Sessions) -> None:
    with sessions.begin() as session, rows_in(session):
        former, champion = models(session)
        classified(session.get_one(ModelVersion, former), days=400)
        assert queue(session, champion, 7) == 0
        assert queue(session, champion, 7, now=ago(395 * DAY)) == 1


@sqlite
def test_a_study_whose_last_revision_was_reviewed_and_that_changed_since_is_queued(sessions: Sessions) -> None:
    with sessions.begin() as session, rows_in(session):
        former, champion = models(session)
        image = classified(session.get_one(ModelVersion, former))
        review(session, image)
        session.get_one(Study, image.study_id).revision = 2
        session.flush()
        assert queue(session, champion, 7) == 1


def test_queueing_again_adds_nothing_and_wakes_what_was_skipped(sessions: Sessions) -> None:
    _, champion = filled(sessions)
    with sessions.begin() as session:
        assert queue(session, champion, 30) == 0
    first, *_ = take(sessions, champion, 1)
    with sessions.begin() as session:
        finish(session, first, Unscored.SUPERSEDED)
    with sessions.begin() as session:
        assert queue(session, champion, 30) == 1
        assert queue(session, champion, 30) == 0
    assert len(rows(sessions)) == 3
    assert {(row.state, row.reason, row.attempts, row.finished_at) for row in rows(sessions)} == {
        (RescoringState.WAITING, None, 0, None)
    }


@sqlite
def test_queueing_is_undone_with_the_promotion(sessions: Sessions) -> None:
    with sessions.begin() as session, rows_in(session):
        former, champion = models(session)
        classified(session.get_one(ModelVersion, former))
    with sessions() as session:
        session.begin()
        assert queue(session, champion, 30) == 1
        session.rollback()
    assert rows(sessions) == []


def test_an_image_is_held_by_one_until_its_lease_ends(sessions: Sessions) -> None:
    _, champion = filled(sessions)
    first = take(sessions, champion, 2)
    assert len(first) == 2
    assert {one.attempts for one in first} == {0}
    assert len(take(sessions, champion)) == 1
    assert take(sessions, champion) == []
    with sessions.begin() as session:
        session.execute(update(Rescoring).values(lease_until=ago(1)))
    # started before: alone
    (again,) = take(sessions, champion)
    assert (again.rescoring_id, again.attempts) == (first[0].rescoring_id, 1)
    with sessions.begin() as session, pytest.raises(LeaseLost):
        finish(session, first[0])
    with sessions.begin() as session:
        finish(session, again)
        finish(session, first[1])
    states = [row.state for row in rows(sessions)]
    assert states == [RescoringState.DONE, RescoringState.DONE, RescoringState.WAITING]


@sqlite
def test_what_was_never_started_goes_before_what_was(sessions: Sessions) -> None:
    _, champion = filled(sessions)
    first = take(sessions, champion, 1)
    with sessions.begin() as session:
        release(session, first)
    taken = take(sessions, champion)
    assert first[0].rescoring_id not in {one.rescoring_id for one in taken}
    assert len(taken) == 2
    assert [one.rescoring_id for one in take(sessions, champion)] == [first[0].rescoring_id]


@sqlite
def test_what_is_given_back_with_a_refund_counts_no_start_and_waits_for_its_delay(sessions: Sessions) -> None:
    _, champion = filled(sessions, 1)
    held = take(sessions, champion)
    with sessions.begin() as session:
        release(session, held, refund=True, delay_seconds=30)
    assert take(sessions, champion) == []
    with sessions.begin() as session:
        session.execute(update(Rescoring).values(lease_until=ago(1)))
    assert [one.attempts for one in take(sessions, champion)] == [0]


def test_workers_at_once_share_the_images_and_none_is_held_twice(sessions: Sessions) -> None:
    _, champion = filled(sessions, 12)
    with ThreadPoolExecutor(4) as pool:
        batches = pool.map(lambda _: take(sessions, champion, 4), range(4))
        held = [one.rescoring_id for batch in batches for one in batch]
    held += [one.rescoring_id for one in take(sessions, champion, 12)]
    assert sorted(held) == [row.id for row in rows(sessions)]


def test_a_model_that_is_no_longer_champion_scores_nothing_and_its_images_are_skipped(sessions: Sessions) -> None:
    former, champion = filled(sessions)
    held = take(sessions, champion, 1)
    with sessions.begin() as session:
        promoted(session, former, 1)
    assert take(sessions, champion) == []
    assert take(sessions, former) == []
    with sessions.begin() as session:
        assert why_not(session, held[0], champion) is Unscored.SUPERSEDED
        assert skip_superseded(session) == 3
        assert skip_superseded(session) == 0
    assert {(row.state, row.reason) for row in rows(sessions)} == {(RescoringState.SKIPPED, Unscored.SUPERSEDED)}
    with sessions.begin() as session, pytest.raises(LeaseLost):
        finish(session, held[0])


def _reviewed(session: Session, image: Image) -> None:
    review(session, image)


def _out_of_scope(session: Session, image: Image) -> None:
    image.outcome = Outcome.OUT_OF_SCOPE
    session.flush()


def _lost_its_pixels(session: Session, image: Image) -> None:
    image.master_digest = image.input_digest = None
    session.flush()


def _judged(session: Session, image: Image) -> None:
    champion = session.scalars(select(Champion.model_version_id)).one()
    PredictionFactory(image=image, model_version=session.get_one(ModelVersion, champion))


@sqlite
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda _session, _image: None, None),
        (_reviewed, Unscored.REVIEWED),
        (_out_of_scope, Unscored.NOT_IN_FORCE),
        (_lost_its_pixels, Unscored.NOT_IN_FORCE),
        (_judged, Unscored.SCORED),
    ],
)
def test_what_changed_meanwhile_is_told(
    sessions: Sessions, change: Callable[[Session, Image], None], reason: Unscored | None
) -> None:
    _, champion = filled(sessions, 1)
    (held,) = take(sessions, champion)
    with sessions.begin() as session, rows_in(session):
        change(session, session.get_one(Image, held.image_id))
    with sessions.begin() as session:
        assert why_not(session, held, champion) is reason
