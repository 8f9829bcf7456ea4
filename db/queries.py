"""Results as frozen rows, for the command and the demo. Use a session of `db.base.make_readers`.

Lists that can grow take `limit` and `after`, the last row of the page before
(keyset pagination: no page is slower than the first, none skips or repeats).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import (
    ColumnClause,
    Date,
    Float,
    Integer,
    RowMapping,
    Select,
    String,
    TableClause,
    column,
    func,
    literal,
    select,
    table,
    tuple_,
)
from sqlalchemy.orm import Session

from db.base import Moment, Words
from db.vocabulary import Outcome


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
FLAGGED_RESULT: Final[TableClause] = table("flagged_result", *_columns(), column("receipt_id", Integer()))


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
    view = FLAGGED_RESULT if flagged else STUDY_RESULT
    query = _flagged_order(view, after) if flagged else _newest_order(view, after)
    if since is not None:
        query = query.where(view.c.last_received_at >= since)
    return [_result(row) for row in session.execute(query.limit(limit)).mappings()]


def result(session: Session, study_uid: str) -> ResultRow | None:
    """Return one study's row of `study_result`."""
    row = session.execute(select(STUDY_RESULT).where(STUDY_RESULT.c.study_uid == study_uid)).mappings().first()
    return None if row is None else _result(row)


def flagged_count(session: Session) -> int:
    """Return how many rows wait for a reader."""
    return session.scalars(select(func.count()).select_from(FLAGGED_RESULT)).one()


def _newest_order(view: TableClause, after: ResultRow | None) -> Select[Any]:
    query = select(view).order_by(view.c.received_at.desc(), view.c.study_id.desc())
    if after is not None:
        query = query.where(
            tuple_(view.c.received_at, view.c.study_id) < tuple_(literal(after.received_at, Moment()), after.study_id)
        )
    return query


def _flagged_order(view: TableClause, after: ResultRow | None) -> Select[Any]:
    study, receipt = func.coalesce(view.c.study_id, 0), func.coalesce(view.c.receipt_id, 0)
    query = select(view).order_by(view.c.priority, view.c.received_at, study, receipt)
    if after is not None:
        query = query.where(
            tuple_(view.c.priority, view.c.received_at, study, receipt)
            > tuple_(after.priority, literal(after.received_at, Moment()), after.study_id or 0, after.receipt_id or 0)
        )
    return query


def _result(row: RowMapping) -> ResultRow:
    values = dict(row)
    for name in ("flags", "annotations"):
        values[name] = tuple(word for word in values[name].split(",") if word)
    return ResultRow(**values)
