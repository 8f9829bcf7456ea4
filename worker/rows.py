"""Finding, locking and filling the rows of one study and one of its images."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import TransientFailure
from core.spool import Entry
from db.models.receipt import Receipt
from db.models.study import Image, Study
from db.studies import find_image, lock_or_create_image, lock_study
from imaging.reading import Attributes
from worker.resolve import InForce, Pixels

# of `imaging.reading.Attributes`, what a study's row keeps and what an image's row keeps
_OF_THE_STUDY: Final = ("accession_number", "patient_id", "issuer_of_patient_id", "patient_name", "study_date")
_OF_THE_IMAGE: Final = (
    "sop_class_uid",
    "series_uid",
    "transfer_syntax_uid",
    "modality",
    "body_part",
    "view",
    "patient_age_days",
    "patient_sex",
    "manufacturer",
    "rows",
    "columns",
)


def lock_image(session: Session, sop_instance_uid: str, study: Study) -> tuple[Image, Study] | None:
    """Return the instance's row, locked, and the study it belongs to; None if it was never seen."""
    image = find_image(session, sop_instance_uid)
    if image is None:
        return None
    return image, study if image.study_id == study.id else lock_study(session, image.study_id)


def find_by_dataset(session: Session, dataset_sha256: str) -> tuple[Image, Study] | None:
    """Return the instance in force whose data set has this digest, without locking."""
    found = session.execute(
        select(Image, Study)
        .join(Study, Study.id == Image.study_id)
        .where(Image.dataset_sha256 == dataset_sha256)
        .limit(1)
    ).first()
    return None if found is None else (found[0], found[1])


def find_instance(session: Session, sop_instance_uid: str) -> tuple[Image, Study] | None:
    """Return the instance's row and its study, without locking."""
    found = session.execute(
        select(Image, Study).join(Study, Study.id == Image.study_id).where(Image.sop_instance_uid == sop_instance_uid)
    ).first()
    return None if found is None else (found[0], found[1])


def files_in_force(session: Session, image: Image) -> list[tuple[str, Entry, bool]]:
    """Return where the bytes in force for an instance were received: listener, entry, whether it was stored."""
    found = session.execute(
        select(Receipt.listener, Receipt.entry, Receipt.stored_at)
        .where(Receipt.sha256 == image.receipt_sha256)
        .order_by(Receipt.id)
    )
    return [(listener, Entry.parse(entry), stored_at is not None) for listener, entry, stored_at in found]


def in_force(image: Image, study: Study) -> InForce:
    """Describe what the ledger holds for an instance."""
    return InForce(
        study_uid=study.study_uid,
        sop_class_uid=image.sop_class_uid,
        outcome=image.outcome,
        reason=image.reason,
        dataset_sha256=image.dataset_sha256,
        pixels=Pixels(image.master_digest, image.pixels_digest, image.input_digest),
    )


def new_image(session: Session, study: Study, attributes: Attributes, receipt_sha256: str) -> Image:
    """Add an instance's row; its outcome is set by the caller in the same transaction.

    Raises
    ------
    TransientFailure
        If another worker added it under another study in this very moment.
    """
    image, made = lock_or_create_image(
        session,
        study_id=study.id,
        sop_instance_uid=attributes.sop_instance_uid,
        sop_class_uid=attributes.sop_class_uid,
        transfer_syntax_uid=attributes.transfer_syntax_uid,
        receipt_sha256=receipt_sha256,
    )
    if not made:
        message = "the instance came under two studies at once; it will be read again"
        raise TransientFailure(message)
    return image


def fill_image(image: Image, attributes: Attributes) -> None:
    """Take over an instance's attributes from a header that comes into force."""
    values = asdict(attributes)
    for name in _OF_THE_IMAGE:
        setattr(image, name, values[name])


def complete_study(study: Study, attributes: Attributes) -> None:
    """Fill what the study's row lacks from the header of an image that is new."""
    for name in _OF_THE_STUDY:
        if getattr(study, name) is None:
            setattr(study, name, getattr(attributes, name))


def correct_study(study: Study, attributes: Attributes) -> None:
    """Take over what a corrected header says of the study; an element it lacks is left as it was."""
    for name in _OF_THE_STUDY:
        value = getattr(attributes, name)
        if value is not None:
            setattr(study, name, value)


def contradicts(study: Study, attributes: Attributes) -> bool:
    """Whether a header names another patient than the study does: another ID, or another issuer of it."""
    pairs = (
        (study.patient_id, attributes.patient_id),
        (study.issuer_of_patient_id, attributes.issuer_of_patient_id),
    )
    return any(held is not None and given is not None and held != given for held, given in pairs)
