"""What a flag keeps of verdicts is what the verdicts say, whatever happened in whichever order."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session, aliased

from db.answering import UNANSWERED, note_answers, waits
from db.base import make_sessions
from db.models.flag import Flag
from db.models.study import Study, StudyRevision
from db.settling import reopen, settle
from db.verdicts import NewVerdict, named, record
from db.vocabulary import FLAG_PRIORITY, FlagKind, VerdictKind, VerdictOrigin
from db.worklist import places
from tests.factories.rows import FlagFactory, StudyFactory, StudyRevisionFactory, ago, rows_in
from worker.decide import RaisedFlag
from worker.flags import raise_flag

KINDS = (FlagKind.SUSPECTED, FlagKind.CONFLICT)


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with make_sessions(engine).begin() as session, rows_in(session):
        yield session


def _verdict(revision: StudyRevision, kind: VerdictKind, reader: str, seconds_ago: float) -> NewVerdict:
    origin = VerdictOrigin.COMMAND
    return NewVerdict(revision.id, reader, ago(seconds_ago), kind, True, None, origin, "root")


def _raise(session: Session, study: Study, kind: FlagKind) -> None:
    raise_flag(session, study, None, RaisedFlag(kind, None))
    session.flush()


def _settle(session: Session, study: Study) -> StudyRevision:
    study.settled_at = ago(20)
    session.flush()
    revision: StudyRevision = StudyRevisionFactory(study=study, revision=study.revision)
    return revision


@pytest.mark.parametrize("seed", range(3))
def test_flags_wait_unless_a_verdict_answers_them(session: Session, seed: int) -> None:
    chance = random.Random(seed)
    studies: list[Study] = [StudyFactory() for _ in range(12)]
    present: dict[int, StudyRevision] = {}
    seen = set()
    for _ in range(150):
        study = chance.choice(studies)
        match chance.randrange(4):
            case 0:
                _raise(session, study, chance.choice(KINDS))
            case 1 if study.settled_at is None:
                present[study.id] = _settle(session, study)
            case 2 if study.settled_at is not None:
                assert reopen(session, study)
            case _ if study.id in present:
                kind = chance.choice([VerdictKind.INDETERMINATE, VerdictKind.PNEUMONIA])
                new = _verdict(present[study.id], kind, chance.choice("ab"), chance.choice([0, 5, 1000]))
                record(session, [new])
        flag = aliased(Flag, name="f")
        said = set(session.scalars(select(flag.id).where(flag.cleared_at.is_(None), text(UNANSWERED))))
        assert set(session.scalars(select(Flag.id).where(waits()))) == said
        seen.add((bool(said), len(session.scalars(select(Flag.id)).all()) > len(said)))
    # some waited while others were answered
    assert (True, True) in seen


def test_a_second_conflict_is_not_answered_by_who_read_before_it(session: Session) -> None:
    study: Study = StudyFactory()
    FlagFactory(study=study, kind=FlagKind.CONFLICT, raised_at=ago(100))
    revision = _settle(session, study)
    # it comes after the reading, which is entered after it
    _raise(session, study, FlagKind.CONFLICT)
    record(session, [_verdict(revision, VerdictKind.NO_PNEUMONIA, "a", 50)])
    assert [place.study_id for place in places(session)] == [study.id]


def test_what_was_read_before_a_revision_was_whole_does_not_answer_it(session: Session) -> None:
    study: Study = StudyFactory(accession_number="A1")
    FlagFactory(study=study, raised_at=ago(3000))
    first = StudyRevisionFactory(study=study, settled_at=ago(2000))
    study.settled_at = ago(2000)
    assert reopen(session, study)
    second = StudyRevisionFactory(study=study, settled_at=ago(500))
    # by hand, and as a table says it
    assert named(session, "A1", read_at=ago(1000)).revision_id == first.id
    # clocks differ by some minutes
    assert named(session, "A1", read_at=ago(450)).revision_id == first.id
    assert named(session, "A1", read_at=ago(100)).revision_id == second.id
    assert named(session, "A1").revision_id == second.id
    record(session, [_verdict(second, VerdictKind.NO_PNEUMONIA, "a", 1000)])
    assert [place.study_id for place in places(session)] == [study.id]
    record(session, [_verdict(second, VerdictKind.NO_PNEUMONIA, "a", 100)])
    assert places(session) == []


def test_a_clock_ahead_answers_nothing_that_came_after_it_was_entered(session: Session) -> None:
    study: Study = StudyFactory()
    revision = _settle(session, study)
    record(session, [_verdict(revision, VerdictKind.NO_PNEUMONIA, "a", -240)])
    _raise(session, study, FlagKind.CONFLICT)
    note_answers(session, [study.id])
    assert [place.study_id for place in places(session)] == [study.id]


def test_what_an_older_worker_reopened_waits_from_when_it_settles(session: Session) -> None:
    study: Study = StudyFactory(last_received_at=ago(1000))
    FlagFactory(study=study)
    revision = _settle(session, study)
    record(session, [_verdict(revision, VerdictKind.NO_PNEUMONIA, "a", 0)])
    assert places(session) == []
    study.revision, study.settled_at = 2, None
    session.flush()
    assert settle(session, study.id, 60) is not None
    assert [place.study_id for place in places(session)] == [study.id]


def test_what_is_raised_again_after_it_was_read_waits_again(session: Session) -> None:
    study: Study = StudyFactory()
    FlagFactory(study=study, kind=FlagKind.CONFLICT, priority=FLAG_PRIORITY[FlagKind.CONFLICT], raised_at=ago(100))
    revision = _settle(session, study)
    record(session, [_verdict(revision, VerdictKind.NO_PNEUMONIA, "a", 10)])
    flag = session.scalars(select(Flag)).one()
    assert flag.answered_at is not None
    _raise(session, study, FlagKind.CONFLICT)
    session.refresh(flag)
    assert flag.answered_at is None
    assert flag.raised_at > ago(0) - timedelta(seconds=60)
    # what was said before does not answer it, what is said now does
    record(session, [_verdict(revision, VerdictKind.PNEUMONIA, "b", 5)])
    session.refresh(flag)
    assert flag.answered_at is None
    record(session, [_verdict(revision, VerdictKind.PNEUMONIA, "b", -1)])
    session.refresh(flag)
    assert flag.answered_at is not None
