"""What the watch for drift looks at: studies of some days, a bounded number of them. Use a session of `make_readers`.

Nothing here reads more than the index of the days asked for and the rows of the
studies looked at, however many there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import chain

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session

from db.base import database_now
from db.chunks import in_chunks
from db.consensus import Finding, Reading, consensus
from db.judged import reading
from db.models.flag import Flag
from db.models.learning import DriftReference
from db.models.prediction import Prediction
from db.models.receipt import Receipt
from db.models.study import Image, Study, StudyRevision
from db.models.verdict import Verdict
from db.vocabulary import FlagKind, Outcome

# raised for what the model, or whoever measures its input, saw in the image
_OF_THE_IMAGE = (FlagKind.SUSPECTED, FlagKind.UNCERTAIN, FlagKind.UNFAMILIAR, FlagKind.POOR_IMAGE, FlagKind.NO_RESULT)


@dataclass(frozen=True, slots=True)
class Days:
    """Days by UTC, and the studies first received in them.

    Attributes
    ----------
    first, last : date
        Both included.
    studies : int
        How many there are.
    looked_at : tuple of int
        Numbers of those looked at, ascending: all, or every second, third ... by number, so the same ones each time.
    """

    first: date
    last: date
    studies: int
    looked_at: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ImageSeen:
    """One image of a study looked at.

    Attributes
    ----------
    patient : str
        Who it is of: for telling patients apart in memory, never to be shown. A study without patient ID is its own.
    peer : str or None
        AE title that first sent it.
    model_version_id : int or None
        The model that answered first: later ones were asked of images that no reader had seen. The rest is its answer.
    score, unfamiliarity : float or None
        None where they are no number.
    unfamiliarity_threshold : float or None
        None where the model measures none.
    """

    study_id: int
    patient: str
    outcome: Outcome
    reason: str | None
    manufacturer: str | None
    view: str | None
    sex: str | None
    age_days: int | None
    master_digest: str | None
    peer: str | None
    model_version_id: int | None
    score: float | None
    unfamiliarity: float | None
    unfamiliarity_threshold: float | None


@dataclass(frozen=True, slots=True)
class StudyRead:
    """A study of which readers said something, those who saw what the model said and those who did not apart.

    Attributes
    ----------
    outcome : Outcome
        The model's on the revision that was read: of several the last one, read blind the first.
    finding : Finding
        What these readers say together.
    """

    study_id: int
    patient: str
    blind: bool
    outcome: Outcome
    finding: Finding


def days(session: Session, first: date, last: date, most: int) -> Days:
    """Find the studies of some days, and choose `most` of them to look at, or nearly so many."""
    within = _within(first, last)
    found = session.scalars(select(func.count()).select_from(Study).where(within)).one()
    stride = max(1, -(-found // most))
    numbers = select(Study.id).where(within, Study.id % stride == 0).order_by(Study.id)
    return Days(first, last, found, tuple(session.scalars(numbers)))


def images(session: Session, chosen: Days) -> Iterator[ImageSeen]:
    """Give every image of the studies looked at."""
    first_answer = select(func.min(Prediction.id)).where(Prediction.image_id == Image.id).correlate(Image)
    first_receipt = select(func.min(Receipt.id)).where(Receipt.image_id == Image.id).correlate(Image)
    peer = select(Receipt.peer).where(Receipt.id == first_receipt.scalar_subquery()).scalar_subquery()
    query = (
        select(
            Study.id,
            Study.issuer_of_patient_id,
            Study.patient_id,
            Image.outcome,
            Image.reason,
            Image.manufacturer,
            Image.view,
            Image.patient_sex,
            Image.patient_age_days,
            Image.master_digest,
            peer,
            Prediction.model_version_id,
            Prediction.score,
            Prediction.unfamiliarity,
            Prediction.unfamiliarity_threshold,
        )
        .join(Image, Image.study_id == Study.id)
        .outerjoin(Prediction, Prediction.id == first_answer.scalar_subquery())
    )
    # some at a time: for all at once PostgreSQL would rather read the whole table of images
    for some in in_chunks(chosen.looked_at):
        for study_id, issuer, patient_id, *rest in session.execute(query.where(Study.id.in_(some))):
            yield ImageSeen(study_id, _patient(study_id, issuer, patient_id), *rest)


def flagged(session: Session, chosen: Days) -> frozenset[int]:
    """Return which of the studies looked at have, or had, a flag that is about what an image shows."""
    query = select(Flag.study_id).where(Flag.kind.in_(_OF_THE_IMAGE)).distinct()
    chunks = (session.scalars(query.where(Flag.study_id.in_(some))) for some in in_chunks(chosen.looked_at))
    return frozenset(chain.from_iterable(chunks))


def read(session: Session, chosen: Days) -> Iterator[StudyRead]:
    """Give what readers said of the studies looked at: of each study once for those who saw, once for those blind."""
    query = (
        select(Study, StudyRevision, Verdict)
        .join(StudyRevision, StudyRevision.study_id == Study.id)
        .join(Verdict, Verdict.study_revision_id == StudyRevision.id)
        .order_by(StudyRevision.revision)
    )
    for some in in_chunks(chosen.looked_at):
        said: dict[tuple[Study, bool], dict[StudyRevision, list[Reading]]] = {}
        for study, revision, verdict in session.execute(query.where(Study.id.in_(some))):
            of_study = said.setdefault((study, not verdict.model_visible), {})
            of_study.setdefault(revision, []).append(reading(verdict))
        for (study, blind), by_revision in said.items():
            revision = next(iter(by_revision)) if blind else next(reversed(by_revision))
            yield StudyRead(
                study_id=study.id,
                patient=_patient(study.id, study.issuer_of_patient_id, study.patient_id),
                blind=blind,
                outcome=revision.outcome,
                finding=consensus(by_revision[revision]).finding,
            )


def first_day(session: Session) -> date | None:
    """Return the day on which the first study was received, None where there is none."""
    first = session.scalar(select(func.min(Study.first_received_at)))
    return None if first is None else first.astimezone(UTC).date()


def reference(session: Session) -> DriftReference | None:
    """Return the reference in force, None before there is one."""
    return session.scalars(select(DriftReference).order_by(DriftReference.id.desc()).limit(1)).first()


def set_reference(session: Session, first: date, last: date, *, actor: str, reason: str) -> None:
    """Put another reference in force; earlier ones stay on record."""
    chosen_at = session.scalars(select(database_now())).one()
    session.add(DriftReference(first=first, last=last, actor=actor, reason=reason, chosen_at=chosen_at))
    session.flush()


def _within(first: date, last: date) -> ColumnElement[bool]:
    begins, ends = (datetime.combine(day, time(), UTC) for day in (first, last + timedelta(days=1)))
    return and_(Study.first_received_at >= begins, Study.first_received_at < ends)


def _patient(study_id: int, issuer: str | None, patient_id: str | None) -> str:
    return f"{issuer or ''}\\{patient_id}" if patient_id else f"study {study_id}"
