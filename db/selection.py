"""What training on a site's own studies selects from: pictures with their labels in force, and which lost pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ScalarSelect, false, select
from sqlalchemy.orm import InstrumentedAttribute, Session

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
    label_id, version : int
        Of the label.
    pixels_gone : Gone or None
        When and by which policy the master was removed: a snapshot lists it, training leaves it out.
    """

    labelled_image_id: int
    master_digest: str
    patient_digest: str
    label_id: int
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

    def newest(column: InstrumentedAttribute[Any]) -> ScalarSelect[Any]:
        of_image = select(column).where(Label.labelled_image_id == LabelledImage.id)
        return of_image.order_by(Label.version.desc()).limit(1).scalar_subquery()

    # the label of each, not a join: PostgreSQL would read all labels for it
    page = session.execute(
        select(
            LabelledImage.id,
            LabelledImage.master_digest,
            LabelledImage.patient_digest,
            newest(Label.id).label("label_id"),
        )
        # a picture is entered together with its first label; one that verdicts gave and took back has none
        .where(LabelledImage.id > after_id, newest(Label.withdrawn).is_(false()))
        .order_by(LabelledImage.id)
        .limit(limit)
    ).all()
    labels = {one.id: one for one in session.scalars(select(Label).where(Label.id.in_([row.label_id for row in page])))}
    removed = gone(session, [row.master_digest for row in page])
    return [
        Labelled(
            labelled_image_id=row.id,
            master_digest=row.master_digest,
            patient_digest=row.patient_digest,
            label_id=label.id,
            version=label.version,
            label=label.label,
            subgroup=label.subgroup,
            origin=label.origin,
            pixels_gone=removed.get(row.master_digest),
        )
        for row in page
        for label in [labels[row.label_id]]
    ]
