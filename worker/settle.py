"""Closing the revisions of quiet studies, and drawing some for blind review."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from core import logging
from core.settings import Settings
from db.models.flag import Flag
from db.models.study import Study
from db.settling import due, settle
from db.vocabulary import FlagKind
from worker.decide import RaisedFlag
from worker.flags import raise_flag

log = logging.get(__name__)

_BATCH: Final = 100


def settle_due(settings: Settings, sessions: sessionmaker[Session]) -> int:
    """Settle a batch of studies that are due, each in a transaction of its own, and return how many.

    Safe from many workers at once and to repeat: a study that another one
    settled is passed over, and the audit draw is the same whoever draws.
    """
    with sessions.begin() as session:
        waiting = due(session, settings.settle_seconds, _BATCH)
    settled = 0
    for study_id in waiting:
        with sessions.begin() as session:
            revision = settle(session, study_id, settings.settle_seconds)
            if revision is None:
                continue
            draw_for_audit(session, session.get_one(Study, study_id), settings)
            settled += 1
    if settled:
        log.info("studies_settled", studies=settled)
    return settled


def draw_for_audit(session: Session, study: Study, settings: Settings) -> None:
    """Flag a random share of studies AUDIT, to be read blind; hold the study's lock.

    The chance is recorded with the flag, so that sensitivity in service can
    be estimated with inverse-probability weights. Flagged studies are mixed
    in, because a worklist of nothing but unflagged ones would tell the reader
    what the model said.
    """
    flagged = session.scalar(
        select(Flag.id)
        .where(Flag.study_id == study.id, Flag.cleared_at.is_(None), Flag.kind != FlagKind.AUDIT)
        .limit(1)
    )
    share = settings.audit_share if flagged is None else settings.audit_flagged_share
    if keyed_draw(settings.audit_key.get_secret_value(), study.study_uid, study.revision) < share:
        raise_flag(session, study, None, RaisedFlag(FlagKind.AUDIT), draw_probability=share)


def keyed_draw(key: str, study_uid: str, revision: int) -> float:
    """Return a number from 0 to 1, exclusive: unforeseeable without the key, the same for all who have it."""
    digest = hmac.digest(key.encode(), f"{study_uid}|{revision}".encode(), hashlib.sha256)
    return int.from_bytes(digest[:8], "big") / 2**64
