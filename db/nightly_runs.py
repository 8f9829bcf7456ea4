"""Runs of the nightly job: the night claimed by its row, held by a lease, and lost with it.

Whoever inserts a night's row holds it. A holder that died is followed, once
its lease has ended by the database's clock, by the next who asks; each claim
has a token of its own. Every write of a holder is conditional on token and
lease, in the transaction of what it writes, so one that was stopped past its
lease and goes on writes nothing more: no result, no promotion (promise 11).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, case, exists, or_, select, update
from sqlalchemy.orm import Session

from core.errors import LungwatchError
from db.base import database_now
from db.inserting import insert
from db.models.learning import NightlyRun
from db.models.model import ChampionChange
from db.vocabulary import NightState, NightStep

# what the gate says of a challenger that it lets through
_PROMOTE: Final = "PROMOTE"


class NightLost(LungwatchError):
    """The lease ended, or somebody else holds the night now: stop, and write nothing."""


@dataclass(frozen=True, slots=True)
class Held:
    """A night that is ours for now.

    Attributes
    ----------
    attempt : int
        Counts the claims, from 1.
    seconds : float
        Since the first claim, by the database's clock.
    """

    run_id: int
    night: date
    token: str
    attempt: int
    seconds: float


def claim(session: Session, night: date, lease_seconds: float, *, again: bool = False) -> Held | None:
    """Take a night; commit before working.

    Parameters
    ----------
    again : bool
        One that has failed as well, because somebody has put right what it failed of. What it has on record stays, but
        where it has learnt nothing yet it is planned anew.

    Returns
    -------
    Held or None
        None if somebody holds it or it has ended.
    """
    token = secrets.token_hex(16)
    lease = database_now(lease_seconds)
    made = session.execute(
        insert(session, NightlyRun)
        .values(
            night=night,
            state=NightState.RUNNING,
            step=NightStep.SNAPSHOT,
            token=token,
            attempts=1,
            lease_until=lease,
            started_at=database_now(),
        )
        .on_conflict_do_nothing()
        .returning(NightlyRun.id)
    ).scalar()
    if made is None:
        made = session.execute(
            update(NightlyRun)
            .where(
                NightlyRun.night == night,
                NightlyRun.state == NightState.RUNNING,
                NightlyRun.lease_until < database_now(),
            )
            .values(token=token, attempts=NightlyRun.attempts + 1, lease_until=lease)
            .returning(NightlyRun.id)
            .execution_options(synchronize_session=False)
        ).scalar()
    if made is None and again:
        made = session.execute(
            update(NightlyRun)
            .where(NightlyRun.night == night, NightlyRun.state == NightState.FAILED)
            .values(
                state=NightState.RUNNING,
                finished_at=None,
                token=token,
                attempts=1,
                started_at=database_now(),
                lease_until=lease,
                # a snapshot that nothing was learnt from may be what was wrong
                snapshot_id=case((NightlyRun.challenger_id.is_(None), None), else_=NightlyRun.snapshot_id),
            )
            .returning(NightlyRun.id)
            .execution_options(synchronize_session=False)
        ).scalar()
    if made is None:
        return None
    row = session.execute(
        select(NightlyRun.attempts, NightlyRun.started_at, database_now()).where(NightlyRun.id == made)
    ).one()
    return Held(made, night, token, row[0], (row[2] - row[1]).total_seconds())


def renew(session: Session, held: Held, lease_seconds: float) -> None:
    """Prolong the lease, also one that has ended while nobody else took the night: a ledger may be away for long.

    Raises
    ------
    NightLost
        If somebody else holds the night, or it has ended.
    """
    _write(session, held, NightlyRun.token == held.token, lease_until=database_now(lease_seconds))


def note(session: Session, held: Held, **values: Any) -> None:
    """Write columns of the night, holding its row until the transaction ends.

    What else the caller writes in the transaction stands or falls with it.

    Raises
    ------
    NightLost
        If the lease has ended, or somebody else holds the night; roll back.
    """
    ours = and_(NightlyRun.token == held.token, NightlyRun.lease_until >= database_now())
    _write(session, held, ours, **values)


def _write(session: Session, held: Held, ours: ColumnElement[bool], **values: Any) -> None:
    row = session.execute(
        update(NightlyRun)
        .where(NightlyRun.id == held.run_id, NightlyRun.state == NightState.RUNNING, ours)
        .values(**values)
        .returning(NightlyRun.id)
        .execution_options(synchronize_session=False)
    ).first()
    if row is None:
        message = f"the night of {held.night} is held by somebody else now, or its lease has ended; nothing was written"
        raise NightLost(message)


def finish(session: Session, held: Held, state: NightState, reason: str) -> None:
    """End the night.

    Raises
    ------
    NightLost
        As `renew`.
    """
    note(session, held, state=state, reason=reason[:2000], progress=None, finished_at=database_now())


def give_back(session: Session, held: Held, *, counted: bool) -> None:
    """Let the next one go on at once.

    Parameters
    ----------
    counted : bool
        Whether the start counts: not where somebody asked us to stop.

    Raises
    ------
    NightLost
        As `renew`.
    """
    attempts = NightlyRun.attempts if counted else NightlyRun.attempts - 1
    note(session, held, lease_until=database_now(), attempts=attempts, progress=None)


def end_abandoned(session: Session, before: date) -> int:
    """End the nights before one that nobody is at any more, and return how many.

    One that changed the champion has promoted, one that was fitting goes on the next night, the others have failed.
    """
    swapped = exists().where(ChampionChange.nightly_run_id == NightlyRun.id)
    fitting = and_(NightlyRun.work.is_not(None), NightlyRun.challenger_id.is_(None))
    ended = session.execute(
        update(NightlyRun)
        .where(
            NightlyRun.night < before,
            NightlyRun.state == NightState.RUNNING,
            NightlyRun.lease_until < database_now(),
        )
        .values(
            state=case(
                (swapped, NightState.PROMOTED.value),
                (fitting, NightState.CONTINUES.value),
                else_=NightState.FAILED.value,
            ),
            reason="it was broken off, and its hours were over before it was started again",
            progress=None,
            finished_at=database_now(),
        )
        .returning(NightlyRun.id)
        .execution_options(synchronize_session=False)
    ).all()
    return len(ended)


def get(session: Session, run_id: int) -> NightlyRun:
    """Return a run."""
    return session.get_one(NightlyRun, run_id)


def of_night(session: Session, night: date) -> NightlyRun | None:
    """Return the run of a night."""
    return session.scalars(select(NightlyRun).where(NightlyRun.night == night)).first()


def newest(session: Session, limit: int) -> list[NightlyRun]:
    """Return runs, the newest night first."""
    return list(session.scalars(select(NightlyRun).order_by(NightlyRun.night.desc()).limit(limit)))


def last_learnt(session: Session, before: date) -> NightlyRun | None:
    """Return the last run before a night whose challenger was decided about: what it learnt from is no longer new.

    Not one that was never examined, and not one that the gate would have promoted had something else not stood against
    it: what they learnt may still come into service.
    """
    query = (
        select(NightlyRun)
        .where(NightlyRun.night < before, NightlyRun.challenger_id.is_not(None), NightlyRun.decision.is_not(None))
        .order_by(NightlyRun.night.desc())
    )
    for run in session.scalars(query):
        wanted = (run.decision or {}).get("verdict") == _PROMOTE
        if not wanted or run.state in {NightState.PROMOTED, NightState.SHADOWED}:
            return run
    return None


def last_decided(session: Session, before: date) -> NightlyRun | None:
    """Return the last run before a night that the gate decided: its decision carries what the nights have spent."""
    query = select(NightlyRun).where(NightlyRun.night < before, NightlyRun.decision.is_not(None))
    return session.scalars(query.order_by(NightlyRun.night.desc()).limit(1)).first()


def unfinished_fit(session: Session, before: date, since: date) -> NightlyRun | None:
    """Return the last run before a night, if it ran out of time while fitting and is not of a night before `since`."""
    query = select(NightlyRun).where(NightlyRun.night < before, NightlyRun.night >= since)
    found = session.scalars(query.order_by(NightlyRun.night.desc()).limit(1)).first()
    return found if found is not None and found.state is NightState.CONTINUES else None


def in_shadow(session: Session, before: date) -> NightlyRun | None:
    """Return the run whose challenger scores in the shadow: the last one, unless a night since has ended that.

    While one is in the shadow nights only examine; a night that keeps or
    promotes has then decided about it.
    """
    decided = (NightState.SHADOWED, NightState.PROMOTED, NightState.KEPT)
    query = select(NightlyRun).where(NightlyRun.night < before, NightlyRun.state.in_(decided))
    found = session.scalars(query.order_by(NightlyRun.night.desc()).limit(1)).first()
    return found if found is not None and found.state is NightState.SHADOWED else None


def is_held(session: Session, run_id: int) -> bool:
    """Whether somebody is at a night now."""
    query = select(NightlyRun.id).where(
        NightlyRun.id == run_id, NightlyRun.state == NightState.RUNNING, NightlyRun.lease_until >= database_now()
    )
    return session.scalar(query) is not None


def is_over(session: Session, night: date) -> bool:
    """Whether nothing is left to do of a night, or somebody is at it."""
    query = select(NightlyRun.id).where(
        NightlyRun.night == night,
        or_(NightlyRun.state != NightState.RUNNING, NightlyRun.lease_until >= database_now()),
    )
    return session.scalar(query) is not None
