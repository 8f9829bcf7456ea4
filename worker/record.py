"""Writing what was found out about one receipt: one transaction, finished under the lease or not at all.

Every function here is safe to repeat. The receipt is finished in the same
transaction, conditional on the lease token: of two workers on one receipt one
commits, and the other's writes are rolled back whole (promise 4).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import TransientFailure
from db.base import database_now
from db.claims import finish
from db.models.prediction import Prediction
from db.models.study import Image, Study
from db.removal import note_kept_again
from db.settling import reopen
from db.studies import recompute_outcome, widen
from db.vocabulary import FlagKind, Outcome, ReceiptState
from imaging.reading import Attributes, MasterReference, Reading
from imaging.reasons import ScopeReason
from worker import rows
from worker.decide import RaisedFlag
from worker.flags import raise_flag, replace_image_flags
from worker.resolve import COMES_INTO_FORCE, Delivered, Nature, Pixels, Resolution, needs_every_pixel, resolve
from worker.stages import Judgement, KnownAlready, Read

try:
    CODE_VERSION: Final = version("lungwatch")
except PackageNotFoundError:  # a checkout that was never installed
    CODE_VERSION: Final = "0+checkout"  # type: ignore[misc]


@dataclass(frozen=True, slots=True)
class _Case:
    """One delivery beside what the ledger holds: the study it names, its image, and the study that image is of."""

    read: Read
    attributes: Attributes
    named: Study
    image: Image
    home: Study
    resolution: Resolution


def known_already(session: Session, known: KnownAlready) -> ReceiptState:
    """Finish a receipt whose bytes were disposed of before anything was decoded."""
    finish(session, known.claim, ReceiptState.DUPLICATE, study_id=known.study_id, image_id=known.image_id)
    return ReceiptState.DUPLICATE


def record(
    session: Session, read: Read, input_digest: str | None = None, judgement: Judgement | None = None
) -> ReceiptState:
    """Record one delivery: study, image, prediction, flags, outcomes, and the receipt's end.

    Parameters
    ----------
    session : Session
        In a transaction of its own; the caller commits.
    read : Read
        What the helper found out.
    input_digest : str or None
        Of the model input, where there is one.
    judgement : Judgement or None
        Needed where an image in scope comes into force.

    Returns
    -------
    ReceiptState
        The receipt's terminal state.

    Raises
    ------
    LeaseLost
        Roll back and drop the result.
    TransientFailure
        If the ledger changed since the worker looked and a judgement is needed after all.
    """
    reading, claim = read.reading, read.claim
    attributes = reading.attributes
    if attributes is None:
        finish(session, claim, ReceiptState.QUARANTINED, reading.rejected, reading.detail)
        return ReceiptState.QUARANTINED
    study, known = rows.lock_study_and_image(
        session,
        study_uid=attributes.study_uid,
        sop_instance_uid=attributes.sop_instance_uid,
        received_at=claim.received_at,
    )
    if reading.master is not None:
        # reading it has kept its master, which a policy may have removed long ago
        note_kept_again(session, [reading.master.digest])
    resolution = resolved(known, read, attributes, input_digest)
    image, home = known or (rows.new_image(session, study, attributes, claim.sha256), study)
    case = _Case(read, attributes, study, image, home, resolution)
    conflict = _conflict(case) if resolution is Resolution.CONFLICT else None
    state = _take(session, case, judgement) if resolution in COMES_INTO_FORCE else _decline(session, case, conflict)
    reason = None if state is ReceiptState.DUPLICATE else reading.rejected or conflict or image.reason
    # the study that the delivery names, also where the image is in force in another one
    finish(session, claim, state, reason, reading.detail or None, study_id=study.id, image_id=image.id)
    recompute_outcome(session, home)
    if study.id != home.id:
        _lacks_an_image(session, study)
    return state


def resolved(
    known: tuple[Image, Study] | None, read: Read, attributes: Attributes, input_digest: str | None = None
) -> Resolution:
    """Decide what a delivery is to what the ledger holds.

    Raises
    ------
    TransientFailure
        If another delivery came into force since the two were compared, or must be compared.
    """
    found, brought = None if known is None else rows.in_force(*known), delivered(read, attributes, input_digest)
    compared = read.compared
    if known is None or found is None or not needs_every_pixel(found, brought):
        return resolve(found, brought)
    if compared is None or compared.in_force_sha256 != known[0].receipt_sha256:
        message = "the instance changed in the ledger while it was read; it will be read again"
        raise TransientFailure(message)
    return resolve(replace(found, pixels=compared.first), replace(brought, pixels=compared.second))


def delivered(read: Read, attributes: Attributes, input_digest: str | None = None) -> Delivered:
    """Describe a delivery for `worker.resolve`."""
    master = read.reading.master
    return Delivered(
        study_uid=attributes.study_uid,
        sop_class_uid=attributes.sop_class_uid,
        nature=nature(read.reading),
        dataset_sha256=read.dataset_sha256,
        pixels=pixels(master, input_digest),
        is_image=read.reading.out_of_scope is not ScopeReason.NOT_AN_IMAGE,
        put_back=read.claim.put_back,
    )


def pixels(master: MasterReference | None, input_digest: str | None = None) -> Pixels:
    """Say what is known of a delivery's pixels."""
    return (
        Pixels(model_input=input_digest)
        if master is None
        else Pixels(master.digest, master.pixels_digest, input_digest)
    )


