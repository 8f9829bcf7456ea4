"""Settling: when everything a study has to show is in, its revision is closed; a late image opens the next.

A study settles when it has been quiet for some time and nothing received
before the end of that time is still unknown: every receipt that old is
registered (the registrars' horizons say so) and has been read.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from db.answering import note_answers
from db.base import database_now
from db.inserting import insert
from db.models.flag import Flag
from db.models.model import Heartbeat
from db.models.receipt import Receipt
from db.models.study import Image, Study, StudyRevision
from db.studies import recompute_outcome
from db.vocabulary import FLAG_PRIORITY, FlagKind, Outcome, ProcessKind, ReceiptState

# A registrar that lives beats every second, one that died is brought back within half a minute, and a database may be
# away for a while: one that was not heard of for so long will not come back by itself.
SILENT_SECONDS: Final = 300.0

# an outcome that must never stand without its flag
_MUST_BE_FLAGGED = {Outcome.SUSPECTED: FlagKind.SUSPECTED, Outcome.NO_RESULT: FlagKind.NO_RESULT}


def in_charge() -> ColumnElement[bool]:
    """Select the heartbeats of registrars whose horizon settling waits for.

    One that stopped in good order holds nothing up. One that was killed does,
    because files may lie in its spool: until its listener's next one runs, or
    a worker finds that nothing waits there (`stand_down`).
    """
    newer = aliased(Heartbeat)
    superseded = (
        select(newer.id)
        .where(newer.kind == ProcessKind.REGISTRAR, newer.listener == Heartbeat.listener, newer.id > Heartbeat.id)
        .exists()
    )
    return and_(Heartbeat.kind == ProcessKind.REGISTRAR, Heartbeat.stopped_at.is_(None), ~superseded)


def silent_registrars(session: Session) -> dict[str, str]:
    """Return processes in charge of a spool that fell silent, with their listeners."""
    rows = session.execute(
        select(Heartbeat.process, Heartbeat.listener).where(
            in_charge(), Heartbeat.listener.is_not(None), Heartbeat.seen_at < database_now(-SILENT_SECONDS)
        )
    )
    return {row.process: row.listener for row in rows}


def stand_down(session: Session, process: str) -> bool:
    """Let a silent registrar hold up no settling; call after its spool was seen to hold nothing unregistered.

    Returns
    -------
    bool
        False if it has been heard of meanwhile. One that is heard of later is in charge again.
    """
    row = session.execute(
        update(Heartbeat)
        .where(
            Heartbeat.process == process,
            Heartbeat.stopped_at.is_(None),
            Heartbeat.seen_at < database_now(-SILENT_SECONDS),
        )
        .values(stopped_at=database_now())
        .returning(Heartbeat.id)
        .execution_options(synchronize_session=False)
    ).first()
    return row is not None


def registered_until(session: Session) -> datetime | None:
    """Return the time before which everything received has been registered, None if there is none.

    It is the earliest of now and the horizon of each registrar `in_charge`.
    """
    horizons = [*session.scalars(select(Heartbeat.horizon).where(in_charge())), session.scalar(select(database_now()))]
    known = [horizon for horizon in horizons if horizon is not None]
    return min(known) if len(known) == len(horizons) else None


def known_until(session: Session) -> datetime | None:
    """Return the time before which everything received has been registered and read, None if there is none.

    It is the earlier of `registered_until` and the oldest receipt whose study is still unknown.
    """
    registered = registered_until(session)
    unread = session.scalar(
        select(func.min(Receipt.received_at)).where(Receipt.state == ReceiptState.PENDING, Receipt.study_id.is_(None))
    )
    if registered is None or unread is None:
        return registered
    return min(registered, unread)


def due(session: Session, quiet_seconds: float, limit: int) -> list[int]:
    """Return studies that may settle now, those quiet for longest first.

    Parameters
    ----------
    session : Session
        Any session.
    quiet_seconds : float
        Time without a new image after which a study is complete.
    limit : int
        At most so many.
    """
    until = known_until(session)
    if until is None:
        return []
    return list(
        session.scalars(
            select(Study.id).where(_ready(until, quiet_seconds)).order_by(Study.last_received_at).limit(limit)
        )
    )


def settle(session: Session, study_id: int, quiet_seconds: float) -> StudyRevision | None:
    """Close the study's present revision, if that is still due.

    Safe from two workers at once: the one that finds the study locked passes
    it over, the one that comes later finds it settled.

    Returns
    -------
    StudyRevision or None
        The revision written; None if it was not due (any more).
    """
    study = session.scalars(
        select(Study)
        .where(Study.id == study_id, Study.settled_at.is_(None))
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    ).first()
    if study is None:
        return None
    # only now: whoever finishes an image of this study must hold its lock, so what is read from here on stays true
    until = known_until(session)
    if until is None or not session.scalar(
        select(func.count()).select_from(Study).where(Study.id == study_id, _ready(until, quiet_seconds))
    ):
        return None
    outcome = recompute_outcome(session, study)
    _ensure_flagged(session, study)
    _place_flags(session, study)
    settled_at = session.scalars(select(database_now())).one()
    revision = StudyRevision(
        study_id=study.id,
        revision=study.revision,
        outcome=outcome,
        settled_at=settled_at,
        images=session.scalars(select(func.count()).select_from(Image).where(Image.study_id == study.id)).one(),
    )
    session.add(revision)
    study.settled_at = settled_at
    # a worker of an older release may have reopened it, and knows nothing of answers
    note_answers(session, [study.id])
    return revision


def reopen(session: Session, study: Study) -> bool:
    """Open the next revision of a settled study, because something of it changed; hold its lock.

    Returns
    -------
    bool
        False if the present revision was still open.
    """
    if study.settled_at is None:
        return False
    study.revision += 1
    study.settled_at = None
    # nobody has read the new one
    note_answers(session, [study.id])
    return True


def _ready(until: datetime, quiet_seconds: float) -> ColumnElement[bool]:
    return and_(
        Study.settled_at.is_(None),
        Study.last_received_at <= until - timedelta(seconds=quiet_seconds),
        ~select(Image.id).where(Image.study_id == Study.id, Image.outcome == Outcome.PENDING).exists(),
        ~select(Receipt.id).where(Receipt.study_id == Study.id, Receipt.state == ReceiptState.PENDING).exists(),
    )


def _ensure_flagged(session: Session, study: Study) -> None:
    """Raise the flag an outcome needs where none stands and none was cleared in this revision (promise 8).

    That is the case in a new revision after a reader cleared the last one's,
    and where an unreadable instance alone made the outcome.
    """
    kind = _MUST_BE_FLAGGED.get(study.outcome)
    if kind is None:
        return
    stands = select(Flag.id).where(
        Flag.study_id == study.id,
        Flag.kind == kind,
        or_(Flag.cleared_at.is_(None), Flag.study_revision == study.revision),
    )
    if session.scalar(stands.limit(1)) is None:
        session.execute(
            insert(session, Flag)
            .values(
                study_id=study.id,
                study_revision=study.revision,
                kind=kind,
                priority=FLAG_PRIORITY[kind],
                raised_at=database_now(),
                received_at=study.first_received_at,
            )
            .on_conflict_do_nothing()
        )


def _place_flags(session: Session, study: Study) -> None:
    """Let open flags stand in the reader's list by the time their study was first received, which may have changed."""
    session.execute(
        update(Flag)
        .where(Flag.study_id == study.id, Flag.cleared_at.is_(None), Flag.received_at != study.first_received_at)
        .values(received_at=study.first_received_at)
        .execution_options(synchronize_session=False)
    )
