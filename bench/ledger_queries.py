"""What is measured on a large ledger: the very functions that the product calls, each with arguments drawn anew."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from bundle.calibration import Calibration
from core.spool import Entry, new_incarnation
from db import claims, receipts, removal, selection, worklist
from db.base import database_now
from db.models.dataset import LabelledImage
from db.models.study import Study
from db.quarantine import quarantined
from db.queries import ResultRow, result, results
from db.report import status
from db.settling import due
from db.story import trace
from db.vocabulary import FlagKind, Outcome, Urgency
from imaging.reading import Attributes, MasterReference, Quality, Reading
from worker.decide import Decision, DecisionRules, RaisedFlag
from worker.record import record
from worker.stages import Judgement, ModelStamp, Read

_PAGE: Final = 51
_BATCH: Final = 16


@dataclass(frozen=True, slots=True)
class Query:
    """One thing that is measured.

    Attributes
    ----------
    name : str
        For people.
    run : callable
        Given a session and randomness.
    bar_milliseconds : float or None
        What its 95th percentile must stay under.
    writes : bool
        Needs a session that may write, and is rolled back.
    """

    name: str
    run: Callable[[Session, random.Random], object]
    bar_milliseconds: float | None = None
    writes: bool = False


class Ledger:
    """Arguments that exist: how many studies there are, and pages of the worklist far down."""

    def __init__(self, session: Session) -> None:
        self.studies = session.scalars(select(func.max(Study.id))).one()
        self.pictures = session.scalars(select(func.max(LabelledImage.id))).one()
        places = worklist.places(session)
        self.waiting = len(places)
        self._places = places[:: max(1, len(places) // 500)]
        self._incarnation = new_incarnation()
        self._sequence = 0

    def accession(self, chance: random.Random) -> str:
        """Return the accession number of a study from any time."""
        return f"A{10_000_000 + chance.randrange(1, self.studies)}"

    def study_uid(self, chance: random.Random) -> str:
        """Return the UID of a study from any time."""
        return f"1.2.826.0.1.3680043.10.2.{1_000_000_000 + chance.randrange(1, self.studies)}"

    def after(self, chance: random.Random) -> ResultRow:
        """Return a row of the worklist anywhere in it, as far as it orders rows."""
        place = chance.choice(self._places)
        values: dict[str, Any] = dict.fromkeys(ResultRow.__slots__)
        values |= {"priority": place.priority, "received_at": place.received_at, "flags": (), "annotations": ()}
        values |= {"study_id": place.study_id or None, "receipt_id": place.receipt_id or None}
        return ResultRow(**values)

    def arrive(self, session: Session, count: int) -> None:
        """Register some instances that nobody has seen, urgent so that they are claimed first."""
        now = session.scalars(select(database_now())).one()
        new = []
        for _ in range(count):
            self._sequence += 1
            digest = hashlib.sha256(f"{self._incarnation}{self._sequence}".encode()).hexdigest()
            uid = f"1.2.826.0.1.3680043.10.9.{int(self._incarnation[:12], 16)}.{self._sequence}"
            entry = Entry(self._incarnation, self._sequence, digest)
            new.append(
                receipts.NewReceipt(
                    entry,
                    "listener",
                    9_000_000,
                    now - timedelta(seconds=1),
                    "PACS",
                    Urgency.URGENT,
                    "1.2.840.10008.5.1.4.1.1.1.1",
                    uid,
                )
            )
        receipts.register(session, new, 900)


def queries(ledger: Ledger) -> list[Query]:
    """Return everything that is measured."""
    return [
        Query("`SELECT 1`: what a statement takes here at least", lambda session, _: session.execute(text("SELECT 1"))),
        Query("worklist, first page", lambda session, _: results(session, flagged=True, limit=_PAGE), 50),
        Query(
            "worklist, a page further down",
            lambda session, chance: results(session, flagged=True, limit=_PAGE, after=ledger.after(chance)),
            50,
        ),
        Query("search by accession number", lambda session, chance: trace(session, ledger.accession(chance)), 50),
        Query("one study's result by its UID", lambda session, chance: result(session, ledger.study_uid(chance))),
        Query("newest studies, a page", lambda session, _: results(session, limit=_PAGE)),
        Query(
            "nightly selection, a page of 1000",
            lambda session, chance: selection.labelled(session, 1000, chance.randrange(ledger.pictures)),
        ),
        Query(
            "claim of a batch of 16", lambda session, _: claims.claim(session, _BATCH, 120, ["listener"]), writes=True
        ),
        Query("studies that may settle", lambda session, _: due(session, 60, 100)),
        Query("sweep: files left in the spool", lambda session, _: receipts.unstored(session, 200)),
        Query("all figures of `lungwatch status`", lambda session, _: status(session)),
        Query("quarantine, a page", lambda session, _: quarantined(session)),
        Query(
            "retention: a look at 1000 old receipts",
            lambda session, _: removal.removable_files(session, removal.cutoff(session, 365)),
        ),
    ]


_RULES: Final = DecisionRules(
    threshold=0.5,
    uncertain_low=0.45,
    uncertain_high=0.6,
    calibration=Calibration(slope=1.0, intercept=0.0, training_prevalence=0.5),
    smallest_side=64,
)


class Results:
    """Results put into the ledger one by one, as a worker does, of receipts that were registered and claimed."""

    def __init__(self, ledger: Ledger, stamp: ModelStamp) -> None:
        self._ledger = ledger
        self._stamp = stamp
        self._held: list[claims.Claim] = []

    def prepare(self, session: Session) -> None:
        """Have a receipt at hand; not measured."""
        if not self._held:
            self._ledger.arrive(session, _BATCH)
            # urgent, so these come first
            self._held = claims.claim(session, _BATCH, 600, ["listener"])

    def insert(self, session: Session) -> None:
        """Record a suspected image of a study of its own: study, image, prediction, flag and receipt."""
        held = self._held.pop()
        name = held.sha256
        uid = int(name[:24], 16)
        attributes = Attributes(
            study_uid=f"1.2.826.0.1.3680043.10.8.{uid}",
            sop_instance_uid=f"1.2.826.0.1.3680043.10.9.{uid}",
            sop_class_uid="1.2.840.10008.5.1.4.1.1.1.1",
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            accession_number=f"B{uid % 10**9}",
            patient_id=f"P{uid % 10**6}",
            modality="DX",
            view="AP",
        )
        master = MasterReference(_sha("master", name), _sha("pixels", name), Quality(0.5, 0.0, 2500))
        read = Read(held, Reading(attributes, master=master), _sha("dataset", name))
        decision = Decision(
            Outcome.SUSPECTED,
            flags=(RaisedFlag(FlagKind.SUSPECTED),),
            score=0.9,
            probability=0.6,
            prevalence=0.05,
            offset=-2.9,
            probability_threshold=0.4,
        )
        record(session, read, _sha("input", name), Judgement(decision, self._stamp, _sha("input", name)))


def stamp() -> ModelStamp:
    """Return the model that the loaded ledger names."""
    return ModelStamp(1, "1" * 64, "litert", _RULES)


def _sha(what: str, name: str) -> str:
    return hashlib.sha256(f"{what}{name}".encode()).hexdigest()
