"""Studies and images: made once under concurrency, locked while they change, summed up to one outcome.

Lock order: a study that is new is made first, then studies by their ids, then images; whoever keeps it cannot
deadlock.
Values are plain, so that nothing here knows how a header is read.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import and_, bindparam, exists, or_, select
from sqlalchemy.orm import Session, aliased

from db.inserting import insert
from db.models.receipt import Receipt
from db.models.study import Image, Study
from db.vocabulary import GOOD_STATES, OUTCOME_PRECEDENCE, Outcome, ReceiptState

# Built once: to put these together for every image takes longer than to run them.
_STUDY: Final = bindparam("study_id", type_=Study.id.type)
_OUTCOMES: Final = select(Image.outcome).where(Image.study_id == _STUDY).distinct()
_OTHER: Final = aliased(Receipt)
_LACKS_RESULT: Final = exists().where(
    Receipt.study_id == _STUDY,
    or_(
        and_(
            Receipt.state == ReceiptState.QUARANTINED,
            ~exists().where(
                _OTHER.image_id == Receipt.image_id,
                _OTHER.study_id == Receipt.study_id,
                _OTHER.state.in_(GOOD_STATES),
            ),
        ),
        and_(
            Receipt.state == ReceiptState.CONFLICT,
            exists().where(Image.id == Receipt.image_id, Image.study_id != Receipt.study_id),
        ),
    ),
)
_BACK_AT_WORK: Final = exists().where(Receipt.study_id == _STUDY, Receipt.state == ReceiptState.PENDING)
_UNJUDGED: Final = select(_LACKS_RESULT, _BACK_AT_WORK)


def create_study(session: Session, *, study_uid: str, received_at: datetime) -> None:
    """Make the study if need be; hold no lock yet, for another worker may be making it.

    One that is found keeps its values, the times of first and last receipt among
    them (`widen`): not every delivery that names a study may change it.

    Parameters
    ----------
    session : Session
        A session that may write.
    study_uid : str
        (0020,000D) *Study Instance UID*.
    received_at : datetime
        When the instance became durable; aware.
    """
    session.execute(
        insert(session, Study)
        .values(
            study_uid=study_uid,
            revision=1,
            outcome=Outcome.PENDING,
            first_received_at=received_at,
            last_received_at=received_at,
        )
        .on_conflict_do_nothing()
    )


def widen(study: Study, received_at: datetime) -> None:
    """Count an instance that comes into force into the times of a study that is locked.

    A study settles when nothing came for a while; what is not taken puts nothing off.
    """
    study.first_received_at = min(study.first_received_at, received_at)
    study.last_received_at = max(study.last_received_at, received_at)


def lock_study(session: Session, study_id: object) -> Study:
    """Return a study as the database holds it now, locked until the transaction ends."""
    return session.scalars(
        select(Study).where(Study.id == study_id).with_for_update().execution_options(populate_existing=True)
    ).one()


def find_image(session: Session, sop_instance_uid: str) -> Image | None:
    """Return the image of a SOP instance as the database holds it now, locked; lock its study first."""
    return session.scalars(
        select(Image)
        .where(Image.sop_instance_uid == sop_instance_uid)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).first()


def lock_or_create_image(
    session: Session,
    *,
    study_id: int,
    sop_instance_uid: str,
    sop_class_uid: str,
    transfer_syntax_uid: str,
    receipt_sha256: str,
) -> tuple[Image, bool]:
    """Return the image, locked, and whether this call made it.

    A found image keeps its values and may belong to another study than the one
    asked for, where a sender gave one SOP Instance UID to two studies.
    """
    made = session.execute(
        insert(session, Image)
        .values(
            study_id=study_id,
            sop_instance_uid=sop_instance_uid,
            sop_class_uid=sop_class_uid,
            transfer_syntax_uid=transfer_syntax_uid,
            receipt_sha256=receipt_sha256,
            revision=1,
            outcome=Outcome.PENDING,
            annotations=[],
        )
        .on_conflict_do_nothing()
        .returning(Image.id)
    ).first()
    image = find_image(session, sop_instance_uid)
    if image is None:  # images are never deleted
        raise AssertionError("an image vanished inside the transaction that saw it")
    return image, made is not None


def recompute_outcome(session: Session, study: Study) -> Outcome:
    """Set the study's outcome from everything known of it; hold its lock.

    Takes the first of `OUTCOME_PRECEDENCE` among its images, its instances that
    lack a result (NO_RESULT) and its receipts put back to work (PENDING). A study
    that has none of these is NO_RESULT.

    An instance lacks a result that was sent for this study and not judged, whatever
    its images say: a quarantined one of which no other copy of this study could be
    read, and one whose SOP Instance UID is in force in another study. A copy that was
    read before stays in force (promise 5); that a later one was unreadable is told by
    a CONFLICT flag.
    """
    session.flush()
    found = set(session.scalars(_OUTCOMES, {"study_id": study.id}))
    lacks_result, back_at_work = session.execute(_UNJUDGED, {"study_id": study.id}).one()
    if lacks_result:
        found.add(Outcome.NO_RESULT)
    if back_at_work:
        found.add(Outcome.PENDING)
    study.outcome = next((outcome for outcome in OUTCOME_PRECEDENCE if outcome in found), Outcome.NO_RESULT)
    session.flush()
    return study.outcome
