"""Figures of models on sets of pictures, and how often the sealed share was opened."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.base import database_now
from db.inserting import insert
from db.models.learning import Evaluation, TestSet
from db.vocabulary import ExaminedOn


@dataclass(frozen=True, slots=True)
class NewEvaluation:
    """Figures to enter; see the columns of `db.models.learning.Evaluation`."""

    model_version_id: int
    examined_on: ExaminedOn
    test_set_id: int | None
    images: int
    patients: int
    figures: dict[str, Any]
    actor: str
    reason: str | None = None
    nightly_run_id: int | None = None


def record(session: Session, new: NewEvaluation) -> None:
    """Enter figures; a night's are entered once, and those that are there stay."""
    values = {
        "nightly_run_id": new.nightly_run_id,
        "model_version_id": new.model_version_id,
        "examined_on": new.examined_on,
        "test_set_id": new.test_set_id,
        "images": new.images,
        "patients": new.patients,
        "figures": new.figures,
        "actor": new.actor,
        "reason": new.reason,
        "made_at": database_now(),
    }
    # of figures that a person asked for each are other ones: no night is not equal to no night
    session.execute(insert(session, Evaluation).values(values).on_conflict_do_nothing())


def openings(session: Session, *, lock: bool = False) -> list[datetime]:
    """Return when the sealed share was opened, the first time first.

    Parameters
    ----------
    lock : bool
        Let nobody else who locks look until the transaction ends, so that of two openings at once one sees the other.
    """
    if lock:
        # any row would do that is always the same one; SQLite's writers are alone anyhow
        session.execute(select(TestSet.id).order_by(TestSet.id).limit(1).with_for_update()).all()
    query = select(Evaluation.made_at).where(Evaluation.examined_on == ExaminedOn.SEALED)
    return list(session.scalars(query.order_by(Evaluation.made_at)))


def now(session: Session) -> datetime:
    """Return the time by the database's clock, which openings are counted by."""
    return session.scalars(select(database_now())).one()
