"""Drawing studies for blind review: at random, once a study, unforeseeably for whoever sends it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.settings import Settings
from core.site_key import site_key
from db.base import database_now
from db.models.flag import Flag
from db.models.study import Study
from db.vocabulary import BLIND_FLAGS, FLAG_PRIORITY, FlagKind

KEY_FILE: Final = "audit.key"
# where a study stands in the list that has no place of its own there: among those that were flagged for their score
_STANDS_AMONG: Final = tuple(
    FLAG_PRIORITY[kind] for kind in (FlagKind.SUSPECTED, FlagKind.NO_RESULT, FlagKind.UNCERTAIN)
)


def audit_key(settings: Settings) -> bytes:
    """Return the key of the draw: the configured one, else this installation's, made if there is none.

    Raises
    ------
    Misconfigured
        If the key file cannot be read or made, or holds no key.
    """
    if settings.audit_key is not None:
        return settings.audit_key.get_secret_value().encode()
    return site_key(settings.data_dir / KEY_FILE, "the audit draw", "LUNGWATCH_AUDIT_KEY")


def draw_for_audit(session: Session, study: Study, settings: Settings, key: bytes) -> None:
    """Flag a random share of studies AUDIT, to be read blind; call when a revision settles, holding the study's lock.

    A study is drawn or passed over when it first settles, and stays so: what
    is sent later gives it no second chance. The chance it had is recorded with
    the flag, so that sensitivity in service can be estimated with
    inverse-probability weights. Flagged studies are mixed in, because a
    worklist of nothing but unflagged ones would tell the reader what the model
    said; for the same reason a drawn study without flag takes a place in the
    list such as flagged ones have.
    """
    if study.revision > 1:
        return
    flags = session.scalars(
        select(Flag).where(Flag.study_id == study.id, Flag.cleared_at.is_(None), Flag.kind != FlagKind.AUDIT)
    ).all()
    share = settings.audit_flagged_share if flags else settings.audit_share
    if keyed_draw(key, "audit", study.study_uid) < share:
        session.add(
            Flag(
                study_id=study.id,
                study_revision=study.revision,
                kind=FlagKind.AUDIT,
                priority=_priority(key, study, flags),
                draw_probability=share,
                raised_at=database_now(),
                received_at=study.first_received_at,
            )
        )


def _priority(key: bytes, study: Study, flags: Sequence[Flag]) -> int:
    """Return where an audited study stands: where its score put it, so that it loses no place, else somewhere there.

    Flags that a blind reader sees do not count: alone they would tell that there is no other.
    """
    own = [flag.priority for flag in flags if flag.kind not in BLIND_FLAGS]
    if own:
        return min(own)
    return _STANDS_AMONG[int(keyed_draw(key, "place", study.study_uid) * len(_STANDS_AMONG))]


def keyed_draw(key: bytes, purpose: str, study_uid: str) -> float:
    """Return a number from 0 to 1, exclusive: unforeseeable without the key, the same for all who have it.

    Draws for different purposes are independent of each other.
    """
    digest = hmac.digest(key, f"{purpose}|{study_uid}".encode(), hashlib.sha256)
    # 53 bits: more would round up to 1
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53
