"""Versions of the frozen test set: what is in each, and entering the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core.errors import TransientFailure
from db.base import database_now
from db.chunks import in_chunks
from db.models.dataset import Label, LabelledImage
from db.models.learning import TestSet, TestSetImage
from db.vocabulary import ImageClass, LabelOrigin, Share


@dataclass(frozen=True, slots=True)
class Frozen:
    """A picture of a version of the test set, with the label that is frozen."""

    labelled_image_id: int
    master_digest: str
    patient_digest: str
    share: Share
    label_id: int
    version: int
    label: ImageClass
    subgroup: str | None
    origin: LabelOrigin


@dataclass(frozen=True, slots=True)
class NewTestSet:
    """A version to enter.

    Attributes
    ----------
    images : sequence of (int, int, Share)
        `labelled_image_id`, `label_id` and share of each.
    """

    version: int
    digest: str
    actor: str
    reason: str
    images: Sequence[tuple[int, int, Share]]


def versions(session: Session) -> list[TestSet]:
    """Return all versions, the first first."""
    return list(session.scalars(select(TestSet).order_by(TestSet.version)))


def find(session: Session, version: int | None = None) -> TestSet | None:
    """Return a version, else the one in force; None where there is none."""
    query = select(TestSet).order_by(TestSet.version.desc()).limit(1)
    return session.scalars(query if version is None else query.where(TestSet.version == version)).first()


def frozen(session: Session, test_set_id: int, share: Share | None = None) -> list[Frozen]:
    """Return the pictures of a version, or of one share of it, by number."""
    query = (
        select(
            LabelledImage.id,
            LabelledImage.master_digest,
            LabelledImage.patient_digest,
            TestSetImage.share,
            Label.id,
            Label.version,
            Label.label,
            Label.subgroup,
            Label.origin,
        )
        .join(TestSetImage, TestSetImage.labelled_image_id == LabelledImage.id)
        .join(Label, Label.id == TestSetImage.label_id)
        .where(TestSetImage.test_set_id == test_set_id)
        .order_by(LabelledImage.id)
    )
    if share is not None:
        query = query.where(TestSetImage.share == share)
    return [Frozen(*row) for row in session.execute(query)]


def record(session: Session, new: NewTestSet) -> int:
    """Enter the next version and return its number in the ledger; the caller commits, all or nothing.

    Raises
    ------
    TransientFailure
        If somebody else entered that version meanwhile.
    """
    values = {"version": new.version, "digest": new.digest, "actor": new.actor, "reason": new.reason}
    try:
        made = session.scalars(insert(TestSet).values(**values, frozen_at=database_now()).returning(TestSet.id)).one()
    except IntegrityError as error:
        raise TransientFailure("somebody else froze a test set meanwhile; look at what it holds now") from error
    for images in in_chunks(new.images):
        rows: list[dict[str, Any]] = [
            {"test_set_id": made, "labelled_image_id": image, "label_id": label, "share": share}
            for image, label, share in images
        ]
        session.execute(insert(TestSetImage), rows)
    return made
