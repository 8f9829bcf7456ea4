"""What a challenger in the shadow says of live images: kept apart from predictions, where no view or flag looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, func, select, tuple_
from sqlalchemy.orm import Session

from db.base import database_now
from db.inserting import insert
from db.models.prediction import Prediction
from db.models.rescoring import ShadowPrediction
from db.models.study import Image, Study
from db.rescoring import classified
from db.vocabulary import Outcome

# SQLite of old takes 999 parameters
_STUDIES: Final = 400


@dataclass(frozen=True, slots=True)
class Live:
    """An image in force that the champion has judged and the challenger has not."""

    image_id: int
    image_revision: int
    master_digest: str


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a look at studies came."""

    last_received_at: datetime
    study_id: int


@dataclass(frozen=True, slots=True)
class Said:
    """What the challenger made of an image; `score` is None where it was no finite number."""

    image_id: int
    image_revision: int
    outcome: Outcome
    score: float | None


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of images, as they are in force.

    Attributes
    ----------
    images : int
        That the challenger scored.
    compared : int
        Of these, those that the champion scored as well; the others count in nothing below.
    suspected, champion_suspected : int
        SUSPECTED by either.
    no_result, champion_no_result : int
        NO_RESULT by either.
    """

    images: int
    compared: int
    suspected: int
    champion_suspected: int
    no_result: int
    champion_no_result: int


def unscored(
    session: Session, model_version_id: int, since: datetime, after: Mark | None = None
) -> tuple[list[Live], Mark | None]:
    """Look at the next so many studies and return what the challenger has not scored of them.

    Parameters
    ----------
    session : Session
        Any session.
    since : datetime
        Only studies of which something was received at or after this.
    after : Mark, optional
        Where the look before ended.

    Returns
    -------
    list of Live
        May be empty before the end.
    Mark or None
        Where to go on; None at the end.
    """
    window = (
        select(Study.last_received_at, Study.id)
        .where(Study.last_received_at >= since)
        .order_by(Study.last_received_at, Study.id)
        .limit(_STUDIES)
    )
    if after is not None:
        window = window.where(tuple_(Study.last_received_at, Study.id) > tuple_(after.last_received_at, after.study_id))
    seen = [Mark(received_at, number) for received_at, number in session.execute(window)]
    if not seen:
        return [], None
    said = (
        select(ShadowPrediction.id)
        .where(
            ShadowPrediction.model_version_id == model_version_id,
            ShadowPrediction.image_id == Image.id,
            ShadowPrediction.image_revision == Image.revision,
        )
        .exists()
    )
    query = (
        select(Image.id, Image.revision, Image.master_digest)
        .where(Image.study_id.in_([mark.study_id for mark in seen]), classified(), ~said)
        .order_by(Image.id)
    )
    found = [Live(row.id, row.revision, row.master_digest) for row in session.execute(query) if row.master_digest]
    return found, seen[-1]


def note(session: Session, model_version_id: int, said: Sequence[Said]) -> None:
    """Keep what the challenger said; what it said before of the same images stays."""
    rows = [
        {
            "model_version_id": model_version_id,
            "image_id": one.image_id,
            "image_revision": one.image_revision,
            "outcome": one.outcome,
            "score": one.score,
            "created_at": database_now(),
        }
        for one in said
    ]
    for row in rows:
        session.execute(insert(session, ShadowPrediction).values(row).on_conflict_do_nothing())


def tally(session: Session, model_version_id: int, champion_id: int, since: datetime) -> Tally:
    """Count what challenger and champion said of the same live images, received since then."""
    both = Prediction.id
    query = (
        select(
            func.count(),
            func.count(both),
            func.count(both).filter(ShadowPrediction.outcome == Outcome.SUSPECTED),
            func.count(both).filter(Prediction.outcome == Outcome.SUSPECTED),
            func.count(both).filter(ShadowPrediction.outcome == Outcome.NO_RESULT),
            func.count(both).filter(Prediction.outcome == Outcome.NO_RESULT),
        )
        .select_from(ShadowPrediction)
        .join(Image, _present())
        .join(Study, Study.id == Image.study_id)
        .outerjoin(
            Prediction,
            (Prediction.image_id == Image.id)
            & (Prediction.image_revision == Image.revision)
            & (Prediction.model_version_id == champion_id),
        )
        .where(ShadowPrediction.model_version_id == model_version_id, Study.last_received_at >= since)
    )
    return Tally(*session.execute(query).one())


def _present() -> ColumnElement[bool]:
    # what was said of an earlier revision is history
    return (Image.id == ShadowPrediction.image_id) & (Image.revision == ShadowPrediction.image_revision)
