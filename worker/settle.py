"""Closing the revisions of quiet studies, whatever became of the registrars that settling waits for."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

from sqlalchemy.orm import Session, sessionmaker

from core import logging
from core.settings import Settings
from core.spool import SUFFIX, BadEntryName, Entry, Spool
from db.models.study import Study
from db.receipts import known
from db.settling import due, settle, silent_registrars, stand_down
from worker.audit import audit_key, draw_for_audit

log = logging.get(__name__)

_BATCH: Final = 100


def settle_due(settings: Settings, sessions: sessionmaker[Session]) -> int:
    """Settle a batch of studies that are due, each in a transaction of its own, and return how many.

    Safe from many workers at once and to repeat: a study that another one
    settled is passed over, and the audit draw is the same whoever draws.

    Raises
    ------
    Misconfigured
        If there is something to settle and the key of the audit draw cannot be used.
    """
    relieve_registrars(settings, sessions)
    with sessions.begin() as session:
        waiting = due(session, settings.settle_seconds, _BATCH)
    settled = 0
    key = audit_key(settings) if waiting else b""
    for study_id in waiting:
        with sessions.begin() as session:
            revision = settle(session, study_id, settings.settle_seconds)
            if revision is None:
                continue
            draw_for_audit(session, session.get_one(Study, study_id), settings, key)
            settled += 1
    if settled:
        log.info("studies_settled", studies=settled)
    return settled


def relieve_registrars(settings: Settings, sessions: sessionmaker[Session]) -> int:
    """Stop waiting for registrars that were killed for good and left nothing behind, and return how many.

    One whose listener was renamed or removed never comes back, and would hold
    up every study. Where files wait in its spool, or this host does not see
    it, it goes on holding them up, and `status` says so: they may belong to any study.
    """
    with sessions.begin() as session:
        silent = silent_registrars(session)
    relieved = 0
    for process, listener in silent.items():
        try:
            # the files first: one that is registered and moved away meanwhile is only seen to be gone
            waiting = _entries(Spool(settings.data_dir, listener))
        except OSError:
            continue
        with sessions.begin() as session:
            if not waiting - known(session, listener, waiting) and stand_down(session, process):
                log.warning("silent_registrar_relieved", listener=listener)
                relieved += 1
    return relieved


def _entries(spool: Spool) -> set[Entry]:
    entries = set()
    with os.scandir(spool.new) as found:
        for file in found:
            # what the listener did not name is nobody's; `reconcile` tells of it
            if file.name.endswith(SUFFIX):
                with suppress(BadEntryName):
                    entries.add(Entry.parse(file.name))
    return entries
