"""Studies drawn for blind review, and what was read of them without seeing what the model said."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.consensus import Finding, Reading, consensus
from db.judged import reading
from db.models.flag import Flag
from db.models.study import Study, StudyRevision
from db.models.verdict import Verdict
from db.vocabulary import FlagKind, Outcome


@dataclass(frozen=True, slots=True)
class Draw:
    """One drawn study.

    Attributes
    ----------
    patient : str
        Who it is of: for telling patients apart in memory, never to be shown. A study without patient ID is its own.
    probability : float
        The chance it had of being drawn, above 0 to 1.
    drawn_outcome : Outcome
        Of the revision it was drawn on.
    finding : Finding or None
        What its readers say who could not see the model's output, on the first revision that such a one read; None
        where there is none.
    read_outcome : Outcome or None
        The model's on that revision.
    seen : bool
        Nobody read it blind, but somebody did who could see the model's output.
    """

    patient: str
    probability: float
    drawn_outcome: Outcome
    finding: Finding | None
    read_outcome: Outcome | None
    seen: bool


def draws(session: Session, *, since: datetime | None = None, until: datetime | None = None) -> list[Draw]:
    """Return the studies that were drawn, by study number.

    Parameters
    ----------
    since, until : datetime, optional
        Only those drawn, that is first settled, at or after the one and before the other.
    """
    query = (
        select(Flag.draw_probability, Study, StudyRevision)
        .join(Study, Study.id == Flag.study_id)
        .join(
            StudyRevision,
            (StudyRevision.study_id == Flag.study_id) & (StudyRevision.revision == Flag.study_revision),
        )
        .where(Flag.kind == FlagKind.AUDIT, Flag.draw_probability > 0)
        .order_by(Study.id)
    )
    if since is not None:
        query = query.where(StudyRevision.settled_at >= since)
    if until is not None:
        query = query.where(StudyRevision.settled_at < until)
    drawn = session.execute(query).all()
    read: dict[int, list[tuple[StudyRevision, Reading]]] = {}
    of_drawn = select(Flag.study_id).where(Flag.kind == FlagKind.AUDIT)
    for revision, verdict in session.execute(
        select(StudyRevision, Verdict)
        .join(Verdict, Verdict.study_revision_id == StudyRevision.id)
        .where(StudyRevision.study_id.in_(of_drawn))
        .order_by(StudyRevision.revision)
    ):
        read.setdefault(revision.study_id, []).append((revision, reading(verdict)))
    return [
        _draw(probability, study, first, read.get(study.id, ()))
        for probability, study, first in drawn
        if probability is not None
    ]


def _draw(
    probability: float, study: Study, first: StudyRevision, read: Iterable[tuple[StudyRevision, Reading]]
) -> Draw:
    # whoever changes his mind once the model's output is shown has been told: what he said blind is what counts
    blind = [(revision, one) for revision, one in read if not one.model_visible]
    on = blind[0][0] if blind else None
    said = None if on is None else consensus(one for revision, one in blind if revision.id == on.id)
    return Draw(
        patient=f"{study.issuer_of_patient_id or ''}\\{study.patient_id}" if study.patient_id else f"study {study.id}",
        probability=probability,
        drawn_outcome=first.outcome,
        finding=None if said is None else said.finding,
        read_outcome=None if on is None else on.outcome,
        seen=on is None and any(True for _ in read),
    )
