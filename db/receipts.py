"""Receipts from registration to rest: making them once, and noting where their files lie."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.spool import Entry
from db.base import database_now
from db.inserting import insert
from db.models.receipt import Receipt
from db.vocabulary import URGENCY_RANK, ReceiptState, Urgency

# SQLite takes at most 32,766 variables a statement; a row has sixteen
_ROWS_A_STATEMENT: Final = 500


@dataclass(frozen=True, slots=True)
class NewReceipt:
    """What the registrar knows of an acknowledged instance without opening it (peer: from the file meta alone).

    Attributes
    ----------
    entry : Entry
        The spool's name of it.
    listener : str
        Whose spool it lies in.
    size : int
        Bytes of the Part 10 file.
    received_at : datetime
        When the file became durable; aware. One ahead of the database's clock is taken for its now.
    peer : str or None
        Sending AE title, printable, at most 16 characters.
    urgency : Urgency
        In which order it is claimed.
    sop_class_uid, sop_instance_uid : str or None
        From the file meta; the listener saw that the data set says the same.
    """

    entry: Entry
    listener: str
    size: int
    received_at: datetime
    peer: str | None = None
    urgency: Urgency = Urgency.ROUTINE
    sop_class_uid: str | None = None
    sop_instance_uid: str | None = None


@dataclass(frozen=True, slots=True)
class Unstored:
    """A terminal receipt whose file still has to move from the spool to ``stored/``."""

    receipt_id: int
    listener: str
    entry: Entry


def register(session: Session, receipts: Iterable[NewReceipt], overdue_seconds: float) -> int:
    """Insert the receipts that are not there yet.

    Repeating it is safe: a receipt that exists, whatever its state, stays as it
    is. Nothing is registered until the caller commits.

    Parameters
    ----------
    session : Session
        A session that may write.
    receipts : iterable of NewReceipt
        Any number, in any order; ids follow the order in which they were received.
    overdue_seconds : float
        Age from `received_at` on at which a PENDING receipt is overdue.

    Returns
    -------
    int
        How many were new.
    """
    # Deliveries of one instance are claimed by their ids, and names tell the order within an association process alone.
    # And one order for all, or two registrars of one spool would deadlock on PostgreSQL.
    ordered = sorted(receipts, key=lambda new: (new.received_at, new.entry))
    inserted = 0
    now = session.scalars(select(database_now())).one()
    for start in range(0, len(ordered), _ROWS_A_STATEMENT):
        rows = [
            {
                "entry": new.entry.name,
                "listener": new.listener,
                "incarnation": new.entry.incarnation,
                "sequence": new.entry.sequence,
                "sha256": new.entry.sha256,
                "size": new.size,
                "peer": new.peer,
                "sop_class_uid": new.sop_class_uid,
                "sop_instance_uid": new.sop_instance_uid,
                # settling and OVERDUE reckon by the database's clock
                "received_at": _past(new.received_at, now),
                "registered_at": database_now(),
                "due_at": _past(new.received_at, now) + timedelta(seconds=overdue_seconds),
                "urgency": URGENCY_RANK[new.urgency],
                "state": ReceiptState.PENDING,
                "attempts": 0,
            }
            for new in ordered[start : start + _ROWS_A_STATEMENT]
        ]
        statement = insert(session, Receipt).values(rows).on_conflict_do_nothing().returning(Receipt.id)
        inserted += len(session.execute(statement).all())
    return inserted


def _past(received_at: datetime, now: datetime) -> datetime:
    # a time without zone is refused where it is stored
    return received_at if received_at.tzinfo is None else min(received_at, now)


def known(session: Session, listener: str, entries: Iterable[Entry]) -> set[Entry]:
    """Return those of the entries that have a receipt already, in whatever state.

    For the registrar after a restart, when it does not remember what of
    ``new/`` it has registered before.
    """
    asked = list(entries)
    found: set[Entry] = set()
    for start in range(0, len(asked), _ROWS_A_STATEMENT):
        names = [entry.name for entry in asked[start : start + _ROWS_A_STATEMENT]]
        rows = session.scalars(select(Receipt.entry).where(Receipt.listener == listener, Receipt.entry.in_(names)))
        found.update(Entry.parse(name) for name in rows)
    return found


def unstored(session: Session, limit: int, after_id: int = 0) -> list[Unstored]:
    """Return terminal receipts whose file has not moved to ``stored/``, oldest first.

    A worker that dies between the commit and the rename leaves these; the sweep
    moves their files and calls `mark_stored`. Moving twice is safe.
    """
    rows = session.execute(
        select(Receipt.id, Receipt.listener, Receipt.entry)
        .where(Receipt.state != ReceiptState.PENDING, Receipt.stored_at.is_(None), Receipt.id > after_id)
        .order_by(Receipt.id)
        .limit(limit)
    )
    return [Unstored(row.id, row.listener, Entry.parse(row.entry)) for row in rows]


def mark_stored(session: Session, receipt_ids: Sequence[int]) -> None:
    """Note that these receipts' files lie in ``stored/`` now.

    Whatever their state: a person may have put one back while its file moved.
    """
    session.execute(
        update(Receipt)
        .where(Receipt.id.in_(receipt_ids), Receipt.stored_at.is_(None))
        .values(stored_at=database_now())
        .execution_options(synchronize_session=False)
    )
