"""The reference: fixed weeks, so that slow change shows. The first is set by itself, another one by a person."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

from sqlalchemy.orm import Session, sessionmaker

from core.errors import LungwatchError
from core.settings import Settings
from db import drift as ledger

ITSELF: Final = "lungwatch"
# with fewer no measure could tell even strong drift
FEWEST_STUDIES: Final = 200


class BadReference(LungwatchError):
    """These days cannot be what later ones are held against."""


def ensure_reference(settings: Settings, sessions: sessionmaker[Session], today: date) -> bool:
    """Set the reference where there is none yet and enough was received: the newest days before today.

    Safe to repeat; once there is one, this changes nothing.

    Returns
    -------
    bool
        Whether it was set now.
    """
    length = timedelta(days=settings.drift_reference_days)
    with sessions.begin() as session:
        begun = ledger.first_day(session)
        if ledger.reference(session) is not None or begun is None or begun > today - length:
            return False
        first, last = today - length, today - timedelta(days=1)
        if ledger.days(session, first, last, 1).studies < FEWEST_STUDIES:
            return False
        reason = f"the first {settings.drift_reference_days} days with enough to compare with"
        ledger.set_reference(session, first, last, actor=ITSELF, reason=reason)
    return True


def replace_reference(session: Session, first: date, last: date, today: date, *, actor: str, reason: str) -> int:
    """Set another reference, because a person says why.

    Returns
    -------
    int
        Studies first received in it.

    Raises
    ------
    BadReference
        If its days are in the wrong order or not over, or there is too little in them.
    """
    if not first <= last < today:
        raise BadReference("a reference ends no earlier than it begins, and before today (by UTC)")
    studies = ledger.days(session, first, last, 1).studies
    if studies < FEWEST_STUDIES:
        raise BadReference(
            f"{studies} studies were received from {first} to {last}; take a period with {FEWEST_STUDIES} or more"
        )
    ledger.set_reference(session, first, last, actor=actor, reason=reason)
    return studies
