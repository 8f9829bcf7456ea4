"""The demo's accounting: each instance sent against what the ledger says became of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from cli.demo.sender import Answer
from cli.demo.sending import Sending
from db.models.receipt import Receipt
from db.models.study import Image, Study
from db.queries import ResultRow, result
from db.vocabulary import TERMINAL, ReceiptState


@dataclass(frozen=True, slots=True)
class ReceiptFacts:
    """What the ledger holds of one receipt."""

    state: ReceiptState
    reason: str | None
    received_at: datetime
    finished_at: datetime | None
    sop_instance_uid: str | None
    master_digest: str | None
    study_uid: str | None

    @property
    def seconds(self) -> float | None:
        """Time from durable to disposed of."""
        return None if self.finished_at is None else (self.finished_at - self.received_at).total_seconds()


@dataclass(frozen=True, slots=True)
class Sent:
    """One instance that went out, and the answer."""

    sending: Sending
    answer: Answer


@dataclass(frozen=True, slots=True)
class Account:
    """One instance, accounted for or not.

    Attributes
    ----------
    problem : str or None
        Why it is not accounted for.
    """

    sending: Sending
    answer: Answer
    receipt: ReceiptFacts | None
    result: ResultRow | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far things are: receipts registered, those disposed of, studies known, those settled."""

    registered: int
    disposed: int
    studies: int
    settled: int


def progress(sessions: sessionmaker[Session]) -> Progress:
    """Count receipts and studies."""
    with sessions() as session:
        states = list(session.scalars(select(Receipt.state)))
        settled = list(session.scalars(select(Study.settled_at)))
    return Progress(
        registered=len(states),
        disposed=sum(state in TERMINAL for state in states),
        studies=len(settled),
        settled=sum(moment is not None for moment in settled),
    )


def accounts(sessions: sessionmaker[Session], sent: Sequence[Sent]) -> list[Account]:
    """Match what was sent with receipts and results.

    The nth time a SOP Instance UID was acknowledged belongs to its nth
    receipt. Receipts of which no header could be read have no UID; they go, in
    order, to what is left over.
    """
    with sessions() as session:
        waiting, unread = _receipts(session)
        matched = [_next(waiting[one.sending.sop_instance_uid]) if one.answer.acknowledged else None for one in sent]
        matched = [
            receipt or (_next(unread) if one.answer.acknowledged else None)
            for one, receipt in zip(sent, matched, strict=True)
        ]
        return [
            Account(one.sending, one.answer, receipt, row, _problem(one, receipt, row))
            for one, receipt in zip(sent, matched, strict=True)
            for row in [_result(session, one.sending, receipt)]
        ]


def surplus(sessions: sessionmaker[Session], sent: Sequence[Sent]) -> int:
    """Return how many receipts there are beyond what was acknowledged; any is an error of counting twice."""
    return progress(sessions).registered - sum(one.answer.acknowledged for one in sent)


def _receipts(session: Session) -> tuple[dict[str, list[ReceiptFacts]], list[ReceiptFacts]]:
    rows = session.execute(
        select(Receipt, Image.sop_instance_uid, Image.master_digest, Study.study_uid)
        .outerjoin(Image, Image.id == Receipt.image_id)
        .outerjoin(Study, Study.id == Receipt.study_id)
        # as they came: a listener has several processes, each with numbers of its own
        .order_by(Receipt.received_at, Receipt.id)
    )
    known: dict[str, list[ReceiptFacts]] = defaultdict(list)
    unread: list[ReceiptFacts] = []
    for receipt, sop_instance_uid, master_digest, study_uid in rows:
        facts = ReceiptFacts(
            receipt.state,
            receipt.reason,
            receipt.received_at,
            receipt.finished_at,
            sop_instance_uid,
            master_digest,
            study_uid,
        )
        (unread if facts.sop_instance_uid is None else known[facts.sop_instance_uid]).append(facts)
    return known, unread


def _next(waiting: list[ReceiptFacts]) -> ReceiptFacts | None:
    return waiting.pop(0) if waiting else None


def _result(session: Session, sending: Sending, receipt: ReceiptFacts | None) -> ResultRow | None:
    uid = (receipt.study_uid if receipt else None) or sending.study_uid
    return result(session, uid) if uid else None


def _problem(one: Sent, receipt: ReceiptFacts | None, row: ResultRow | None) -> str | None:
    if not one.answer.acknowledged:
        return f"not acknowledged: {one.answer.why}"
    if receipt is None:
        return "acknowledged, but the ledger has no receipt of it"
    if receipt.state not in TERMINAL:
        return "acknowledged, but still pending"
    if receipt.state not in one.sending.expected:
        reason = f" ({receipt.reason})" if receipt.reason else ""
        expected = " or ".join(sorted(one.sending.expected))
        return f"became {receipt.state}{reason}, expected {expected}"
    if receipt.study_uid is not None and (row is None or row.settled_at is None):
        return "its study has not settled"
    return None
