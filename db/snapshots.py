"""What a snapshot asks the ledger beside labels, and its row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.base import database_now
from db.inserting import insert
from db.models.dataset import DataSetImage, Label, LabelledImage, LabelVerdict
from db.models.learning import Snapshot
from db.models.study import Image
from db.models.verdict import Verdict
from db.vocabulary import LabelOrigin, Use


@dataclass(frozen=True, slots=True)
class Appearance:
    """What the headers of a picture's instances agree on; None where they differ or do not say.

    Attributes
    ----------
    sex, view, manufacturer : str or None
        As in `db.models.study.Image`.
    age_days : int or None
    rows, columns : int or None
        Of the original.
    """

    sex: str | None
    age_days: int | None
    view: str | None
    manufacturer: str | None
    rows: int | None
    columns: int | None


@dataclass(frozen=True, slots=True)
class NewSnapshot:
    """A snapshot to enter; see the columns of `db.models.learning.Snapshot`."""

    digest: str
    test_set_id: int | None
    images: int
    patients: int
    pixels_gone: int
    counts: dict[str, Any]


def uses(session: Session, labelled_image_ids: Sequence[int]) -> dict[int, frozenset[Use]]:
    """Return what imported data sets use each of these pictures for; none where it came in none."""
    rows = session.execute(
        select(DataSetImage.labelled_image_id, DataSetImage.use)
        .where(DataSetImage.labelled_image_id.in_(labelled_image_ids))
        .distinct()
    )
    found: dict[int, set[Use]] = {}
    for labelled_image_id, use in rows:
        found.setdefault(labelled_image_id, set()).add(use)
    return {number: frozenset(given) for number, given in found.items()}


def appearances(session: Session, master_digests: Sequence[str]) -> dict[str, Appearance]:
    """Return what is known of these pictures from the instances that show them."""
    columns = (Image.patient_sex, Image.patient_age_days, Image.view, Image.manufacturer, Image.rows, Image.columns)
    rows = session.execute(select(Image.master_digest, *columns).where(Image.master_digest.in_(master_digests)))
    said: dict[str, list[set[Any]]] = {}
    for master_digest, *values in rows:
        if master_digest is not None:
            for known, value in zip(said.setdefault(master_digest, [set() for _ in columns]), values, strict=True):
                known.add(value)
    return {
        master_digest: Appearance(*(next(iter(known)) if len(known) == 1 else None for known in values))
        for master_digest, values in said.items()
    }


def shared(session: Session) -> dict[str, list[tuple[int, str]]]:
    """Return the pictures that are, or were, labelled under several patients: number and patient, the first first."""
    several = (
        select(LabelledImage.master_digest).group_by(LabelledImage.master_digest).having(func.count() > 1).subquery()
    )
    rows = session.execute(
        select(LabelledImage.master_digest, LabelledImage.id, LabelledImage.patient_digest)
        .join(several, several.c.master_digest == LabelledImage.master_digest)
        .order_by(LabelledImage.id)
    )
    found: dict[str, list[tuple[int, str]]] = {}
    for master_digest, labelled_image_id, patient_digest in rows:
        found.setdefault(master_digest, []).append((labelled_image_id, patient_digest))
    return found


def record(session: Session, new: NewSnapshot) -> int:
    """Enter a snapshot, or return the row it has already."""
    values = {
        "digest": new.digest,
        "test_set_id": new.test_set_id,
        "images": new.images,
        "patients": new.patients,
        "pixels_gone": new.pixels_gone,
        "counts": new.counts,
        "taken_at": database_now(),
    }
    session.execute(insert(session, Snapshot).values(values).on_conflict_do_nothing(index_elements=["digest"]))
    return session.scalars(select(Snapshot.id).where(Snapshot.digest == new.digest)).one()


def read_since(session: Session, since: datetime) -> set[tuple[int, int]]:
    """Return pictures and versions of labels that rest on a verdict read at that time or later."""
    rows = session.execute(
        select(Label.labelled_image_id, Label.version)
        .join(LabelVerdict, LabelVerdict.label_id == Label.id)
        .join(Verdict, Verdict.id == LabelVerdict.verdict_id)
        .where(Verdict.read_at >= since, Label.origin == LabelOrigin.VERDICT)
        .distinct()
    )
    return {(labelled_image_id, version) for labelled_image_id, version in rows}
