"""Double entry for the whole journey: what senders were told against what the ledger says."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from sqlalchemy import Engine, func, select

from db.base import make_readers
from db.models.prediction import Prediction
from db.models.receipt import Receipt
from db.models.study import Image, Study
from db.vocabulary import ReceiptState


@dataclass
class Told:
    """What was sent and answered, by SOP Instance UID; safe for threads.

    Attributes
    ----------
    sent : set of str
        Sent whole or in part.
    acknowledged : Counter of str
        How often each was answered 0x0000.
    failed : int
        Stores and associations that were not, and were tried again.
    """

    sent: set[str] = field(default_factory=set)
    acknowledged: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def sending(self, instance: str) -> None:
        """Note what is about to be sent."""
        with self._lock:
            self.sent.add(instance)

    def stored(self, instance: str, size: int) -> None:
        """Note an acknowledgement."""
        with self._lock:
            self.acknowledged[instance] += 1
            self.bytes += size

    def broken(self) -> None:
        """Note that a sender was not told success."""
        with self._lock:
            self.failed += 1


@dataclass
class Books:
    """What the ledger says at the end.

    Attributes
    ----------
    states : Counter of str
        Receipts by state.
    classified, scored : Counter of str
        How many classified receipts, and how many predictions, each SOP instance has.
    scores : dict
        By picture and model, every score it was given.
    """

    states: Counter[str]
    classified: Counter[str]
    scored: Counter[str]
    scores: dict[str, set[float | None]]

    @property
    def pending(self) -> int:
        """Receipts that wait."""
        return self.states[ReceiptState.PENDING]

    @property
    def predictions(self) -> int:
        """All of them."""
        return self.scored.total()

    @property
    def otherwise(self) -> Counter[str]:
        """Receipts that ended neither as a result nor as a copy of one."""
        expected = {ReceiptState.CLASSIFIED, ReceiptState.DUPLICATE, ReceiptState.PENDING}
        return Counter({state: count for state, count in self.states.items() if state not in expected})

    def lost(self, told: Told) -> set[str]:
        """Return what was acknowledged and has no result."""
        return {one for one in told.acknowledged if not (self.classified[one] and self.scored[one])}

    def twice(self) -> set[str]:
        """Return what has more than one."""
        return {one for one in self.classified if self.classified[one] > 1 or self.scored[one] > 1}

    def foreign(self, told: Told) -> set[str]:
        """Return what nobody sent."""
        return (set(self.classified) | set(self.scored)) - told.sent


def read_books(engine: Engine) -> Books:
    """Read them off the ledger."""
    with make_readers(engine)() as session:
        states = session.execute(select(Receipt.state, func.count()).group_by(Receipt.state)).tuples().all()
        classified = session.execute(
            select(Receipt.sop_instance_uid, func.count())
            .where(Receipt.state == ReceiptState.CLASSIFIED)
            .group_by(Receipt.sop_instance_uid)
        ).tuples()
        scored = session.execute(
            select(Image.sop_instance_uid, func.count())
            .join(Prediction, Prediction.image_id == Image.id)
            .group_by(Image.sop_instance_uid)
        ).tuples()
        scores: defaultdict[str, set[float | None]] = defaultdict(set)
        for accession, model, score in session.execute(
            select(Study.accession_number, Prediction.model_version_id, Prediction.score)
            .join(Image, Image.study_id == Study.id)
            .join(Prediction, Prediction.image_id == Image.id)
            .distinct()
        ):
            scores[f"{accession} under model {model}"].add(score)
        return Books(
            Counter({str(state): count for state, count in states}),
            Counter({str(one): count for one, count in classified}),
            Counter(dict(scored.all())),
            dict(scores),
        )
