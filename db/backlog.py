"""What waits in the ledger: few numbers from indexes of what is open, fast however much is done."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from db import rescoring
from db.base import database_now
from db.models.receipt import Receipt
from db.models.study import Study
from db.queries import flagged_count
from db.vocabulary import URGENCY_RANK, ReceiptState, Urgency

_URGENCIES: Final = {rank: urgency for urgency, rank in URGENCY_RANK.items()}


@dataclass(frozen=True, slots=True)
class Waiting:
    """Receipts without an end, of one urgency.

    Attributes
    ----------
    receipts : int
        All of them.
    in_hand : int
        Held by a worker, under a lease that still runs.
    overdue : int
        Past their time.
    oldest_seconds : float or None
        Age of the oldest since it was received.
    """

    receipts: int = 0
    in_hand: int = 0
    overdue: int = 0
    oldest_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits at one moment.

    Attributes
    ----------
    at : datetime
        The database's clock.
    waiting : dict of Urgency to Waiting
        Every urgency named.
    quarantined : dict of str to int
        Receipts in quarantine by reason, the most frequent first; "?" where none was given.
    rescoring : int
        Images that wait for the champion to score them again.
    unsettled : int
        Studies whose present revision is open.
    flagged : int
        Rows that wait for a reader.
    """

    at: datetime
    waiting: dict[Urgency, Waiting]
    quarantined: dict[str, int]
    rescoring: int
    unsettled: int
    flagged: int

    @property
    def pending(self) -> int:
        """Receipts without an end."""
        return sum(one.receipts for one in self.waiting.values())

    @property
    def in_hand(self) -> int:
        """Of them, those under a lease."""
        return sum(one.in_hand for one in self.waiting.values())

    @property
    def overdue(self) -> int:
        """Of them, those past their time."""
        return sum(one.overdue for one in self.waiting.values())

    @property
    def oldest_seconds(self) -> float | None:
        """Age of the oldest of them."""
        return max(
            (one.oldest_seconds for one in self.waiting.values() if one.oldest_seconds is not None), default=None
        )


def backlog(session: Session) -> Backlog:
    """Return what waits; use a reader, so that all numbers are of one moment."""
    now = session.scalars(select(database_now())).one()
    return Backlog(
        at=now,
        waiting=_waiting(session, now),
        quarantined=_quarantined(session),
        rescoring=rescoring.waiting(session),
        unsettled=session.scalars(select(func.count()).select_from(Study).where(Study.settled_at.is_(None))).one(),
        flagged=flagged_count(session),
    )


def _waiting(session: Session, now: datetime) -> dict[Urgency, Waiting]:
    rows = session.execute(
        select(
            Receipt.urgency,
            func.count(),
            # one that was put off for a moment has a time, and no token
            func.count().filter(and_(Receipt.lease_token.is_not(None), Receipt.lease_until > now)),
            func.count().filter(Receipt.due_at < now),
            func.min(Receipt.received_at),
        )
        .where(Receipt.state == ReceiptState.PENDING)
        .group_by(Receipt.urgency)
    )
    found = {
        _URGENCIES[rank]: Waiting(receipts, in_hand, overdue, (now - oldest).total_seconds())
        for rank, receipts, in_hand, overdue, oldest in rows
    }
    return dict.fromkeys(Urgency, Waiting()) | found


def _quarantined(session: Session) -> dict[str, int]:
    reason = func.coalesce(Receipt.reason, "?")
    rows = session.execute(
        select(reason, func.count())
        .where(Receipt.state == ReceiptState.QUARANTINED)
        .group_by(Receipt.reason)
        .order_by(func.count().desc(), Receipt.reason)
    )
    return {word: count for word, count in rows}  # noqa: C416 - a result has keys(): dict() would take it for a mapping
