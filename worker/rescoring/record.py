"""Writing what a new champion said of an image that has a result: it may put a study on the reader's list, never off.

The new result comes into force only where it outdoes the one that shows. Else
it is kept beside it: outcome, flags, probability and model of the study stay
those of the revision that readers and deliveries name.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.errors import TransientFailure
from db.answering import waits
from db.models.flag import Flag
from db.models.study import Image, Study
from db.rescoring import Again, finish, why_not
from db.settling import reopen
from db.studies import lock_study, recompute_outcome
from db.vocabulary import OUTCOME_PRECEDENCE, FlagKind, Outcome, Unscored
from worker.decide import Decision
from worker.flags import OF_THE_IMAGE, raise_flag
from worker.record import prediction
from worker.stages import Judgement


def record_again(session: Session, again: Again, judgement: Judgement) -> Unscored | None:
    """Record a second judgement: prediction, flags, outcomes, and the end of the row that asked for it.

    Safe to repeat: the row is finished in the same transaction, conditional on
    its token. The study is locked, so whatever a reader or a delivery did
    before is seen, and what they do after is about the revision opened here.

    Returns
    -------
    Unscored or None
        Why it was skipped after all; None if it was recorded.

    Raises
    ------
    LeaseLost
        Roll back and drop the result.
    TransientFailure
        If the image changed since it was claimed.
    """
    study = lock_study(session, select(Image.study_id).where(Image.id == again.image_id).scalar_subquery())
    image = session.scalars(
        select(Image).where(Image.id == again.image_id).with_for_update().execution_options(populate_existing=True)
    ).one()
    skipped = why_not(session, again, judgement.stamp.model_version_id)
    if skipped is not None:
        finish(session, again, skipped)
        return skipped
    if (image.revision, image.master_digest) != (again.image_revision, again.master_digest):
        message = "the image changed in the ledger while it was scored again; it will be looked at again"
        raise TransientFailure(message)
    better = outdoes(judgement.decision, image.outcome, _waiting(session, image))
    if better or _read_blind(session, study):
        # Of a study that is to be read blind, the revision counts up whatever was said: else it would tell.
        reopen(session, study)
    image.input_digest = judgement.input_digest
    session.add(prediction(image, judgement, beside=not better))
    if better:
        image.outcome, image.reason = judgement.decision.outcome, judgement.decision.reason
        for flag in judgement.decision.flags:
            raise_flag(session, study, image, flag)
        recompute_outcome(session, study)
    finish(session, again)
    return None


def outdoes(decision: Decision, outcome: Outcome, waiting: Iterable[int]) -> bool:
    """Whether a new result must come into force: it gives a reader more reason to look than what stands.

    Parameters
    ----------
    decision : Decision
        Of the new champion.
    outcome : Outcome
        Of the image now.
    waiting : iterable of int
        Priorities of the image's own flags that wait for a reader; smaller is sooner.
    """
    new, old = (OUTCOME_PRECEDENCE.index(one) for one in (decision.outcome, outcome))
    if new != old:
        return new < old
    return min((flag.priority for flag in decision.flags), default=math.inf) < min(waiting, default=math.inf)


def _waiting(session: Session, image: Image) -> list[int]:
    return list(
        session.scalars(select(Flag.priority).where(Flag.image_id == image.id, Flag.kind.in_(OF_THE_IMAGE), waits()))
    )


def _read_blind(session: Session, study: Study) -> bool:
    drawn = select(Flag.id).where(Flag.study_id == study.id, Flag.kind == FlagKind.AUDIT, waits())
    return session.scalar(drawn.limit(1)) is not None
