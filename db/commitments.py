"""Requests for storage commitment: registered once, looked at under a lease, ended once (PS3.4 Annex J).

As with receipts (`db.claims`) times are the database's, and every write of a
holder names its lease's token, so that two workers never both end a request
and one that was paused past its lease changes nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, or_, select, update
from sqlalchemy.orm import Session

from core.spool import Entry
from db.base import database_now
from db.chunks import in_chunks
from db.claims import LeaseLost
from db.inserting import insert
from db.models.commitment import Commitment
from db.models.receipt import Receipt
from db.models.study import Image
from db.settling import registered_until
from db.vocabulary import CommitmentState, ReceiptState, Unreported

# no pause is longer; one that is was written before the database's clock was set back, and counts as over
LONGEST_PAUSE_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class NewCommitment:
    """What the registrar knows of an acknowledged request; as `db.receipts.NewReceipt`."""

    entry: Entry
    listener: str
    size: int
    received_at: datetime
    peer: str | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """One request held under a lease.

    Attributes
    ----------
    commitment_id : int
    entry : Entry
        Name of its file in ``commitment/`` of `listener`.
    listener : str
    peer : str or None
        Requesting AE title, printable.
    attempts : int
        Tries to report before this claim.
    received_at : datetime
        When the file became durable.
    waited_seconds : float
        From then until it was claimed.
    token : str
        What every write under this claim names.
    lease_seconds : float
        How long the claim holds after each renewal.
    """

    commitment_id: int
    entry: Entry
    listener: str
    peer: str | None
    attempts: int
    received_at: datetime
    waited_seconds: float
    token: str
    lease_seconds: float


@dataclass(frozen=True, slots=True)
class Copy:
    """One receipt of a SOP instance, and where its file is.

    Attributes
    ----------
    sop_class_uid : str or None
        Of the file; None where nothing is known of it.
    state : ReceiptState
    listener, entry, size, stored
        As of the receipt; `core.spool.place` says where the file lies.
    removed : bool
        A policy removed the file, or is about to: it is not held any more.
    """

    sop_class_uid: str | None
    state: ReceiptState
    listener: str
    entry: Entry
    size: int
    stored: bool
    removed: bool = False


def register(session: Session, requests: Iterable[NewCommitment]) -> int:
    """Insert the requests that are not there yet, and return how many were new; as `db.receipts.register`."""
    ordered = sorted(requests, key=lambda new: new.entry)
    inserted = 0
    now = session.scalars(select(database_now())).one()
    for some in in_chunks(ordered):
        rows = [
            {
                "entry": new.entry.name,
                "listener": new.listener,
                "size": new.size,
                "peer": new.peer,
                "received_at": min(new.received_at, now),
                "registered_at": database_now(),
                "state": CommitmentState.PENDING,
                "attempts": 0,
                "next_at": database_now(),
            }
            for new in some
        ]
        statement = insert(session, Commitment).values(rows).on_conflict_do_nothing().returning(Commitment.id)
        inserted += len(session.execute(statement).all())
    return inserted


def states(session: Session, entries: Iterable[Entry]) -> dict[Entry, CommitmentState]:
    """Return what became of these requests; one that is not registered is left out."""
    found: dict[Entry, CommitmentState] = {}
    for some in in_chunks(entries):
        names = [entry.name for entry in some]
        rows = session.execute(select(Commitment.entry, Commitment.state).where(Commitment.entry.in_(names)))
        found.update({Entry.parse(row.entry): row.state for row in rows})
    return found


def claim(session: Session, lease_seconds: float, listeners: Collection[str]) -> Held | None:
    """Take the request that has been due for longest, if there is one; commit before working.

    Parameters
    ----------
    session : Session
        A session that may write.
    lease_seconds : float
        How long nobody else may take it.
    listeners : collection of str
        Only what lies in these listeners' spools.
    """
    row = session.execute(
        select(Commitment, database_now().label("now"))
        .where(
            Commitment.state == CommitmentState.PENDING,
            Commitment.listener.in_(listeners),
            or_(Commitment.next_at <= database_now(), Commitment.next_at > database_now(2 * LONGEST_PAUSE_SECONDS)),
            or_(
                Commitment.lease_until.is_(None),
                Commitment.lease_until < database_now(),
                Commitment.lease_until > database_now(2 * lease_seconds),
            ),
        )
        .order_by(Commitment.next_at, Commitment.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    ).first()
    if row is None:
        return None
    found, now = row
    token = secrets.token_hex(16)
    session.execute(
        update(Commitment)
        .where(Commitment.id == found.id)
        .values(lease_token=token, lease_until=database_now(lease_seconds))
        .execution_options(synchronize_session=False)
    )
    return Held(
        commitment_id=found.id,
        entry=Entry.parse(found.entry),
        listener=found.listener,
        peer=found.peer,
        attempts=found.attempts,
        received_at=found.received_at,
        waited_seconds=(now - found.received_at).total_seconds(),
        token=token,
        lease_seconds=lease_seconds,
    )


def start_attempt(session: Session, held: Held) -> None:
    """Count a try to report and renew the lease; commit before connecting.

    Raises
    ------
    LeaseLost
        If the token no longer holds.
    """
    _write(
        session,
        held,
        attempts=Commitment.attempts + 1,
        lease_until=database_now(held.lease_seconds),
    )


def postpone(
    session: Session, held: Held, seconds: float, reason: Unreported | None = None, detail: str | None = None
) -> None:
    """Give a request back, to be looked at again after so long, at most `LONGEST_PAUSE_SECONDS`.

    Without a reason, that of the last attempt stands.

    Raises
    ------
    LeaseLost
        If the token no longer holds.
    """
    why = {} if reason is None else {"reason": reason, "detail": detail}
    pause = min(seconds, LONGEST_PAUSE_SECONDS)
    _write(session, held, next_at=database_now(pause), lease_token=None, lease_until=None, **why)


def reported(session: Session, held: Held, *, committed: int, failed: int) -> None:
    """End a request that the peer was answered.

    Raises
    ------
    LeaseLost
        If the token no longer holds.
    """
    _end(session, held, CommitmentState.REPORTED, reason=None, detail=None, committed=committed, failed=failed)


def give_up(session: Session, held: Held, reason: Unreported, detail: str) -> None:
    """End a request that cannot be answered.

    Raises
    ------
    LeaseLost
        If the token no longer holds.
    """
    _end(session, held, CommitmentState.GAVE_UP, reason=reason, detail=detail)


def _end(session: Session, held: Held, state: CommitmentState, **values: object) -> None:
    _write(session, held, state=state, lease_token=None, lease_until=None, finished_at=database_now(), **values)


def _write(session: Session, held: Held, **values: object) -> None:
    row = session.execute(
        update(Commitment)
        .where(
            Commitment.id == held.commitment_id,
            Commitment.lease_token == held.token,
            Commitment.state == CommitmentState.PENDING,
        )
        .values(**values)
        .returning(Commitment.id)
        .execution_options(synchronize_session=False)
    ).first()
    if row is None:
        message = f"the lease on commitment request {held.commitment_id} ended before its work did"
        raise LeaseLost(message)


def waiting(session: Session) -> dict[Entry, str]:
    """Return the requests that are not answered yet, each with its listener."""
    rows = session.execute(
        select(Commitment.entry, Commitment.listener).where(Commitment.state == CommitmentState.PENDING)
    )
    return {Entry.parse(row.entry): row.listener for row in rows}


def copies(session: Session, sop_instance_uids: Iterable[str]) -> dict[str, list[Copy]]:
    """Return all receipts of each SOP instance; one without any is left out.

    A receipt that was registered before receipts named their instance counts
    where its file is the one in force for an image.
    """
    found: dict[str, list[Copy]] = {}
    columns = (
        *(Receipt.state, Receipt.listener, Receipt.entry, Receipt.size, Receipt.stored_at),
        Receipt.removal_policy,
    )
    for some in in_chunks(dict.fromkeys(sop_instance_uids)):
        named = session.execute(
            select(Receipt.sop_instance_uid, Receipt.sop_class_uid, *columns)
            .where(Receipt.sop_instance_uid.in_(some))
            .order_by(Receipt.id)
        )
        unnamed = session.execute(
            select(Image.sop_instance_uid, Image.sop_class_uid, *columns)
            .join(Receipt, Receipt.image_id == Image.id)
            .where(
                Image.sop_instance_uid.in_(some),
                Receipt.sop_instance_uid.is_(None),
                Receipt.sha256 == Image.receipt_sha256,
            )
            .order_by(Receipt.id)
        )
        for row in (*named, *unnamed):
            found.setdefault(row.sop_instance_uid, []).append(_copy(row))
    return found


def _copy(row: Row[Any]) -> Copy:
    return Copy(
        sop_class_uid=row.sop_class_uid,
        state=row.state,
        listener=row.listener,
        entry=Entry.parse(row.entry),
        size=row.size,
        stored=row.stored_at is not None,
        removed=row.removal_policy is not None,
    )


def all_known(session: Session, until: datetime) -> bool:
    """Whether every instance received before a time is registered and is known by its SOP instance."""
    registered = registered_until(session)
    if registered is None or registered < until:
        return False
    nameless = select(Receipt.id).where(
        Receipt.state == ReceiptState.PENDING, Receipt.sop_instance_uid.is_(None), Receipt.received_at < until
    )
    return not session.scalar(select(nameless.exists()))
