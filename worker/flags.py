"""Raising and clearing flags; a cleared flag stays as a row, so that what a reader saw can be told later."""

from __future__ import annotations

from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.base import database_now
from db.models.flag import Flag
from db.models.study import Image, Study
from db.vocabulary import FlagKind, Outcome
from worker.decide import RaisedFlag

# what follows from one image's pixels and score; the others are about the study or about a person's attention
OF_THE_IMAGE: Final = frozenset(
    {FlagKind.SUSPECTED, FlagKind.UNCERTAIN, FlagKind.UNFAMILIAR, FlagKind.POOR_IMAGE, FlagKind.NO_RESULT}
)
# of these, what a reader waits for: they may go because the image was judged again, never for less
_JUDGED: Final = frozenset({FlagKind.SUSPECTED, FlagKind.UNCERTAIN, FlagKind.NO_RESULT})


def replace_image_flags(session: Session, study: Study, image: Image, raised: tuple[RaisedFlag, ...]) -> None:
    """Make an image's own flags those that are raised now; the study must be locked.

    Where an image that somebody should have looked at is out of scope now, CONFLICT keeps it in the reader's list:
    a header may be corrected, and it may be wrong.
    """
    wanted = {flag.kind for flag in raised}
    standing = session.scalars(
        select(Flag).where(Flag.image_id == image.id, Flag.cleared_at.is_(None), Flag.kind.in_(OF_THE_IMAGE))
    )
    taken_away = [flag for flag in standing if flag.kind not in wanted]
    for flag in taken_away:
        flag.cleared_at = database_now()
    for new in raised:
        raise_flag(session, study, image, new)
    if image.outcome is Outcome.OUT_OF_SCOPE and any(flag.kind in _JUDGED for flag in taken_away):
        raise_flag(session, study, image, RaisedFlag(FlagKind.CONFLICT, "SCOPE"))


def raise_flag(session: Session, study: Study, image: Image | None, raised: RaisedFlag) -> None:
    """Let a flag stand in the study's present revision; one that stands and waits already is left as it is.

    One that a reader has answered waits anew: what it is raised for now, nobody has read. A CONFLICT that waits is
    about one delivery more: who read before that came has not seen it.
    """
    about = Flag.image_id.is_(None) if image is None else Flag.image_id == image.id
    same_kind = list(session.scalars(select(Flag).where(Flag.study_id == study.id, about, Flag.kind == raised.kind)))
    waiting = [flag for flag in same_kind if flag.cleared_at is None and flag.answered_at is None]
    if waiting:
        if raised.kind is FlagKind.CONFLICT:
            waiting[0].raised_at = database_now()
        return
    for flag in same_kind:
        if flag.study_revision == study.revision or flag.cleared_at is None:
            flag.cleared_at = flag.answered_at = None
            flag.reason = raised.reason
            flag.raised_at = database_now()
            flag.received_at = study.first_received_at
            return
    session.add(
        Flag(
            study_id=study.id,
            image_id=None if image is None else image.id,
            study_revision=study.revision,
            kind=raised.kind,
            priority=raised.priority,
            reason=raised.reason,
            raised_at=database_now(),
            received_at=study.first_received_at,
        )
    )
