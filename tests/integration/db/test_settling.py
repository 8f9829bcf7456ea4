from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from db.claims import claim, finish
from db.heartbeats import Pulse, beat, stop
from db.models.flag import Flag
from db.models.receipt import Receipt
from db.models.study import Study, StudyRevision
from db.receipts import register
from db.settling import due, known_until, reopen, settle
from db.studies import lock_study
from db.vocabulary import FlagKind, Outcome, ProcessKind, ReceiptState
from tests.factories.rows import (
    FlagFactory,
    HeartbeatFactory,
    ImageFactory,
    ReceiptFactory,
    StudyFactory,
    ago,
    named_study,
    new_receipts,
    rows_in,
)

Sessions = sessionmaker[Session]
QUIET = 60.0


def _quiet_study(sessions: Sessions, outcome: Outcome = Outcome.NOT_SUSPECTED, age: float = 300) -> int:
    with sessions.begin() as session, rows_in(session):
        study = StudyFactory(first_received_at=ago(age))
        ImageFactory(study=study, outcome=outcome)
        return study.id


def _due(sessions: Sessions) -> list[int]:
    with sessions() as session:
        return due(session, QUIET, 10)


def _settle(sessions: Sessions, study_id: int) -> StudyRevision | None:
    with sessions.begin() as session:
        return settle(session, study_id, QUIET)


def test_a_quiet_study_settles_once(sessions: Sessions) -> None:
    study = _quiet_study(sessions)
    assert _due(sessions) == [study]
    revision = _settle(sessions, study)
    assert revision is not None
    assert (revision.revision, revision.outcome, revision.images) == (1, Outcome.NOT_SUSPECTED, 1)
    assert _due(sessions) == []
    assert _settle(sessions, study) is None
    with sessions() as session:
        assert session.get_one(Study, study).settled_at == revision.settled_at


def test_it_waits_for_quiet(sessions: Sessions) -> None:
    study = _quiet_study(sessions, age=30)
    assert _due(sessions) == []
    assert _settle(sessions, study) is None


def test_it_waits_for_its_own_images(sessions: Sessions) -> None:
    study = _quiet_study(sessions, Outcome.PENDING)
    assert _due(sessions) == []
    assert _settle(sessions, study) is None


def test_it_waits_for_receipts_of_unknown_study_that_came_before_its_quiet_ended(sessions: Sessions) -> None:
    study = _quiet_study(sessions, age=300)
    with sessions.begin() as session, rows_in(session):
        receipt = ReceiptFactory(received_at=ago(300 - QUIET + 10))
    assert _due(sessions) == []
    assert _settle(sessions, study) is None
    with sessions.begin() as session:
        session.get_one(Receipt, receipt.id).received_at = ago(300 - QUIET - 10)
    assert _due(sessions) == [study]


def test_a_receipt_put_back_holds_up_its_own_study_alone(sessions: Sessions) -> None:
    mine, other = _quiet_study(sessions), _quiet_study(sessions)
    with sessions.begin() as session, rows_in(session):
        ReceiptFactory(study_id=mine, received_at=ago(400))
    assert _due(sessions) == [other]


def test_it_waits_for_every_live_registrars_horizon(sessions: Sessions) -> None:
    study = _quiet_study(sessions, age=300)
    with sessions.begin() as session, rows_in(session):
        HeartbeatFactory(listener="one", horizon=ago(1))
        slow = HeartbeatFactory(listener="two", horizon=ago(290))
    assert _due(sessions) == []
    with sessions.begin() as session:
        stop(session, slow.process)
    assert _due(sessions) == [study]


def test_a_registrar_that_has_not_listed_yet_holds_everything_up(sessions: Sessions) -> None:
    study = _quiet_study(sessions)
    pulse = Pulse("p", ProcessKind.REGISTRAR, "h", 1, ago(1), listener="listener")
    with sessions.begin() as session:
        beat(session, pulse)
        assert known_until(session) is None
    assert _due(sessions) == []
    assert _settle(sessions, study) is None


def test_a_killed_registrar_is_superseded_by_its_listeners_next(sessions: Sessions) -> None:
    study = _quiet_study(sessions)
    with sessions.begin() as session, rows_in(session):
        HeartbeatFactory(listener="one", horizon=ago(1000))
    assert _due(sessions) == []
    with sessions.begin() as session, rows_in(session):
        HeartbeatFactory(listener="one", horizon=ago(0))
    assert _due(sessions) == [study]


def test_two_settlers_write_one_revision(sessions: Sessions) -> None:
    study = _quiet_study(sessions)
    start = threading.Barrier(4)

    def work() -> bool:
        start.wait()
        return _settle(sessions, study) is not None

    with ThreadPoolExecutor(4) as pool:
        assert sum(future.result() for future in [pool.submit(work) for _ in range(4)]) <= 1
    _settle(sessions, study)
    with sessions() as session:
        assert len(session.scalars(select(StudyRevision)).all()) == 1


def test_a_late_image_opens_the_next_revision(sessions: Sessions) -> None:
    study_id = _quiet_study(sessions)
    _settle(sessions, study_id)
    with sessions.begin() as session, rows_in(session):
        study = lock_study(session, study_id)
        ImageFactory(study=study, outcome=Outcome.SUSPECTED)
        assert reopen(session, study)
        assert not reopen(session, study)
    revision = _settle(sessions, study_id)
    assert revision is not None
    assert (revision.revision, revision.outcome, revision.images) == (2, Outcome.SUSPECTED, 2)


@pytest.mark.parametrize("outcome", [Outcome.SUSPECTED, Outcome.NO_RESULT])
def test_what_must_be_seen_never_settles_unflagged(sessions: Sessions, outcome: Outcome) -> None:
    study_id = _quiet_study(sessions, outcome)
    _settle(sessions, study_id)
    with sessions.begin() as session:
        (flag,) = session.scalars(select(Flag))
        assert (flag.kind.value, flag.study_revision) == (outcome.value, 1)
        flag.cleared_at = ago(0)  # a reader has seen it
        reopen(session, lock_study(session, study_id))
    _settle(sessions, study_id)
    with sessions() as session:
        assert [flag.study_revision for flag in session.scalars(select(Flag).order_by(Flag.id))] == [1, 2]


def test_a_standing_flag_is_not_doubled(sessions: Sessions) -> None:
    study_id = _quiet_study(sessions, Outcome.SUSPECTED)
    with sessions.begin() as session, rows_in(session):
        FlagFactory(study=session.get_one(Study, study_id), kind=FlagKind.SUSPECTED)
    _settle(sessions, study_id)
    with sessions() as session:
        assert len(session.scalars(select(Flag)).all()) == 1


def test_settling_never_overtakes_a_worker_that_is_about_to_add_an_image(sessions: Sessions) -> None:
    """The receipt leaves PENDING in the transaction that locks the study, so a settler sees one or the other."""
    study_id = _quiet_study(sessions)
    with sessions() as session:
        study_uid = session.get_one(Study, study_id).study_uid
    with sessions.begin() as session:
        register(session, new_receipts(1, received_at=ago(290)), 900)
        (held,) = claim(session, 1, 60)
    with sessions() as reader:
        assert due(reader, QUIET, 10) == []
    with sessions.begin() as session:
        study = named_study(session, study_uid, held.received_at)
        finish(session, held, ReceiptState.OUT_OF_SCOPE, "VIEW", study_id=study.id)
    revision = _settle(sessions, study_id)
    assert revision is not None
