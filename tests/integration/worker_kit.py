"""A worker without its process: deliver objects as the listener would, and run the journey in the test's thread."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from bundle.calibration import Calibration
from core.clock import Clock
from core.settings import Settings
from core.spool import Entry, Spool, new_incarnation
from db import queries
from db.models.flag import Flag
from db.models.prediction import Prediction
from db.models.receipt import Receipt
from db.models.study import Image, Study
from db.queries import ResultRow
from db.receipts import NewReceipt, register
from db.registry import NewModel, install_champion_if_none
from db.registry import register as register_model
from db.vocabulary import ModelOrigin
from dicom_listener.storage.instance_file import SpoolWriter
from imaging.phantom_objects import to_bytes
from imaging.spec import PreprocessSpec
from worker.decide import DecisionRules
from worker.decode_process import DEFAULT_READER
from worker.lanes import Lanes
from worker.metrics.figures import Figures
from worker.metrics.measured import measured
from worker.pipeline import Journey
from worker.serving import Serving, Wanted, reading_rules
from worker.settle import settle_due
from worker.stages import ModelStamp

SPEC = PreprocessSpec()
Predict = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def always(score: float) -> Predict:
    return lambda inputs: np.full(len(inputs), score, np.float32)


@dataclass
class StubRuntime:
    """A runtime that says what it is told to, and counts."""

    predict_with: Predict
    name: str = "stub"
    images: int = 0
    batches: list[int] = field(default_factory=list)

    def predict(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        self.images += len(inputs)
        self.batches.append(len(inputs))
        return self.predict_with(inputs)


RULES = DecisionRules(
    threshold=0.5,
    uncertain_low=0.45,
    uncertain_high=0.6,
    calibration=Calibration(slope=1.0, intercept=0.0, training_prevalence=0.5),
    smallest_side=64,
)


def install_model(sessions: sessionmaker[Session], version: str = "1", *, champion: bool = True) -> Wanted:
    digest = hashlib.sha256(version.encode()).hexdigest()
    with sessions.begin() as session:
        row = register_model(
            session,
            NewModel(
                name="stub",
                version=version,
                origin=ModelOrigin.TRAINED,
                bundle_digest=digest,
                location=f"stub-{version}",
                architecture="stub",
                preprocess_digest=SPEC.digest(),
                threshold=RULES.threshold,
                manifest={},
            ),
        )
        if champion:
            install_champion_if_none(session, row.id)
        return Wanted(row.id, row.location, digest, version)


def make_serving(settings: Settings, wanted: Wanted, runtime: StubRuntime) -> Serving:
    stamp = ModelStamp(wanted.model_version_id, SPEC.digest(), runtime.name, RULES)
    return Serving(wanted, SPEC, runtime, stamp, reading_rules(settings, (365.0, 6 * 365.25)))


@dataclass
class HandClock:
    """Time that a test moves."""

    seconds: float = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return self.seconds


class Bench:
    """One worker's journey on a ledger, with objects delivered by hand."""

    def __init__(
        self,
        settings: Settings,
        sessions: sessionmaker[Session],
        predict: Predict | None,
        lanes: Lanes,
        clock: Clock | None = None,
        *,
        figures: Figures | None = None,
    ) -> None:
        self.settings = settings
        self.sessions = sessions
        self.figures = figures or Figures()
        self.runtime = StubRuntime(predict or always(0.9))
        self.serving = measured(make_serving(settings, install_model(sessions), self.runtime), self.figures)
        self.lanes = lanes
        self.helpers = lanes.helpers
        self.journey = Journey(settings, sessions, lanes, clock, figures=self.figures)
        self.stopping = threading.Event()
        self.ticks = 0

    def run(self) -> int:
        """Run batches until nothing waits; return how many receipts were claimed."""
        claimed = 0
        while batch := self.run_once():
            claimed += batch
        return claimed

    def run_once(self) -> int:
        return self.journey.run_batch(self.serving, self.stopping, self._tick)

    def _tick(self) -> None:
        self.ticks += 1

    def deliver(self, content: Dataset | bytes, **how: str) -> int:
        return deliver(self.settings, self.sessions, content, **how)

    def receipt(self, receipt_id: int) -> Receipt:
        with self.sessions.begin() as session:
            return session.get_one(Receipt, receipt_id)

    def study(self) -> Study:
        with self.sessions.begin() as session:
            return session.scalars(select(Study)).one()

    def images(self) -> list[Image]:
        with self.sessions.begin() as session:
            return list(session.scalars(select(Image).order_by(Image.id)))

    def predictions(self) -> list[Prediction]:
        with self.sessions.begin() as session:
            return list(session.scalars(select(Prediction).order_by(Prediction.id)))

    def results(self, *, flagged: bool = False) -> list[ResultRow]:
        with self.sessions() as session:
            return queries.results(session, flagged=flagged, limit=None)

    def settle_undrawn(self) -> None:
        """Settle without drawing any study for audit, so that no flag stands by chance."""
        nobody = self.settings.model_copy(update={"audit_share": 0.0, "audit_flagged_share": 0.0})
        settle_due(nobody, self.sessions)

    def open_flags(self) -> list[tuple[str, str | None]]:
        with self.sessions.begin() as session:
            flags = session.scalars(select(Flag).where(Flag.cleared_at.is_(None)).order_by(Flag.priority))
            return [(flag.kind.value, flag.reason) for flag in flags]