def nature(reading: Reading) -> Nature:
    """Say which of its three forms a reading has."""
    if reading.rejected is not None:
        return Nature.REJECTED
    return Nature.MASTER if reading.out_of_scope is None else Nature.OUT_OF_SCOPE


def _take(session: Session, case: _Case, judgement: Judgement | None) -> ReceiptState:
    """Let a delivery that comes into force change its study and image."""
    reopen(session, case.home)
    widen(case.home, case.read.claim.received_at)
    _identify(session, case)
    if case.resolution is Resolution.HEADER_REVISION:
        _revise_header(session, case.home, case.image, case.read)
        return ReceiptState.HEADER_REVISION
    if case.resolution is Resolution.REPLACE:
        case.image.revision += 1
    return _come_into_force(session, case.home, case.image, case.read, judgement)


def _decline(session: Session, case: _Case, conflict: str | None) -> ReceiptState:
    """Leave everything as it is and tell a person; where the delivery names another study, in both."""
    if case.resolution is Resolution.DUPLICATE:
        return ReceiptState.DUPLICATE
    rejected = case.read.reading.rejected
    flag = RaisedFlag(FlagKind.CONFLICT, (conflict or f"UNREADABLE:{rejected}")[:64])
    raise_flag(session, case.home, case.image, flag)
    if case.named.id != case.home.id:
        raise_flag(session, case.named, None, flag)
    return ReceiptState.CONFLICT if rejected is None else ReceiptState.QUARANTINED


def _identify(session: Session, case: _Case) -> None:
    """Let the study's row say whom a header that comes into force names; a person is told of two patients."""
    study, first = case.home, case.resolution is Resolution.FIRST
    other_patient = rows.contradicts(study, case.attributes)
    if not first:
        rows.correct_study(study, case.attributes)
    elif not other_patient:
        rows.complete_study(study, case.attributes)
    if other_patient:
        # after a correction the whole study goes by another patient's name, with all that was said of it before
        raise_flag(session, study, case.image if first else None, RaisedFlag(FlagKind.CONFLICT, "PATIENT"))


