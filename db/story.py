"""One study's whole story: what came, what was made of it, by which model, and what was said."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import select, union
from sqlalchemy.orm import Session

from db.models.flag import Flag
from db.models.model import ModelVersion
from db.models.prediction import Prediction
from db.models.receipt import Receipt, ReceiptRetry
from db.models.study import Image, Study, StudyRevision
from db.removal import Gone, gone
from db.verdicts import VerdictRow, verdicts
from db.vocabulary import FlagKind, Outcome, ReceiptState


@dataclass(frozen=True, slots=True)
class RetryStory:
    """One time a person put the receipt back."""

    reason: str | None
    detail: str | None
    attempts: int
    quarantined_at: datetime | None
    retried_at: datetime


@dataclass(frozen=True, slots=True)
class ReceiptStory:
    """One delivery of an instance."""

    receipt_id: int
    entry: str
    listener: str
    peer: str | None
    size: int
    state: ReceiptState
    reason: str | None
    detail: str | None
    attempts: int
    received_at: datetime
    registered_at: datetime
    due_at: datetime
    finished_at: datetime | None
    stored_at: datetime | None
    removal_policy: str | None
    removed_at: datetime | None
    image_id: int | None
    retries: tuple[RetryStory, ...]


@dataclass(frozen=True, slots=True)
class PredictionStory:
    """One answer of a model, with everything needed to give it again; `beside` where it did not come into force."""

    model: str
    bundle_digest: str
    image_revision: int
    preprocess_digest: str
    master_digest: str
    input_digest: str
    outcome: Outcome
    reason: str | None
    score: float | None
    threshold: float
    probability: float | None
    probability_threshold: float | None
    prevalence: float | None
    runtime: str
    code_version: str
    created_at: datetime
    beside: bool


@dataclass(frozen=True, slots=True)
class ImageStory:
    """One SOP instance and every prediction about it, oldest first; `master_gone` where a policy removed its pixels."""

    image_id: int
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    revision: int
    outcome: Outcome
    reason: str | None
    annotations: tuple[str, ...]
    modality: str | None
    body_part: str | None
    view: str | None
    rows: int | None
    columns: int | None
    master_digest: str | None
    master_gone: Gone | None
    predictions: tuple[PredictionStory, ...]


@dataclass(frozen=True, slots=True)
class FlagStory:
    """One flag, standing or cleared."""

    kind: FlagKind
    image_id: int | None
    study_revision: int
    reason: str | None
    raised_at: datetime
    answered_at: datetime | None
    cleared_at: datetime | None


@dataclass(frozen=True, slots=True)
class RevisionStory:
    """One settled revision."""

    revision: int
    outcome: Outcome
    images: int
    settled_at: datetime


@dataclass(frozen=True, slots=True)
class StudyStory:
    """A study from first byte to its last verdict; `outcome` is provisional until `settled_at` is set."""

    study_id: int
    study_uid: str
    accession_number: str | None
    patient_id: str | None
    study_date: date | None
    outcome: Outcome
    revision: int
    first_received_at: datetime
    last_received_at: datetime
    settled_at: datetime | None
    receipts: tuple[ReceiptStory, ...]
    images: tuple[ImageStory, ...]
    flags: tuple[FlagStory, ...]
    revisions: tuple[RevisionStory, ...]
    verdicts: tuple[VerdictRow, ...]


def trace(session: Session, term: str) -> tuple[StudyStory, ...]:
    """Tell the story of the studies that a term names, the newest first.

    Parameters
    ----------
    session : Session
        A reader.
    term : str
        An accession number, a Study Instance UID or a SOP Instance UID. One
        accession number may belong to several studies.

    Returns
    -------
    tuple of StudyStory
        Empty if nothing of that name is known.
    """
    # one lookup a kind of name: of alternatives in one condition PostgreSQL would read every study
    named = union(
        select(Study.id).where(Study.study_uid == term),
        select(Study.id).where(Study.accession_number == term),
        select(Image.study_id).where(Image.sop_instance_uid == term),
    )
    found = session.scalars(select(Study).where(Study.id.in_(named)).order_by(Study.id.desc())).all()
    return tuple(_study(session, study) for study in found)


def _study(session: Session, study: Study) -> StudyStory:
    flags = session.scalars(select(Flag).where(Flag.study_id == study.id).order_by(Flag.id))
    revisions = session.scalars(
        select(StudyRevision).where(StudyRevision.study_id == study.id).order_by(StudyRevision.revision)
    )
    return StudyStory(
        study_id=study.id,
        study_uid=study.study_uid,
        accession_number=study.accession_number,
        patient_id=study.patient_id,
        study_date=study.study_date,
        outcome=study.outcome,
        revision=study.revision,
        first_received_at=study.first_received_at,
        last_received_at=study.last_received_at,
        settled_at=study.settled_at,
        receipts=_receipts(session, study.id),
        images=_images(session, study.id),
        flags=tuple(
            FlagStory(
                *(flag.kind, flag.image_id, flag.study_revision, flag.reason),
                *(flag.raised_at, flag.answered_at, flag.cleared_at),
            )
            for flag in flags
        ),
        revisions=tuple(RevisionStory(one.revision, one.outcome, one.images, one.settled_at) for one in revisions),
        verdicts=tuple(reversed(verdicts(session, term=study.study_uid, limit=None))),
    )


def _receipts(session: Session, study_id: int) -> tuple[ReceiptStory, ...]:
    retries: dict[int, list[RetryStory]] = {}
    for one in session.scalars(
        select(ReceiptRetry)
        .join(Receipt, Receipt.id == ReceiptRetry.receipt_id)
        .where(Receipt.study_id == study_id)
        .order_by(ReceiptRetry.id)
    ):
        story = RetryStory(one.reason, one.detail, one.attempts, one.quarantined_at, one.retried_at)
        retries.setdefault(one.receipt_id, []).append(story)
    found = session.scalars(select(Receipt).where(Receipt.study_id == study_id).order_by(Receipt.id))
    return tuple(
        ReceiptStory(
            receipt_id=receipt.id,
            entry=receipt.entry,
            listener=receipt.listener,
            peer=receipt.peer,
            size=receipt.size,
            state=receipt.state,
            reason=receipt.reason,
            detail=receipt.detail,
            attempts=receipt.attempts,
            received_at=receipt.received_at,
            registered_at=receipt.registered_at,
            due_at=receipt.due_at,
            finished_at=receipt.finished_at,
            stored_at=receipt.stored_at,
            removal_policy=receipt.removal_policy,
            removed_at=receipt.removed_at,
            image_id=receipt.image_id,
            retries=tuple(retries.get(receipt.id, ())),
        )
        for receipt in found
    )


def _images(session: Session, study_id: int) -> tuple[ImageStory, ...]:
    predictions: dict[int, list[PredictionStory]] = {}
    for one, model in session.execute(
        select(Prediction, ModelVersion)
        .join(ModelVersion, ModelVersion.id == Prediction.model_version_id)
        .join(Image, Image.id == Prediction.image_id)
        .where(Image.study_id == study_id)
        .order_by(Prediction.id)
    ):
        predictions.setdefault(one.image_id, []).append(_prediction(one, model))
    found = session.scalars(select(Image).where(Image.study_id == study_id).order_by(Image.id)).all()
    removed = gone(session, [image.master_digest for image in found if image.master_digest is not None])
    return tuple(
        ImageStory(
            image_id=image.id,
            sop_instance_uid=image.sop_instance_uid,
            sop_class_uid=image.sop_class_uid,
            transfer_syntax_uid=image.transfer_syntax_uid,
            revision=image.revision,
            outcome=image.outcome,
            reason=image.reason,
            annotations=tuple(image.annotations),
            modality=image.modality,
            body_part=image.body_part,
            view=image.view,
            rows=image.rows,
            columns=image.columns,
            master_digest=image.master_digest,
            master_gone=None if image.master_digest is None else removed.get(image.master_digest),
            predictions=tuple(predictions.get(image.id, ())),
        )
        for image in found
    )


def _prediction(one: Prediction, model: ModelVersion) -> PredictionStory:
    return PredictionStory(
        model=f"{model.name} {model.version}",
        bundle_digest=model.bundle_digest,
        image_revision=one.image_revision,
        preprocess_digest=one.preprocess_digest,
        master_digest=one.master_digest,
        input_digest=one.input_digest,
        outcome=one.outcome,
        reason=one.reason,
        score=one.score,
        threshold=one.threshold,
        probability=one.probability,
        probability_threshold=one.probability_threshold,
        prevalence=one.prevalence,
        runtime=one.runtime,
        code_version=one.code_version,
        created_at=one.created_at,
        beside=one.beside,
    )
