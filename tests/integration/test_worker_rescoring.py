"""A new champion looks again: what it says may put a study on the reader's list, and takes none off."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session, sessionmaker

from core.settings import Settings
from db.models.rescoring import Rescoring
from db.models.study import Image, Study, StudyRevision
from db.report import status
from db.rescoring import queue
from db.vocabulary import FlagKind, Outcome, RescoringState, Unscored
from imaging.master import load_master, master_path
from tests.factories.rows import VerdictFactory, ago, promoted, rows_in
from tests.integration.rescoring_kit import Again, everything_shown
from tests.integration.worker_kit import always
from worker.rescoring.rescorer import Rescorer

Sessions = sessionmaker[Session]
sqlite = pytest.mark.parametrize("ledger_settings", ["sqlite"], indirect=True)
S, N, X = Outcome.SUSPECTED, Outcome.NOT_SUSPECTED, Outcome.NO_RESULT


@pytest.fixture
def again(ledger_settings: Settings, sessions: Sessions) -> Again:
    return Again(ledger_settings.model_copy(update={"audit_share": 0.0, "audit_flagged_share": 0.0}), sessions)


def broken(_: NDArray[np.float32]) -> NDArray[np.float32]:
    raise RuntimeError("out of memory")


def states(again: Again) -> list[tuple[RescoringState, Unscored | None]]:
    return [(row.state, row.reason) for row in again.rows()]


def test_what_the_new_champion_suspects_comes_on_the_list_as_a_new_revision(again: Again) -> None:
    study = again.judged(N)
    assert again.promoted() == 1
    assert again.run() == 1
    assert (again.study(study).outcome, again.study(study).revision) == (S, 2)
    assert again.study(study).settled_at is None
    assert again.flags(study) == [(FlagKind.SUSPECTED, 2)]
    assert again.settle() == 1
    assert again.revisions(study) == [(1, N), (2, S)]
    listed = again.shown(study, flagged=True)
    assert (listed.outcome, listed.revision, listed.model_version) == (S, 2, "stub 2")
    assert (listed.score, listed.score_threshold) == (pytest.approx(0.9), 0.5)
    former, new = again.predictions(study)
    assert (former.model_version_id, former.score, former.beside) == (again.former, 0.1, False)
    assert (new.model_version_id, new.outcome, new.beside) == (again.champion, S, False)
    assert states(again) == [(RescoringState.DONE, None)]


@pytest.mark.parametrize(
    ("ledger_settings", "before", "score"),
    [
        ("postgresql", S, 0.1),
        ("sqlite", S, 0.1),
        ("sqlite", S, math.nan),
        ("sqlite", S, 0.9),
        ("sqlite", X, 0.1),
        ("sqlite", X, math.nan),
        ("sqlite", N, 0.1),
    ],
    indirect=["ledger_settings"],
)
def test_what_is_no_more_reason_to_look_changes_nothing_that_shows(
    again: Again, engine: Engine, before: Outcome, score: float
) -> None:
    study = again.judged(before)
    shown = everything_shown(engine)
    again.predict = always(score)
    again.promoted()
    assert again.run() == 1
    assert everything_shown(engine) == shown
    former, new = again.predictions(study)
    assert (former.beside, new.beside) == (False, True)
    assert new.model_version_id == again.champion
    assert (new.score is None) is math.isnan(score)
    assert states(again) == [(RescoringState.DONE, None)]


@sqlite
@pytest.mark.parametrize(
    ("before", "score", "after", "flags"),
    [
        (N, math.nan, X, [FlagKind.NO_RESULT]),
        (N, 1.5, X, [FlagKind.NO_RESULT]),
        (X, 0.9, S, [FlagKind.SUSPECTED, FlagKind.NO_RESULT]),
        # in the band: no other outcome, and yet a reason to look
        (N, 0.47, N, [FlagKind.UNCERTAIN]),
    ],
)
def test_more_reason_to_look_opens_a_revision_and_no_flag_goes(
    again: Again, before: Outcome, score: float, after: Outcome, flags: list[FlagKind]
) -> None:
    study = again.judged(before)
    again.predict = always(score)
    again.promoted()
    again.run()
    assert again.settle() == 1
    assert again.revisions(study) == [(1, before), (2, after)]
    assert [kind for kind, _ in again.flags(study)] == flags
    assert again.shown(study, flagged=True).outcome is after
    (image,) = [prediction for prediction in again.predictions(study) if not prediction.beside][1:]
    assert image.outcome is after


@sqlite
def test_a_study_that_is_still_open_keeps_its_revision(again: Again) -> None:
    study = again.judged(N, settled=False)
    again.promoted()
    again.run()
    assert (again.study(study).revision, again.study(study).outcome) == (1, S)
    assert again.settle() == 1
    assert again.revisions(study) == [(1, S)]


@sqlite
def test_a_model_that_comes_back_says_nothing_twice(again: Again, engine: Engine) -> None:
    study = again.judged(N)
    again.promoted()
    again.run()
    again.settle()
    shown = everything_shown(engine)
    with again.sessions.begin() as session:
        promoted(session, again.former, 2)
        assert queue(session, again.former, 30) == 0
    with again.sessions.begin() as session:
        promoted(session, again.champion, 3)
        assert queue(session, again.champion, 30) == 0
    assert again.run() == 0
    assert everything_shown(engine) == shown
    # the rolled back model's verdict of the newer one stays until somebody has looked
    assert again.shown(study).outcome is S


def while_scoring(again: Again, change: Callable[[Session], None], score: float = 0.9) -> None:
    """Let something happen to the ledger between claim and record, once."""
    changes = [change]

    def predict(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        if changes:
            with again.sessions.begin() as session, rows_in(session):
                changes.pop()(session)
        return np.full(len(inputs), score, np.float32)

    again.predict = predict


def test_a_study_that_is_reviewed_meanwhile_is_left_alone(again: Again, engine: Engine) -> None:
    study = again.judged(N)

    def review(session: Session) -> None:
        revision = session.scalars(select(StudyRevision).where(StudyRevision.study_id == study)).one()
        VerdictFactory(study_revision=revision)

    while_scoring(again, review)
    again.promoted()
    shown = everything_shown(engine)
    again.run()
    assert everything_shown(engine) == shown
    assert len(again.predictions(study)) == 1
    assert states(again) == [(RescoringState.SKIPPED, Unscored.REVIEWED)]


@sqlite
def test_an_image_that_changes_meanwhile_is_looked_at_again(again: Again) -> None:
    study = again.judged(N)

    def revise(session: Session) -> None:
        session.scalars(select(Image)).one().revision = 2

    while_scoring(again, revise)
    again.promoted()
    again.run()
    assert [(row.state, row.attempts) for row in again.rows()] == [(RescoringState.WAITING, 0)]
    assert again.study(study).outcome is N
    _lease_over(again)
    again.run()
    assert states(again) == [(RescoringState.DONE, None)]
    assert again.predictions(study)[-1].image_revision == 2


@sqlite
def test_a_model_that_is_replaced_meanwhile_says_nothing_more(again: Again, engine: Engine) -> None:
    studies = [again.judged(N) for _ in range(12)]
    while_scoring(again, lambda session: promoted(session, again.former, 2))
    again.promoted()
    shown = everything_shown(engine)
    again.run()
    assert everything_shown(engine) == shown
    assert set(states(again)) == {(RescoringState.SKIPPED, Unscored.SUPERSEDED)}
    assert [len(again.predictions(study)) for study in studies] == [1] * 12


def test_a_study_to_be_read_blind_stays_blind_whatever_is_said(again: Again) -> None:
    """Its list row tells no more of a study that was raised than of one that was not."""
    raised, not_raised = (again.judged(N, FlagKind.AUDIT) for _ in range(2))
    flagged = again.judged(S, FlagKind.AUDIT)
    first = _input(again, raised)
    again.predict = lambda inputs: np.array([0.9 if np.array_equal(one, first) else 0.1 for one in inputs], np.float32)
    again.promoted()
    assert again.run() == 3
    assert again.settle() == 3
    assert [again.study(study).outcome for study in (raised, not_raised, flagged)] == [S, N, S]
    for study in (raised, not_raised, flagged):
        row = again.shown(study, flagged=True)
        hidden = (row.outcome, row.reason, row.probability, row.threshold, row.score, row.model_version)
        assert hidden == (None,) * 6
        assert (row.flags, row.annotations, row.revision) == (("AUDIT",), (), 2)


def _input(again: Again, study: int) -> NDArray[np.float32]:
    with again.sessions() as session:
        digest = session.scalars(select(Image.master_digest).where(Image.study_id == study)).one()
    assert digest is not None
    return again.serving.spec.apply(load_master(again.settings.masters, digest))


@sqlite
def test_an_image_whose_pixels_are_gone_is_skipped_and_its_neighbours_are_not(again: Again) -> None:
    lost, kept = again.judged(N), again.judged(N)
    with again.sessions() as session:
        digest = session.scalars(select(Image.master_digest).where(Image.study_id == lost)).one()
    assert digest is not None
    master_path(again.settings.masters, digest).unlink()
    again.promoted()
    again.run()
    assert [again.study(study).outcome for study in (lost, kept)] == [N, S]
    assert sorted(states(again), key=str) == [
        (RescoringState.DONE, None),
        (RescoringState.SKIPPED, Unscored.PIXELS_GONE),
    ]


@sqlite
def test_a_host_that_sees_no_masters_skips_nothing_charges_nothing_and_says_so(again: Again) -> None:
    study = again.judged(N)
    again.promoted()
    masters = again.settings.masters
    masters.rename(masters.with_name("elsewhere"))
    again.run()
    assert "mount it" in (again.rescorer.problem or "")
    assert [(row.state, row.attempts, row.token) for row in again.rows()] == [(RescoringState.WAITING, 0, None)]
    # it rests
    assert again.rescorer.run_batch(again.serving, lambda: None) == 0
    masters.with_name("elsewhere").rename(masters)
    again.run()
    assert again.rescorer.problem is None
    assert again.study(study).outcome is S


def _lease_over(again: Again) -> None:
    with again.sessions.begin() as session:
        session.execute(update(Rescoring).values(lease_until=ago(1)))


@sqlite
def test_an_image_that_the_model_fails_on_is_given_up_and_keeps_its_result(again: Again, engine: Engine) -> None:
    again.judged(N)
    shown = everything_shown(engine)
    again.predict = broken
    again.promoted()
    for _ in range(again.settings.maximum_attempts):
        assert again.run() == 1
        _lease_over(again)
    assert again.run() == 1
    assert states(again) == [(RescoringState.SKIPPED, Unscored.GAVE_UP)]
    assert again.rows()[0].attempts == again.settings.maximum_attempts + 1
    assert everything_shown(engine) == shown


@sqlite
def test_one_bad_input_does_not_fail_its_neighbours(again: Again) -> None:
    studies = [again.judged(N) for _ in range(5)]
    poison = _input(again, studies[2])

    def predict(inputs: NDArray[np.float32]) -> Any:
        if any(np.array_equal(one, poison) for one in inputs):
            raise RuntimeError
        return np.full(len(inputs), 0.9, np.float32)

    again.predict = predict
    again.promoted()
    again.run()
    assert [again.study(study).outcome for study in studies] == [S, S, N, S, S]


@sqlite
def test_status_says_how_many_wait(again: Again) -> None:
    for _ in range(3):
        again.judged(N)
    again.promoted()
    with again.sessions() as session:
        assert status(session).rescoring == 3
    again.run()
    with again.sessions() as session:
        assert status(session).rescoring == 0


# SQLite has one writer at a time
@pytest.mark.parametrize("ledger_settings", ["postgresql"], indirect=True)
def test_workers_at_once_give_each_image_one_result(again: Again) -> None:
    studies = [again.judged(N) for _ in range(10)]
    again.promoted()

    def work(_: int) -> int:
        rescorer = Rescorer(again.settings, again.sessions, again.clock)
        taken = 0
        while batch := rescorer.run_batch(again.serving, lambda: None):
            taken += batch
        return taken

    with ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(work, range(3))) == 10
    assert set(states(again)) == {(RescoringState.DONE, None)}
    assert [len(again.predictions(study)) for study in studies] == [2] * 10
    assert [again.flags(study) for study in studies] == [[(FlagKind.SUSPECTED, 2)]] * 10


@sqlite
def test_a_late_holder_writes_nothing(again: Again) -> None:
    """Paused past its lease while another worker scored the image."""
    study = again.judged(N)

    def taken_over(session: Session) -> None:
        session.execute(update(Rescoring).values(token=Rescoring.token + "x"))

    while_scoring(again, taken_over)
    again.promoted()
    again.run()
    assert (again.study(study).outcome, again.study(study).revision) == (N, 1)
    assert len(again.predictions(study)) == 1
    assert states(again) == [(RescoringState.WAITING, None)]
    with again.sessions() as session:
        assert session.get_one(Study, study).settled_at is not None