def _come_into_force(
    session: Session, study: Study, image: Image, read: Read, judgement: Judgement | None
) -> ReceiptState:
    """Let a delivery that was read decide its image's outcome."""
    reading = read.reading
    _take_over(image, read)
    match nature(reading):
        case Nature.REJECTED:
            image.outcome, image.reason = Outcome.NO_RESULT, reading.rejected
            flags: tuple[RaisedFlag, ...] = (RaisedFlag(FlagKind.NO_RESULT, reading.rejected),)
            state = ReceiptState.QUARANTINED
        case Nature.OUT_OF_SCOPE:
            image.outcome, image.reason = Outcome.OUT_OF_SCOPE, reading.out_of_scope
            flags = ()
            state = ReceiptState.OUT_OF_SCOPE
        case Nature.MASTER:
            if judgement is None:
                message = "the instance changed in the ledger while it was read; it will be read again"
                raise TransientFailure(message)
            decision = judgement.decision
            image.outcome, image.reason = decision.outcome, decision.reason
            image.input_digest = judgement.input_digest
            session.add(prediction(image, judgement))
            flags = decision.flags
            state = ReceiptState.CLASSIFIED
    replace_image_flags(session, study, image, flags)
    return state


def _revise_header(session: Session, study: Study, image: Image, read: Read) -> None:
    """Take over a corrected header; the score stays, and its row is repeated for the new revision."""
    out_of_scope = read.reading.out_of_scope
    previous = session.scalars(
        select(Prediction)
        .where(
            Prediction.image_id == image.id, Prediction.image_revision == image.revision, Prediction.beside.is_(False)
        )
        .order_by(Prediction.id.desc())
        .limit(1)
    ).first()
    image.revision += 1
    digests = image.master_digest, image.input_digest
    _take_over(image, read)
    image.master_digest, image.input_digest = digests
    if read.compared is not None:
        # what the full decode of this file gave
        image.pixels_digest = read.compared.second.decoded
    if out_of_scope is not None:
        image.outcome, image.reason = Outcome.OUT_OF_SCOPE, out_of_scope
        replace_image_flags(session, study, image, ())
    elif previous is not None:
        session.add(_copy(previous, image.revision))


def _take_over(image: Image, read: Read) -> None:
    """Let an image's row describe the delivery that comes into force."""
    reading = read.reading
    if reading.attributes is not None:
        rows.fill_image(image, reading.attributes)
    image.receipt_sha256 = read.claim.sha256
    image.dataset_sha256 = read.dataset_sha256
    image.annotations = [annotation.value for annotation in reading.annotations]
    image.master_digest = None if reading.master is None else reading.master.digest
    image.pixels_digest = None if reading.master is None else reading.master.pixels_digest
    image.input_digest = None


def _lacks_an_image(session: Session, study: Study) -> None:
    """Let a study show that an image sent for it is in force in another one: it must not look as if all were well."""
    before = study.outcome
    if recompute_outcome(session, study) is not before:
        reopen(session, study)


def _conflict(case: _Case) -> str:
    """Say in what a delivery conflicts with the image in force."""
    if case.home.id != case.named.id:
        return "STUDY"
    return "PIXELS" if case.image.sop_class_uid == case.attributes.sop_class_uid else "SOP_CLASS"


def prediction(image: Image, judgement: Judgement, *, beside: bool = False) -> Prediction:
    """Return the row for what a model said of an image as it is now; `beside` if it is not to come into force."""
    decision, stamp = judgement.decision, judgement.stamp
    return Prediction(
        image_id=image.id,
        image_revision=image.revision,
        model_version_id=stamp.model_version_id,
        preprocess_digest=stamp.preprocess_digest,
        master_digest=image.master_digest,
        input_digest=judgement.input_digest,
        outcome=decision.outcome,
        reason=decision.reason,
        score=decision.score,
        probability=decision.probability,
        prevalence=decision.prevalence,
        prevalence_offset=decision.offset,
        threshold=stamp.rules.threshold,
        probability_threshold=decision.probability_threshold,
        unfamiliarity=judgement.unfamiliarity,
        unfamiliarity_threshold=stamp.rules.unfamiliar_from,
        heat=judgement.heat,
        beside=beside,
        runtime=stamp.runtime,
        code_version=CODE_VERSION,
        created_at=database_now(),
    )


def _copy(previous: Prediction, image_revision: int) -> Prediction:
    kept = {
        column.key: getattr(previous, column.key)
        for column in Prediction.__table__.columns
        if column.key not in {"id", "image_revision"}
    }
    return Prediction(**kept, image_revision=image_revision)
