"""Claims: a worker takes receipts under a lease, starts them one by one, and finishes each exactly once.

Nothing here asks the broker or a host's clock. A lease ends by the database's
clock; whoever claims after that gets a new token, and every write of the old
holder names the old token and so changes nothing. One that ends farther ahead
than a lease lasts was written before that clock was set back, and counts as over.

Deliveries of one SOP instance through one listener are taken one after another,
because the first of them stays in force (promise 5): whichever is read faster
must not become the first. Other listeners are not waited for: an image that a
PACS has sent to a second one may be stuck in the first.

The same two statements serve both databases: on PostgreSQL the SELECT locks
the rows and skips those others hold, on SQLite the transaction began with
``BEGIN IMMEDIATE`` and is alone.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, case, or_, select, true, tuple_, update
from sqlalchemy.orm import Session, aliased

from core.errors import LungwatchError
from core.spool import Entry
from db.base import database_now
from db.models.receipt import Receipt, ReceiptRetry
from db.vocabulary import ReceiptState, check_move

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

# not one lease: a worker may be set to hold somewhat longer than the one that asks, and clocks step a little
_LEASES_AT_MOST: Final = 2


class LeaseLost(LungwatchError):
    """The lease ended and somebody else may hold the receipt: drop the work, write nothing."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One receipt held under a lease.

    Attributes
    ----------
    receipt_id : int
        The receipt.
    entry : Entry
        Name of its file.
    listener : str
        In whose spool the file lies, unless `stored`.
    size : int
        Bytes of the file.
    attempts : int
        Starts before this claim; at the maximum, quarantine it instead of starting.
    token : str
        What every write under this claim names.
    received_at : datetime
        When the file became durable.
    stored : bool
        The file lies in ``stored/`` already.
    put_back : bool
        A person put the receipt back from quarantine.
    lease_seconds : float
        How long the claim holds after each renewal.
    abandoned : bool
        Whoever held the receipt before never gave it back: a worker that was killed, or cut off.
    """

    receipt_id: int
    entry: Entry
    listener: str
    size: int
    attempts: int
    token: str
    received_at: datetime
    stored: bool
    put_back: bool
    lease_seconds: float
    abandoned: bool = False

    @property
    def sha256(self) -> str:
        """Digest of the file, 64 hexadecimal digits."""
        return self.entry.sha256


def claim(session: Session, limit: int, lease_seconds: float, listeners: Collection[str] | None = None) -> list[Claim]:
    """Take up to `limit` receipts that wait, urgent first, then in order of registration.

    A later delivery of an instance is left alone until the earlier one is disposed of.

    Attempts are not counted here but in `start_attempt`, so that a batch that
    dies charges only the image it was working on. Commit before working.

    Parameters
    ----------
    session : Session
        A session that may write.
    limit : int
        At most so many.
    lease_seconds : float
        How long nobody else may take them.
    listeners : collection of str, optional
        Only what lies in these listeners' spools, or is stored.
    """
    earlier = aliased(Receipt)
    waiting = session.execute(
        select(
            Receipt.id,
            Receipt.entry,
            Receipt.listener,
            Receipt.size,
            Receipt.attempts,
            Receipt.received_at,
            Receipt.stored_at,
            Receipt.lease_token,
            select(ReceiptRetry.id).where(ReceiptRetry.receipt_id == Receipt.id).exists().label("put_back"),
        )
        .where(
            Receipt.state == ReceiptState.PENDING,
            or_(
                Receipt.lease_until.is_(None),
                Receipt.lease_until < database_now(),
                # longer than any lease or delay: the database's clock was set back since, and may be by days
                Receipt.lease_until > database_now(_LEASES_AT_MOST * lease_seconds),
            ),
            true() if listeners is None else or_(Receipt.listener.in_(listeners), Receipt.stored_at.is_not(None)),
            ~select(earlier.id)
            .where(
                earlier.sop_instance_uid == Receipt.sop_instance_uid,
                earlier.listener == Receipt.listener,
                earlier.state == ReceiptState.PENDING,
                earlier.id < Receipt.id,
            )
            .exists(),
        )
        .order_by(Receipt.urgency, Receipt.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    if not waiting:
        return []
    token = secrets.token_hex(16)
    session.execute(
        update(Receipt)
        .where(Receipt.id.in_([row.id for row in waiting]))
        .values(lease_token=token, lease_until=database_now(lease_seconds))
        .execution_options(synchronize_session=False)
    )
    return [
        Claim(
            receipt_id=row.id,
            entry=Entry.parse(row.entry),
            listener=row.listener,
            size=row.size,
            attempts=row.attempts,
            token=token,
            received_at=row.received_at,
            stored=row.stored_at is not None,
            put_back=row.put_back,
            lease_seconds=lease_seconds,
            abandoned=row.lease_token is not None,
        )
        for row in waiting
    ]


def waits_elsewhere(session: Session, listeners: Collection[str]) -> str | None:
    """Return a listener, other than these, for whose spool a receipt waits; one that is stored needs some spool."""
    waiting = select(Receipt.listener).where(Receipt.state == ReceiptState.PENDING, Receipt.listener.not_in(listeners))
    if listeners:
        waiting = waiting.where(Receipt.stored_at.is_(None))
    return session.scalar(waiting.limit(1))


def start_attempt(session: Session, held: Claim) -> bool:
    """Count a start and renew the lease; commit before a byte of the file is parsed.

    Returns
    -------
    bool
        False if the lease is lost: leave the file alone.
    """
    row = session.execute(
        update(Receipt)
        .where(_held(held))
        .values(attempts=Receipt.attempts + 1, lease_until=database_now(held.lease_seconds))
        .returning(Receipt.id)
        .execution_options(synchronize_session=False)
    ).first()
    return row is not None


def renew(session: Session, held: Sequence[Claim], seconds: float) -> set[int]:
    """Prolong the leases that still hold.

    Returns
    -------
    set of int
        Receipts still held; those missing are lost.
    """
    if not held:
        return set()
    rows = session.scalars(
        update(Receipt)
        .where(_any_held(held))
        .values(lease_until=database_now(seconds))
        .returning(Receipt.id)
        .execution_options(synchronize_session=False)
    )
    return set(rows)


def release(session: Session, held: Sequence[Claim], *, refund: bool = False, delay_seconds: float = 0.0) -> int:
    """Give claims back unfinished; lost ones are passed over.

    Parameters
    ----------
    session : Session
        A session that may write.
    held : sequence of Claim
        What to give back.
    refund : bool
        Take back the attempts that were started under these claims: they were cut
        short by us (a warm shutdown, a missing model), not by the image. One that
        was never started keeps what it had spent.
    delay_seconds : float
        Nobody may claim them for so long.

    Returns
    -------
    int
        How many were still held.
    """
    if not held:
        return 0
    before = case({one.receipt_id: one.attempts for one in held}, value=Receipt.id)
    attempts = before if refund else Receipt.attempts
    rows = session.execute(
        update(Receipt)
        .where(_any_held(held))
        .values(
            lease_token=None,
            lease_until=database_now(delay_seconds) if delay_seconds > 0 else None,
            attempts=attempts,
        )
        .returning(Receipt.id)
        .execution_options(synchronize_session=False)
    )
    return len(rows.all())


def finish(
    session: Session,
    held: Claim,
    state: ReceiptState,
    reason: str | None = None,
    detail: str | None = None,
    *,
    study_id: int | None = None,
    image_id: int | None = None,
) -> None:
    """Put a receipt into its terminal state, in the transaction that records why.

    Parameters
    ----------
    session : Session
        A session that may write.
    held : Claim
        The lease under which the work was done.
    state : ReceiptState
        Any terminal state.
    reason, detail : str, optional
        Coded reason, and one sentence free of identifiers (cut at 500 characters).
    study_id, image_id : int, optional
        As far as known; what the receipt knows already is kept.

    Raises
    ------
    LeaseLost
        If the token no longer holds; roll the whole transaction back.
    IllegalMove
        If `state` is PENDING.
    """
    check_move(ReceiptState.PENDING, state)
    values: dict[str, object] = {
        "state": state,
        "reason": reason,
        "detail": None if detail is None else detail[:500],
        "lease_token": None,
        "lease_until": None,
        "finished_at": database_now(),
    }
    if study_id is not None:
        values["study_id"] = study_id
    if image_id is not None:
        values["image_id"] = image_id
    row = session.execute(
        update(Receipt)
        .where(_held(held))
        .values(**values)
        .returning(Receipt.id)
        .execution_options(synchronize_session=False)
    ).first()
    if row is None:
        message = f"the lease on receipt {held.receipt_id} ended before its work did; another worker has it now"
        raise LeaseLost(message)


def _held(held: Claim) -> ColumnElement[bool]:
    return and_(
        Receipt.id == held.receipt_id,
        Receipt.lease_token == held.token,
        Receipt.state == ReceiptState.PENDING,
    )


def _any_held(held: Sequence[Claim]) -> ColumnElement[bool]:
    return and_(
        tuple_(Receipt.id, Receipt.lease_token).in_([(one.receipt_id, one.token) for one in held]),
        Receipt.state == ReceiptState.PENDING,
    )
