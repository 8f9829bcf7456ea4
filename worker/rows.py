"""Finding, locking and filling the rows of one study and one of its images."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import TransientFailure
from core.spool import Entry
from db.models.receipt import Receipt
from db.models.study import Image, Study
from db.studies import create_study, find_image, lock_or_create_image, lock_study
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
_TWO_STUDIES: Final = "the instance came under two studies at once; it will be read again"


def lock_study_and_image(
    session: Session, *, study_uid: str, sop_instance_uid: str, received_at: datetime
) -> tuple[Study, tuple[Image, Study] | None]:
    """Lock the study that a delivery names, made if need be, and the instance with the study it is of.

    Both studies by their ids, and then the instance: two workers on one instance under two studies would otherwise
    each wait for the other.

    Returns
    -------
    tuple of Study and (Image, Study) or None
        The study named; and the instance and its study, None if it was never seen.

    Raises
    ------
    TransientFailure
        If another worker added the instance under another study in this very moment.
    """
    create_study(session, study_uid=study_uid, received_at=received_at)
    home = select(Image.study_id).where(Image.sop_instance_uid == sop_instance_uid).scalar_subquery()
    named_id, home_id = session.execute(select(Study.id, home).where(Study.study_uid == study_uid)).one()
    wanted = {named_id} if home_id is None else {named_id, home_id}
    studies = {study_id: lock_study(session, study_id) for study_id in sorted(wanted)}
    image = find_image(session, sop_instance_uid)
    if image is None:
        return studies[named_id], None
    if image.study_id not in studies:
        raise TransientFailure(_TWO_STUDIES)
    return studies[named_id], (image, studies[image.study_id])


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
        raise TransientFailure(_TWO_STUDIES)
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
