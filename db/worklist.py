"""The order of the reader's list, kept by indexes: which rows make up a page, and how many there are in all.

`flagged_result` says what a row shows, and would be worked out for every row
before the first could be put in its place. Here four indexes are read in that
order instead, each no farther than a page: open flags, studies that are only
overdue, unreadable receipts without study, and overdue ones without study.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Integer, Select, and_, distinct, func, literal, or_, select, tuple_, union_all
from sqlalchemy.orm import Session, aliased

from db.base import Moment, database_now
from db.models.flag import Flag
from db.models.receipt import Receipt
from db.models.study import Study
from db.vocabulary import FLAG_PRIORITY, FlagKind, ReceiptState

_OVERDUE: Final = FLAG_PRIORITY[FlagKind.OVERDUE]
_NO_RESULT: Final = FLAG_PRIORITY[FlagKind.NO_RESULT]

_Places = Select[int, datetime, int, int]


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a row stands in the reader's list.

    Attributes
    ----------
    priority : int
    received_at : datetime
    study_id, receipt_id : int
        One of them is 0.
    """

    priority: int
    received_at: datetime
    study_id: int
    receipt_id: int


def places(
    session: Session, *, since: datetime | None = None, limit: int | None = None, after: Place | None = None
) -> list[Place]:
    """Return where the rows of `flagged_result` stand, in the order to read them.

    Parameters
    ----------
    session : Session
        A reader.
    since : datetime, optional
        Only studies of which something was received at or after this.
    limit : int or None
        At most so many; None for all.
    after : Place, optional
        Only behind this.
    """
    arms = [arm.limit(limit).subquery() for arm in _arms(since, after)]
    every = union_all(*(select(arm) for arm in arms)).subquery()
    query = select(every).order_by(every.c.priority, every.c.received_at, every.c.study_id, every.c.receipt_id)
    return [Place(*row) for row in session.execute(query.limit(limit))]


def count(session: Session) -> int:
    """Return how many rows `flagged_result` has."""
    flagged = session.scalar(select(func.count(distinct(Flag.study_id))).where(Flag.cleared_at.is_(None))) or 0
    overdue = select(func.count(distinct(Receipt.study_id))).where(
        _overdue(Receipt), Receipt.study_id.is_not(None), ~_open_flag(Receipt.study_id).exists()
    )
    alone = select(func.count()).where(Receipt.study_id.is_(None), _unreadable(Receipt))
    late = select(func.count()).where(Receipt.study_id.is_(None), _overdue(Receipt))
    return flagged + sum(session.scalar(query) or 0 for query in (overdue, alone, late))


def _arms(since: datetime | None, after: Place | None) -> Iterator[_Places]:
    yield _flagged(since, after)
    yield _overdue_studies(since, after)
    for priority, condition in ((_NO_RESULT, _unreadable(Receipt)), (_OVERDUE, _overdue(Receipt))):
        if after is None or after.priority <= priority:
            yield _lone(priority, condition, since, after)


def _flagged(since: datetime | None, after: Place | None) -> _Places:
    sooner = aliased(Flag)
    query = (
        select(Flag.priority, Flag.received_at, Flag.study_id, literal(0, Integer()).label("receipt_id"))
        .where(
            Flag.cleared_at.is_(None),
            # of a study's open flags the most urgent counts
            ~_open_flag(Flag.study_id, sooner)
            .where(
                or_(
                    sooner.priority < Flag.priority,
                    and_(sooner.priority == Flag.priority, sooner.id < Flag.id),
                )
            )
            .exists(),
            or_(Flag.priority <= _OVERDUE, ~_overdue_receipt(Flag.study_id).exists()),
        )
        .order_by(Flag.priority, Flag.received_at, Flag.study_id)
    )
    if since is not None:
        query = query.join(Study, Study.id == Flag.study_id).where(Study.last_received_at >= since)
    if after is not None:
        query = query.where(tuple_(Flag.priority, Flag.received_at, Flag.study_id) > _three(after))
    return query


def _overdue_studies(since: datetime | None, after: Place | None) -> _Places:
    sooner = aliased(Flag)
    late = aliased(Receipt)
    # few: receipts that a person put back and nobody finished in time
    query = (
        select(
            literal(_OVERDUE, Integer()).label("priority"),
            Study.first_received_at.label("received_at"),
            Study.id.label("study_id"),
            literal(0, Integer()).label("receipt_id"),
        )
        .where(
            Study.id.in_(select(late.study_id).where(_overdue(late), late.study_id.is_not(None))),
            ~_open_flag(Study.id, sooner).where(sooner.priority <= _OVERDUE).exists(),
        )
        .order_by(Study.first_received_at, Study.id)
    )
    if since is not None:
        query = query.where(Study.last_received_at >= since)
    if after is not None:
        here = tuple_(literal(_OVERDUE, Integer()), Study.first_received_at, Study.id)
        query = query.where(here > _three(after))
    return query


def _lone(priority: int, condition: ColumnElement[bool], since: datetime | None, after: Place | None) -> _Places:
    query = (
        select(
            literal(priority, Integer()).label("priority"),
            Receipt.received_at,
            literal(0, Integer()).label("study_id"),
            Receipt.id.label("receipt_id"),
        )
        .where(Receipt.study_id.is_(None), condition)
        .order_by(Receipt.received_at, Receipt.id)
    )
    if since is not None:
        query = query.where(Receipt.received_at >= since)
    if after is not None and after.priority == priority:
        moment = literal(after.received_at, Moment())
        behind = tuple_(Receipt.received_at, Receipt.id) > tuple_(moment, after.receipt_id)
        # at one time, receipts stand before studies
        query = query.where(behind if after.study_id == 0 else Receipt.received_at > moment)
    return query


def _three(after: Place) -> ColumnElement[Any]:
    # a receipt's row has study 0, so whatever study has the same priority and time stands behind it
    return tuple_(literal(after.priority, Integer()), literal(after.received_at, Moment()), after.study_id)


def _open_flag(study_id: Any, flag: type[Flag] = Flag) -> Select[int]:
    return select(flag.id).where(flag.study_id == study_id, flag.cleared_at.is_(None))


def _overdue_receipt(study_id: Any) -> Select[int]:
    late = aliased(Receipt)
    return select(late.id).where(late.study_id == study_id, _overdue(late))


def _overdue(receipt: type[Receipt]) -> ColumnElement[bool]:
    return and_(receipt.state == ReceiptState.PENDING, receipt.due_at < database_now())


def _unreadable(receipt: type[Receipt]) -> ColumnElement[bool]:
    return receipt.state == ReceiptState.QUARANTINED
