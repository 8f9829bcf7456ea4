"""What the nightly training selects from: pictures with their labels in force, page by page, and which lost pixels."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import and_, select
from sqlalchemy.orm import Session, aliased

from db.models.dataset import Label, LabelledImage
from db.removal import Gone, gone
from db.vocabulary import ImageClass, LabelOrigin


@dataclass(frozen=True, slots=True)
class Labelled:
    """A picture of a patient with its label in force.

    Attributes
    ----------
    labelled_image_id : int
        What the next page goes on behind.
    master_digest, patient_digest : str
        The picture and the patient.
    version : int
        Of the label.
    pixels_gone : Gone or None
        When and by which policy the master was removed: a snapshot lists it, training leaves it out.
    """

    labelled_image_id: int
    master_digest: str
    patient_digest: str
    version: int
    label: ImageClass
    subgroup: str | None
    origin: LabelOrigin
    pixels_gone: Gone | None


def labelled(session: Session, limit: int, after_id: int = 0) -> list[Labelled]:
    """Return a page of pictures in the order they were entered; no page is slower than the first.

    Parameters
    ----------
    session : Session
        A reader.
    limit : int
        Rows a page.
    after_id : int
        `labelled_image_id` of the last row of the page before.
    """
    later = aliased(Label)
    rows = session.execute(
        select(
            LabelledImage.id,
            LabelledImage.master_digest,
            LabelledImage.patient_digest,
            Label.version,
            Label.label,
            Label.subgroup,
            Label.origin,
        )
        .join(Label, Label.labelled_image_id == LabelledImage.id)
        .outerjoin(later, and_(later.labelled_image_id == Label.labelled_image_id, later.version > Label.version))
        .where(later.id.is_(None), LabelledImage.id > after_id)
        .order_by(LabelledImage.id)
        .limit(limit)
    ).all()
    removed = gone(session, [row.master_digest for row in rows])
    return [Labelled(*row, removed.get(row.master_digest)) for row in rows]