@contextmanager
def bench(
    settings: Settings,
    sessions: sessionmaker[Session],
    predict: Predict | None = None,
    reader: str = DEFAULT_READER,
    clock: Clock | None = None,
) -> Iterator[Bench]:
    figures = Figures()
    lanes = Lanes(settings, reader, figures)
    try:
        yield Bench(settings, sessions, predict, lanes, clock, figures=figures)
    finally:
        lanes.close()


# of each data directory its own, so that none has gaps
_incarnations: defaultdict[Path, tuple[str, Iterator[int]]] = defaultdict(
    lambda: (new_incarnation(), itertools.count(1))
)


def deliver(
    settings: Settings,
    sessions: sessionmaker[Session],
    content: Dataset | bytes,
    *,
    peer: str = "PACS",
    listener: str = "listener",
    instance: str | None = None,
) -> int:
    """Put an instance into the spool as the listener does, register it, and return its receipt.

    `instance` is what the listener would have read in a file that is given as bytes.
    """
    data = content if isinstance(content, bytes) else from_peer(content, peer)
    incarnation, sequence = _incarnations[settings.data_dir]
    entry = Entry(incarnation, next(sequence), hashlib.sha256(data).hexdigest())
    spool = Spool(settings.data_dir.resolve(), listener)
    spool.new.mkdir(parents=True, exist_ok=True)
    spool.path(entry).write_bytes(data)
    # as the listener does: deliveries of one instance are then read one after another
    instance = instance if isinstance(content, bytes) else content.SOPInstanceUID
    received = NewReceipt(entry, listener, len(data), datetime.now(UTC), peer, sop_instance_uid=instance)
    with sessions.begin() as session:
        register(session, [received], settings.overdue_seconds)
        return session.scalars(select(Receipt.id).where(Receipt.entry == entry.name)).one()


def spool(settings: Settings, content: Dataset | bytes) -> Entry:
    """Leave an instance in the spool as the listener does, for the registrar to find."""
    file = SpoolWriter(Spool(settings.data_dir.resolve(), settings.listener_name)).begin()
    file.write(content if isinstance(content, bytes) else to_bytes(content))
    return file.commit()


def from_peer(dataset: Dataset, peer: str) -> bytes:
    """Write the data set as it would be stored when this peer sent it: only the file meta names the sender."""
    copy = dcmread(BytesIO(to_bytes(dataset)))
    copy.file_meta.SendingApplicationEntityTitle = peer
    stream = BytesIO()
    copy.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
