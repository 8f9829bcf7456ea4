"""What labels are made from: studies that were read, and which of their pictures the readers saw."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from db.judged import Judged, judged
from db.models.flag import Flag
from db.models.prediction import Prediction
from db.models.study import Image, StudyRevision
from db.models.verdict import Verdict
from db.vocabulary import FlagKind, Outcome

# in scope, and with a master
_PICTURED: Final = (Outcome.SUSPECTED, Outcome.NOT_SUSPECTED, Outcome.NO_RESULT)


@dataclass(frozen=True, slots=True)
class Evidence:
    """A study that was read, with what its verdicts may label.

    Attributes
    ----------
    pictures : tuple of str
        Master digests of its images in scope that are in force now and were classified before the revision settled
        that was read: what came later no reader has seen.
    conflict_at : datetime or None
        When its last open CONFLICT flag was raised.
    """

    judged: Judged
    pictures: tuple[str, ...]
    conflict_at: datetime | None


def evidence(session: Session) -> list[Evidence]:
    """Return every study that was read, by study number."""
    read = (
        select(StudyRevision.study_id)
        .join(Verdict, Verdict.study_revision_id == StudyRevision.id)
        .distinct()
        .scalar_subquery()
    )
    pictures: dict[int, list[tuple[str, datetime]]] = {}
    for study_id, master, classified_at in session.execute(
        select(Image.study_id, Prediction.master_digest, func.min(Prediction.created_at))
        .join(Prediction, and_(Prediction.image_id == Image.id, Prediction.master_digest == Image.master_digest))
        .where(Image.study_id.in_(read), Image.outcome.in_(_PICTURED))
        .group_by(Image.id, Image.study_id, Prediction.master_digest)
        .order_by(Image.id)
    ):
        pictures.setdefault(study_id, []).append((master, classified_at))
    conflicts = session.execute(
        select(Flag.study_id, func.max(Flag.raised_at))
        .where(Flag.study_id.in_(read), Flag.kind == FlagKind.CONFLICT, Flag.cleared_at.is_(None))
        .group_by(Flag.study_id)
    )
    conflict_at = {study_id: raised_at for study_id, raised_at in conflicts}  # noqa: C416 - rows are not pairs to mypy
    return [
        Evidence(
            judged=one,
            pictures=tuple(master for master, when in pictures.get(one.study_id, ()) if when <= one.settled_at),
            conflict_at=conflict_at.get(one.study_id),
        )
        for one in judged(session)
    ]
