"""The newest reviewed weeks: what readers said lately of patients that no model was fitted on."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from db.snapshots import read_since
from db.vocabulary import Share, Side
from training.nightly.snapshot.manifest import Manifest, Picture
from training.nightly.snapshot.sides import share_of


def recent(session: Session, manifest: Manifest, since: datetime) -> tuple[Picture, ...]:
    """Return the held-out pictures whose label rests on a verdict that was read at that time or later.

    None of patients of the sealed share, frozen yet or not. A picture whose frozen label is no longer the one in
    force is left out: it would be judged by what its readers no longer say.
    """
    read = read_since(session, since)
    return tuple(
        picture
        for picture in manifest.pictures
        if picture.side is Side.HELD_OUT
        and (picture.share or share_of(picture.patient_digest)) is not Share.SEALED
        and picture.now is not None
        and picture.now.label is picture.label
        and (picture.labelled_image_id, picture.now.version) in read
    )
