"""Writing what was found out about one receipt: one transaction, finished under the lease or not at all.

Every function here is safe to repeat. The receipt is finished in the same
transaction, conditional on the lease token: of two workers on one receipt one
commits, and the other's writes are rolled back whole (promise 4).
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import TransientFailure
from db.base import database_now
from db.claims import finish
from db.models.prediction import Prediction
from db.models.study import Image, Study
from db.settling import reopen
from db.studies import recompute_outcome
from db.vocabulary import FlagKind, Outcome, ReceiptState
from imaging.reading import Attributes, Reading
from worker import rows
from worker.decide import RaisedFlag
from worker.flags import raise_flag, replace_image_flags
from worker.resolve import Delivered, Nature, Pixels, Resolution, resolve
from worker.stages import Judgement, KnownAlready, Read

try:
    CODE_VERSION: Final = version("lungwatch")
except PackageNotFoundError:  # a checkout that was never installed
    CODE_VERSION: Final = "0+checkout"  # type: ignore[misc]


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
    study = rows.lock_study(session, attributes, claim.received_at)
    known = rows.lock_image(session, attributes.sop_instance_uid, study)
    resolution = resolve(None if known is None else rows.in_force(*known), delivered(read, attributes, input_digest))
    if known is None:
        image = rows.new_image(session, study, attributes, claim.sha256)
        if rows.contradicts(study, attributes):
            raise_flag(session, study, image, RaisedFlag(FlagKind.CONFLICT, "PATIENT"))
        state = _come_into_force(session, study, image, read, judgement)
    else:
        image = known[0]
        state = _deliver_again(session, study, known, read, resolution, judgement=judgement)
    reason = _reason(reading, resolution, image, study)
    finish(session, claim, state, reason, reading.detail or None, study_id=image.study_id, image_id=image.id)
    recompute_outcome(session, study if known is None else known[1])
    return state


def delivered(read: Read, attributes: Attributes, input_digest: str | None = None) -> Delivered:
    """Describe a delivery for `worker.resolve`."""
    master = read.reading.master
    return Delivered(
        study_uid=attributes.study_uid,
        nature=nature(read.reading),
        dataset_sha256=read.dataset_sha256,
        pixels=Pixels(
            None if master is None else master.digest,
            None if master is None else master.pixels_digest,
            input_digest,
        ),
        put_back=read.claim.stored,
    )


def nature(reading: Reading) -> Nature:
    """Say which of its three forms a reading has."""
    if reading.rejected is not None:
        return Nature.REJECTED
    return Nature.MASTER if reading.out_of_scope is None else Nature.OUT_OF_SCOPE


def _deliver_again(
    session: Session,
    study: Study,
    known: tuple[Image, Study],
    read: Read,
    resolution: Resolution,
    *,
    judgement: Judgement | None,
) -> ReceiptState:
    """Let a delivery of an instance that is known change what it may."""
    image, home = known
    reading = read.reading
    match resolution:
        case Resolution.FIRST:
            message = "an instance that is known cannot come for the first time"
            raise AssertionError(message)
        case Resolution.REPLACE:
            image.revision += 1
            if reading.attributes is not None:
                rows.correct_study(home, reading.attributes)
            return _come_into_force(session, home, image, read, judgement)
        case Resolution.DUPLICATE:
            return ReceiptState.DUPLICATE
        case Resolution.HEADER_REVISION:
            _revise_header(session, home, image, read)
            return ReceiptState.HEADER_REVISION
        case Resolution.UNREADABLE:
            _tell(session, home, image, study, f"UNREADABLE:{reading.rejected}")
            return ReceiptState.QUARANTINED
        case Resolution.CONFLICT:
            _tell(session, home, image, study, _conflict(image, study))
            return ReceiptState.QUARANTINED if reading.rejected is not None else ReceiptState.CONFLICT


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
            session.add(_prediction(image, judgement))
            flags = decision.flags
            state = ReceiptState.CLASSIFIED
    reopen(session, study)
    replace_image_flags(session, study, image, flags)
    return state


def _revise_header(session: Session, study: Study, image: Image, read: Read) -> None:
    """Take over a corrected header; the score stays, and its row is repeated for the new revision."""
    out_of_scope = read.reading.out_of_scope
    previous = session.scalars(
        select(Prediction)
        .where(Prediction.image_id == image.id, Prediction.image_revision == image.revision)
        .order_by(Prediction.id.desc())
        .limit(1)
    ).first()
    image.revision += 1
    digests = image.master_digest, image.input_digest
    _take_over(image, read)
    image.master_digest, image.input_digest = digests
    if read.reading.attributes is not None:
        rows.correct_study(study, read.reading.attributes)
    if out_of_scope is not None:
        image.outcome, image.reason = Outcome.OUT_OF_SCOPE, out_of_scope
        replace_image_flags(session, study, image, ())
    elif previous is not None:
        session.add(_copy(previous, image.revision))
    reopen(session, study)


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


def _tell(session: Session, home: Study, image: Image, other: Study, reason: str) -> None:
    """Tell a person that a second version was not taken; where it names another study, in both."""
    flag = RaisedFlag(FlagKind.CONFLICT, reason[:64])
    raise_flag(session, home, image, flag)
    if other.id != home.id:
        raise_flag(session, other, None, flag)
        # nothing of its own is in force: it must not look as if all were well
        if recompute_outcome(session, other) is Outcome.PENDING:
            other.outcome = Outcome.NO_RESULT


def _reason(reading: Reading, resolution: Resolution, image: Image, study: Study) -> str | None:
    """Return the coded reason that a person finds on the receipt."""
    if reading.rejected is not None:
        return reading.rejected
    match resolution:
        case Resolution.CONFLICT:
            return _conflict(image, study)
        case Resolution.DUPLICATE:
            return None
        case _:
            return image.reason


def _conflict(image: Image, study: Study) -> str:
    return "PIXELS" if image.study_id == study.id else "STUDY"


def _prediction(image: Image, judgement: Judgement) -> Prediction:
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
