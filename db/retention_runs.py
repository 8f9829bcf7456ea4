"""The timed run of retention: one a day, claimed by inserting its row; a second one finds it taken.

Where its holder died, the next to come takes the run over once the lease has
ended, by the database's clock. A holder that was paused and goes on does no
harm: whatever it removes was decided anew under the study's lock.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from db.base import database_now
from db.inserting import insert
from db.models.retention import RetentionRun


@dataclass(frozen=True, slots=True)
class Removed:
    """What a run removed.

    Attributes
    ----------
    stored_files, masters : int
        Files.
    stored_bytes, master_bytes : int
        Their size on disk.
    """

    stored_files: int = 0
    stored_bytes: int = 0
    masters: int = 0
    master_bytes: int = 0

    def __add__(self, other: Removed) -> Removed:
        return Removed(
            self.stored_files + other.stored_files,
            self.stored_bytes + other.stored_bytes,
            self.masters + other.masters,
            self.master_bytes + other.master_bytes,
        )


def claim(session: Session, lease_seconds: float) -> str | None:
    """Take today's run; commit before working.

    Returns
    -------
    str or None
        The token; None if somebody has it or has done it.
    """
    token = secrets.token_hex(16)
    today = session.scalars(select(database_now())).one().date()
    holding = {"token": token, "lease_until": database_now(lease_seconds), "started_at": database_now()}
    inserted = insert(session, RetentionRun).values(due_on=today, **holding)
    if session.execute(inserted.on_conflict_do_nothing().returning(RetentionRun.id)).first() is not None:
        return token
    over = session.execute(
        update(RetentionRun)
        .where(
            RetentionRun.due_on == today,
            RetentionRun.finished_at.is_(None),
            RetentionRun.lease_until < database_now(),
        )
        .values(**holding)
        .returning(RetentionRun.id)
        .execution_options(synchronize_session=False)
    ).first()
    return None if over is None else token


def renew(session: Session, token: str, lease_seconds: float) -> bool:
    """Prolong the lease; False if somebody else has the run now."""
    return _write(session, token, lease_until=database_now(lease_seconds))


def finish(session: Session, token: str, removed: Removed) -> bool:
    """Note what the run removed; False if somebody else has the run now."""
    return _write(
        session,
        token,
        finished_at=database_now(),
        stored_files=removed.stored_files,
        stored_bytes=removed.stored_bytes,
        masters=removed.masters,
        master_bytes=removed.master_bytes,
    )


def _write(session: Session, token: str, **values: object) -> bool:
    row = session.execute(
        update(RetentionRun)
        .where(RetentionRun.token == token, RetentionRun.finished_at.is_(None))
        .values(**values)
        .returning(RetentionRun.id)
        .execution_options(synchronize_session=False)
    ).first()
    return row is not None
