"""Rows of the ledger for tests: each factory makes a valid row and whatever it hangs on.

Use inside ``with rows_in(session):``; rows are flushed, so that tests read
what the database holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, date, datetime, timedelta

import factory
from factory.alchemy import SQLAlchemyModelFactory
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.spool import Entry
from db.models.flag import Flag
from db.models.model import Heartbeat, ModelVersion
from db.models.prediction import Prediction
from db.models.receipt import Receipt
from db.models.study import Image, Study, StudyRevision
from db.models.verdict import Verdict
from db.receipts import NewReceipt
from db.registry import promote
from db.studies import create_study, lock_study
from db.vocabulary import (
    FLAG_PRIORITY,
    ChangeKind,
    FlagKind,
    ModelOrigin,
    Outcome,
    ProcessKind,
    ReceiptState,
    Urgency,
    VerdictKind,
    VerdictOrigin,
)

_session: ContextVar[Session] = ContextVar("session")

INCARNATION = "0123456789ab00000001"


@contextmanager
def rows_in(session: Session) -> Iterator[Session]:
    """Let the factories write through this session."""
    token = _session.set(session)
    try:
        yield session
    finally:
        _session.reset(token)


def ago(seconds: float) -> datetime:
    """Return an aware time in the past; negative seconds lie ahead."""
    return datetime.now(UTC) - timedelta(seconds=seconds)


def named_study(session: Session, study_uid: str, received_at: datetime) -> Study:
    """The study that a delivery names, made if need be and locked."""
    create_study(session, study_uid=study_uid, received_at=received_at)
    return lock_study(session, select(Study.id).where(Study.study_uid == study_uid).scalar_subquery())


def promoted(session: Session, model_version_id: int, expected_token: int) -> int:
    """Make a model champion as a person does; returns the new token."""
    return promote(
        session, model_version_id, expected_token, kind=ChangeKind.PROMOTED, actor="test", reason="it is a test"
    )


def digest(text: object) -> str:
    """Return some SHA-256."""
    return hashlib.sha256(str(text).encode()).hexdigest()


def entry(sequence: int, incarnation: str = INCARNATION) -> Entry:
    """Return the name of an entry whose content is its own place."""
    return Entry(incarnation, sequence, digest(f"{incarnation}-{sequence}"))


def new_receipts(
    count: int,
    *,
    first: int = 1,
    listener: str = "listener",
    received_at: datetime | None = None,
    urgency: Urgency = Urgency.ROUTINE,
) -> list[NewReceipt]:
    """Return what a registrar would register."""
    return [
        NewReceipt(entry(number), listener, 1000 + number, received_at or ago(1), "PACS", urgency)
        for number in range(first, first + count)
    ]


class RowFactory(SQLAlchemyModelFactory):
    class Meta:
        abstract = True
        sqlalchemy_session_factory = _session.get
        sqlalchemy_session_persistence = "flush"


class ModelVersionFactory(RowFactory):
    class Meta:
        model = ModelVersion

    name = "starter"
    version = factory.Sequence(lambda number: f"1.{number}")
    origin = ModelOrigin.STARTER
    bundle_digest = factory.LazyAttribute(lambda row: digest(row.version))
    location = "starter"
    architecture = "seed_regularised"
    preprocess_digest = digest("preprocess")
    threshold = 0.5
    manifest = factory.LazyFunction(dict)
    registered_at = factory.LazyFunction(lambda: ago(3600))


class StudyFactory(RowFactory):
    class Meta:
        model = Study

    study_uid = factory.Sequence(lambda number: f"1.2.826.0.1.{number}")
    accession_number = factory.Sequence(lambda number: f"A{number}")
    patient_id = factory.Sequence(lambda number: f"P{number}")
    study_date = date(2026, 1, 2)
    first_received_at = factory.LazyFunction(lambda: ago(300))
    last_received_at = factory.SelfAttribute("first_received_at")


class ImageFactory(RowFactory):
    class Meta:
        model = Image
        exclude = ("study",)

    study = factory.SubFactory(StudyFactory)
    study_id = factory.LazyAttribute(lambda row: row.study.id)
    sop_instance_uid = factory.Sequence(lambda number: f"1.2.826.0.2.{number}")
    sop_class_uid = "1.2.840.10008.5.1.4.1.1.1.1"
    transfer_syntax_uid = "1.2.840.10008.1.2.1"
    receipt_sha256 = factory.LazyAttribute(lambda row: digest(row.sop_instance_uid))
    outcome = Outcome.NOT_SUSPECTED
    annotations = factory.LazyFunction(list)


class PredictionFactory(RowFactory):
    class Meta:
        model = Prediction
        exclude = ("image", "model_version")

    image = factory.SubFactory(ImageFactory)
    model_version = factory.SubFactory(ModelVersionFactory)
    image_id = factory.LazyAttribute(lambda row: row.image.id)
    image_revision = factory.LazyAttribute(lambda row: row.image.revision)
    model_version_id = factory.LazyAttribute(lambda row: row.model_version.id)
    preprocess_digest = digest("preprocess")
    master_digest = digest("master")
    input_digest = digest("input")
    outcome = Outcome.NOT_SUSPECTED
    score = 0.1
    probability = 0.05
    prevalence = 0.5
    prevalence_offset = 0.0
    threshold = 0.5
    probability_threshold = 0.4
    runtime = "litert"
    code_version = "0"
    created_at = factory.LazyFunction(lambda: ago(60))


class ReceiptFactory(RowFactory):
    class Meta:
        model = Receipt

    class Params:
        place = factory.Sequence(lambda number: number + 1)
        named = factory.LazyAttribute(lambda row: entry(row.place))
        overdue = factory.Trait(due_at=factory.LazyFunction(lambda: ago(5)))
        quarantined = factory.Trait(
            state=ReceiptState.QUARANTINED, reason="TRUNCATED", finished_at=factory.LazyFunction(lambda: ago(1))
        )

    entry = factory.LazyAttribute(lambda row: row.named.name)
    listener = "listener"
    incarnation = factory.LazyAttribute(lambda row: row.named.incarnation)
    sequence = factory.LazyAttribute(lambda row: row.named.sequence)
    sha256 = factory.LazyAttribute(lambda row: row.named.sha256)
    size = 1000
    peer = "PACS"
    received_at = factory.LazyFunction(lambda: ago(300))
    registered_at = factory.LazyFunction(lambda: ago(299))
    due_at = factory.LazyFunction(lambda: ago(-600))
    urgency = 10
    state = ReceiptState.PENDING
    attempts = 0


class FlagFactory(RowFactory):
    class Meta:
        model = Flag
        exclude = ("study",)

    study = None
    study_id = factory.LazyAttribute(lambda row: (row.study or StudyFactory()).id)
    study_revision = factory.LazyAttribute(lambda row: row.study.revision if row.study else 1)
    kind = FlagKind.SUSPECTED
    priority = factory.LazyAttribute(lambda row: FLAG_PRIORITY[row.kind])
    raised_at = factory.LazyFunction(lambda: ago(30))
    received_at = factory.LazyAttribute(lambda row: row.study.first_received_at if row.study else row.raised_at)


class StudyRevisionFactory(RowFactory):
    class Meta:
        model = StudyRevision
        exclude = ("study",)

    study = factory.SubFactory(StudyFactory)
    study_id = factory.LazyAttribute(lambda row: row.study.id)
    revision = factory.LazyAttribute(lambda row: row.study.revision)
    outcome = Outcome.NOT_SUSPECTED
    settled_at = factory.LazyFunction(lambda: ago(200))
    images = 1


class VerdictFactory(RowFactory):
    class Meta:
        model = Verdict
        exclude = ("study_revision",)

    study_revision = factory.SubFactory(StudyRevisionFactory)
    study_revision_id = factory.LazyAttribute(lambda row: row.study_revision.id)
    reader = "reader a"
    read_at = factory.LazyFunction(lambda: ago(10))
    verdict = VerdictKind.PNEUMONIA
    model_visible = True
    origin = VerdictOrigin.COMMAND
    entered_by = "somebody"
    recorded_at = factory.LazyFunction(lambda: ago(5))
    digest = factory.Sequence(lambda number: digest(f"verdict {number}"))


class HeartbeatFactory(RowFactory):
    class Meta:
        model = Heartbeat

    process = factory.Sequence(lambda number: f"process-{number}")
    kind = ProcessKind.REGISTRAR
    host = "host"
    pid = 1
    listener = "listener"
    started_at = factory.LazyFunction(lambda: ago(600))
    seen_at = factory.LazyFunction(lambda: ago(1))
    horizon = factory.LazyFunction(lambda: ago(1))
