"""Results as frozen rows, for the command and the demo. Use a session of `db.base.make_readers`.

Lists that can grow take `limit` and `after`, the last row of the page before
(keyset pagination: no page is slower than the first, none skips or repeats).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import (
    ColumnClause,
    Date,
    Float,
    Integer,
    RowMapping,
    String,
    TableClause,
    column,
    literal,
    select,
    table,
    tuple_,
)
from sqlalchemy.orm import Session

from db import worklist
from db.base import Moment, Words
from db.chunks import in_chunks
from db.models.receipt import Receipt
from db.models.study import Study
from db.vocabulary import FLAG_PRIORITY, FlagKind, Outcome, ReceiptState
from db.worklist import Place


def _columns() -> list[ColumnClause[Any]]:
    return [
        column("study_id", Integer()),
        column("study_uid", String()),
        column("accession_number", String()),
        column("patient_id", String()),
        column("study_date", Date()),
        column("outcome", Words(Outcome)),
        column("reason", String()),
        column("probability", Float()),
        column("threshold", Float()),
        column("score", Float()),
        column("score_threshold", Float()),
        column("flags", String()),
        column("annotations", String()),
        column("priority", Integer()),
        column("model_version", String()),
        column("received_at", Moment()),
        column("last_received_at", Moment()),
        column("settled_at", Moment()),
        column("revision", Integer()),
    ]


STUDY_RESULT: Final[TableClause] = table("study_result", *_columns())
READER_RESULT: Final[TableClause] = table("reader_result", *_columns())


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One row of `study_result` or `flagged_result`; docs/ledger.md describes the columns.

    Attributes
    ----------
    study_id, study_uid, revision : int, str, int or None
        None where an unreadable or overdue receipt has no known study.
    outcome : Outcome or None
        None only where the row waits for a blind reader (AUDIT).
    probability, threshold : float or None
        On one scale, 0 to 1; only with SUSPECTED and NOT_SUSPECTED.
    score, score_threshold : float or None
        The model's own output and its operating point.
    flags, annotations : tuple of str
        Flags by priority.
    receipt_id : int or None
        The receipt, in rows without a study.
    """

    study_id: int | None
    study_uid: str | None
    accession_number: str | None
    patient_id: str | None
    study_date: date | None
    outcome: Outcome | None
    reason: str | None
    probability: float | None
    threshold: float | None
    score: float | None
    score_threshold: float | None
    flags: tuple[str, ...]
    annotations: tuple[str, ...]
    priority: int | None
    model_version: str | None
    received_at: datetime
    last_received_at: datetime
    settled_at: datetime | None
    revision: int | None
    receipt_id: int | None = None


def results(
    session: Session,
    *,
    flagged: bool = False,
    since: datetime | None = None,
    limit: int | None = 100,
    after: ResultRow | None = None,
) -> list[ResultRow]:
    """Return results: all studies newest first, or what waits for a reader in the order to read it.

    Parameters
    ----------
    session : Session
        A reader.
    flagged : bool
        `flagged_result` instead of `study_result`.
    since : datetime, optional
        Only studies of which something was received at or after this.
    limit : int or None
        Rows a page; None for all.
    after : ResultRow, optional
        Last row of the page before.
    """
    if flagged:
        return _flagged(session, since, limit, after)
    keys = select(Study.id).order_by(Study.first_received_at.desc(), Study.id.desc()).limit(limit)
    if after is not None:
        keys = keys.where(
            tuple_(Study.first_received_at, Study.id) < tuple_(literal(after.received_at, Moment()), after.study_id)
        )
    if since is not None:
        keys = keys.where(Study.last_received_at >= since)
    numbers = list(session.scalars(keys))
    found = _of_studies(session, STUDY_RESULT, numbers)
    return [found[number] for number in numbers]


def result(session: Session, study_uid: str) -> ResultRow | None:
    """Return one study's row of `study_result`."""
    row = session.execute(select(STUDY_RESULT).where(STUDY_RESULT.c.study_uid == study_uid)).mappings().first()
    return None if row is None else _result(row)


def flagged_count(session: Session) -> int:
    """Return how many rows wait for a reader."""
    return worklist.count(session)


def _flagged(session: Session, since: datetime | None, limit: int | None, after: ResultRow | None) -> list[ResultRow]:
    behind = None
    if after is not None:
        behind = Place(after.priority or 0, after.received_at, after.study_id or 0, after.receipt_id or 0)
    places = worklist.places(session, since=since, limit=limit, after=behind)
    studies = _of_studies(session, READER_RESULT, [place.study_id for place in places if place.study_id])
    lone = {}
    for some in in_chunks([place.receipt_id for place in places if place.receipt_id]):
        columns = Receipt.id, Receipt.state, Receipt.reason, Receipt.received_at
        for row in session.execute(select(*columns).where(Receipt.id.in_(some))):
            lone[row.id] = _lone(*row)
    rows = (studies.get(place.study_id) or lone.get(place.receipt_id) for place in places)
    # the time that put a row in its place, so that the next page goes on exactly there
    return [replace(row, received_at=place.received_at) for row, place in zip(rows, places, strict=True) if row]


def _lone(receipt_id: int, state: ReceiptState, reason: str | None, received_at: datetime) -> ResultRow:
    """Return the row of `flagged_result` for a receipt without study."""
    overdue = state is ReceiptState.PENDING
    kind = FlagKind.OVERDUE if overdue else FlagKind.NO_RESULT
    values: dict[str, Any] = dict.fromkeys(field.name for field in fields(ResultRow))
    values |= {
        "outcome": Outcome.PENDING if overdue else Outcome.NO_RESULT,
        "reason": reason,
        "flags": (kind.value,),
        "annotations": (),
        "priority": FLAG_PRIORITY[kind],
        "received_at": received_at,
        "last_received_at": received_at,
        "receipt_id": receipt_id,
    }
    return ResultRow(**values)


def _of_studies(session: Session, view: TableClause, study_ids: list[int]) -> dict[int, ResultRow]:
    """Return rows of a view, worked out for these studies alone, where ordering the view would take all of them."""
    found: dict[int, ResultRow] = {}
    for some in in_chunks(study_ids):
        for row in session.execute(select(view).where(view.c.study_id.in_(some))).mappings():
            found[row["study_id"]] = _result(row)
    return found


def _result(row: RowMapping) -> ResultRow:
    values = dict(row)
    for name in ("flags", "annotations"):
        values[name] = tuple(word for word in values[name].split(",") if word)
    return ResultRow(**values)
