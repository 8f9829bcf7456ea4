"""The order of the reader's list, kept by indexes: which rows make up a page, and how many there are in all.

`flagged_result` says what a row shows, and would be worked out for every row
before the first could be put in its place. Here four indexes are read in that
order instead, each no farther than a page: open flags, studies that are only
overdue, unreadable receipts without study, and overdue ones without study.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from enum import Enum, auto
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    and_,
    bindparam,
    distinct,
    func,
    literal,
    or_,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.orm import Session, aliased

from db.answering import waits
from db.base import Moment, database_now
from db.models.flag import Flag
from db.models.receipt import Receipt
from db.models.study import Study
from db.vocabulary import FLAG_PRIORITY, FlagKind, ReceiptState

_OVERDUE: Final = FLAG_PRIORITY[FlagKind.OVERDUE]
_NO_RESULT: Final = FLAG_PRIORITY[FlagKind.NO_RESULT]

# more rows than anybody has; a limit of none is not written alike on both databases
_ALL: Final = 2**31 - 1

_Places = Select[int, datetime, int, int]

_LIMIT: Final = bindparam("limit", type_=Integer())
_RECEIVED_AT: Final = bindparam("received_at", type_=Moment())
_RECEIPT_ID: Final = bindparam("receipt_id", type_=Integer())
# a receipt's row has study 0, so whatever study has the same priority and time stands behind it
_THREE: Final = tuple_(bindparam("priority", type_=Integer()), _RECEIVED_AT, bindparam("study_id", type_=Integer()))


class _Behind(Enum):
    """What of a kind of rows lies before the page."""

    NOTHING = auto()
    PLACE = auto()
    TIME = auto()
    ALL = auto()


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
    values: dict[str, object] = {"limit": _ALL if limit is None else limit, "since": since}
    if after is not None:
        values |= asdict(after)
    return [Place(*row) for row in session.execute(_query(since is not None, _behind(after)), values)]


def _behind(after: Place | None) -> tuple[_Behind, _Behind, _Behind]:
    """Say how a page begins in the flagged studies, the unreadable receipts and the overdue ones."""
    if after is None:
        return _Behind.NOTHING, _Behind.NOTHING, _Behind.NOTHING
    unreadable, overdue = (_behind_lone(after, priority) for priority in (_NO_RESULT, _OVERDUE))
    return _Behind.PLACE, unreadable, overdue


def _behind_lone(after: Place, priority: int) -> _Behind:
    if after.priority != priority:
        return _Behind.NOTHING if after.priority < priority else _Behind.ALL
    # at one time, receipts stand before studies
    return _Behind.PLACE if after.study_id == 0 else _Behind.TIME


def count(session: Session) -> int:
    """Return how many rows `flagged_result` has."""
    flagged = session.scalar(select(func.count(distinct(Flag.study_id))).where(waits())) or 0
    overdue = select(func.count(distinct(Receipt.study_id))).where(
        _overdue(Receipt), Receipt.study_id.is_not(None), ~_open_flag(Receipt.study_id).exists()
    )
    alone = select(func.count()).where(Receipt.study_id.is_(None), _unreadable(Receipt))
    late = select(func.count()).where(Receipt.study_id.is_(None), _overdue(Receipt))
    return flagged + sum(session.scalar(query) or 0 for query in (overdue, alone, late))


@cache
def _query(since: bool, behind: tuple[_Behind, _Behind, _Behind]) -> _Places:  # noqa: FBT001 - made for `cache`
    """Build the statement once for each kind of page: building it takes longer than running it."""
    studies, unreadable, overdue = behind
    arms = [_flagged(studies), _overdue_studies(studies)]
    if unreadable is not _Behind.ALL:
        arms.append(_lone(_NO_RESULT, _unreadable(Receipt), unreadable))
    if overdue is not _Behind.ALL:
        arms.append(_lone(_OVERDUE, _overdue(Receipt), overdue))
    if since:
        arms = [arm.where(late) for arm, late in zip(arms, _late(len(arms)), strict=True)]
    limited = [arm.limit(_LIMIT).subquery() for arm in arms]
    every = union_all(*(select(arm) for arm in limited)).subquery()
    query = select(every).order_by(every.c.priority, every.c.received_at, every.c.study_id, every.c.receipt_id)
    return query.limit(_LIMIT)


def _late(arms: int) -> list[ColumnElement[bool]]:
    since = bindparam("since", type_=Moment())
    recent = select(Study.id).where(Study.id == Flag.study_id, Study.last_received_at >= since).exists()
    return [recent, Study.last_received_at >= since, *[Receipt.received_at >= since] * (arms - 2)]


def _flagged(behind: _Behind) -> _Places:
    sooner = aliased(Flag)
    query = (
        select(Flag.priority, Flag.received_at, Flag.study_id, literal(0, Integer()).label("receipt_id"))
        .where(
            waits(),
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
    if behind is _Behind.PLACE:
        query = query.where(tuple_(Flag.priority, Flag.received_at, Flag.study_id) > _THREE)
    return query


def _overdue_studies(behind: _Behind) -> _Places:
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
    if behind is _Behind.PLACE:
        query = query.where(tuple_(literal(_OVERDUE, Integer()), Study.first_received_at, Study.id) > _THREE)
    return query


def _lone(priority: int, condition: ColumnElement[bool], behind: _Behind) -> _Places:
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
    if behind is _Behind.PLACE:
        query = query.where(tuple_(Receipt.received_at, Receipt.id) > tuple_(_RECEIVED_AT, _RECEIPT_ID))
    elif behind is _Behind.TIME:
        query = query.where(Receipt.received_at > _RECEIVED_AT)
    return query


def _open_flag(study_id: Any, flag: type[Flag] = Flag) -> Select[int]:
    return select(flag.id).where(flag.study_id == study_id, waits(flag))


def _overdue_receipt(study_id: Any) -> Select[int]:
    late = aliased(Receipt)
    return select(late.id).where(late.study_id == study_id, _overdue(late))


def _overdue(receipt: type[Receipt]) -> ColumnElement[bool]:
    return and_(receipt.state == ReceiptState.PENDING, receipt.due_at < database_now())


def _unreadable(receipt: type[Receipt]) -> ColumnElement[bool]:
    return receipt.state == ReceiptState.QUARANTINED
