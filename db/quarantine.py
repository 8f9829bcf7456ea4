"""Quarantine: what could not be processed, and putting it back once the cause is gone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, func, select, update
from sqlalchemy.orm import Session, sessionmaker

from core.errors import LungwatchError
from db.base import database_now
from db.models.receipt import Receipt, ReceiptRetry
from db.models.study import Study
from db.settling import reopen
from db.studies import lock_study, recompute_outcome
from db.vocabulary import IllegalMove, ReceiptState, check_move


class UnknownReceipt(LungwatchError):
    """There is no receipt of this number."""


@dataclass(frozen=True, slots=True)
class Retried:
    """What putting back all of one reason did.

    Attributes
    ----------
    reason : str
        The coded reason.
    put_back : int
        Receipts that wait again.
    left : int
        Receipts of this reason that are still in quarantine.
    """

    reason: str
    put_back: int
    left: int


@dataclass(frozen=True, slots=True)
class QuarantinedRow:
    """A quarantined receipt, as far as a person needs it to find the file and the cause."""

    receipt_id: int
    entry: str
    listener: str
    stored: bool
    reason: str | None
    detail: str | None
    attempts: int
    size: int
    peer: str | None
    received_at: datetime
    finished_at: datetime | None
    study_uid: str | None
    accession_number: str | None
    retries: int


def quarantined(
    session: Session, *, reason: str | None = None, limit: int | None = 100, after_id: int | None = None
) -> list[QuarantinedRow]:
    """Return quarantined receipts, newest first.

    Parameters
    ----------
    session : Session
        A reader.
    reason : str, optional
        Only those with this coded reason.
    limit : int or None
        Rows a page; None for all.
    after_id : int, optional
        `receipt_id` of the last row of the page before.
    """
    query = _rows().where(Receipt.state == ReceiptState.QUARANTINED).order_by(Receipt.id.desc()).limit(limit)
    if reason is not None:
        query = query.where(Receipt.reason == reason)
    if after_id is not None:
        query = query.where(Receipt.id < after_id)
    return [_row(*row) for row in session.execute(query)]


def show(session: Session, receipt_id: int) -> QuarantinedRow:
    """Return one quarantined receipt.

    Raises
    ------
    UnknownReceipt
        If there is none of this number in quarantine.
    """
    query = _rows().where(Receipt.id == receipt_id, Receipt.state == ReceiptState.QUARANTINED)
    found = session.execute(query).first()
    if found is None:
        message = f"receipt {receipt_id} is not in quarantine; see: lungwatch quarantine list"
        raise UnknownReceipt(message)
    return _row(*found)


def retry(session: Session, receipt_id: int) -> None:
    """Put a quarantined receipt back to work with its attempts reset; what was wrong is kept in `receipt_retry`.

    Its study, where known, is PENDING again, in a new revision if it had settled.
    The time by which it is due stays: to whoever waits for it, it is late.

    Raises
    ------
    UnknownReceipt
        If there is no receipt of this number.
    IllegalMove
        If it is not in quarantine.
    """
    study_id = session.scalar(select(Receipt.study_id).where(Receipt.id == receipt_id))
    # the study before its receipt, as everywhere
    study = None if study_id is None else lock_study(session, study_id)
    receipt = session.scalars(
        select(Receipt).where(Receipt.id == receipt_id).with_for_update().execution_options(populate_existing=True)
    ).first()
    if receipt is None:
        message = f"there is no receipt {receipt_id}; see: lungwatch quarantine list"
        raise UnknownReceipt(message)
    check_move(receipt.state, ReceiptState.PENDING)
    session.add(
        ReceiptRetry(
            receipt_id=receipt.id,
            reason=receipt.reason,
            detail=receipt.detail,
            attempts=receipt.attempts,
            quarantined_at=receipt.finished_at,
            retried_at=database_now(),
        )
    )
    session.execute(
        update(Receipt)
        .where(Receipt.id == receipt_id, Receipt.state == ReceiptState.QUARANTINED)
        .values(
            state=ReceiptState.PENDING,
            reason=None,
            detail=None,
            attempts=0,
            lease_token=None,
            lease_until=None,
            finished_at=None,
        )
    )
    if study is not None:
        reopen(session, study)
        recompute_outcome(session, study)


def retry_all(sessions: sessionmaker[Session], reason: str, limit: int) -> Retried:
    """Put back up to `limit` receipts that were quarantined for one reason, oldest first.

    Each is put back in a transaction of its own, as `retry` does it: studies are never locked two at a
    time, and what was put back before an interruption stays so. One that somebody else puts back meanwhile is
    passed over.
    """
    of_this_reason = (Receipt.state == ReceiptState.QUARANTINED, Receipt.reason == reason)
    with sessions() as session:
        found = session.scalars(select(Receipt.id).where(*of_this_reason).order_by(Receipt.id).limit(limit)).all()
    put_back = 0
    for receipt_id in found:
        try:
            with sessions.begin() as session:
                retry(session, receipt_id)
        except IllegalMove:
            continue
        put_back += 1
    with sessions() as session:
        left = session.scalar(select(func.count()).select_from(Receipt).where(*of_this_reason)) or 0
    return Retried(reason, put_back, left)


def _rows() -> Select[Receipt, Study, int]:
    retries = select(func.count()).where(ReceiptRetry.receipt_id == Receipt.id).scalar_subquery()
    return select(Receipt, Study, retries).outerjoin(Study, Study.id == Receipt.study_id)


def _row(receipt: Receipt, study: Study | None, retries: int) -> QuarantinedRow:
    return QuarantinedRow(
        receipt_id=receipt.id,
        entry=receipt.entry,
        listener=receipt.listener,
        stored=receipt.stored_at is not None,
        reason=receipt.reason,
        detail=receipt.detail,
        attempts=receipt.attempts,
        size=receipt.size,
        peer=receipt.peer,
        received_at=receipt.received_at,
        finished_at=receipt.finished_at,
        study_uid=None if study is None else study.study_uid,
        accession_number=None if study is None else study.accession_number,
        retries=retries,
    )
