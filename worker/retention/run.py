"""One run of retention; read this first.

==================  =========================  ===============================================
step                where                      durable afterwards
==================  =========================  ===============================================
finish the former   `stored`, `masters`        what a run that died had decided is done or taken back
choose              `db.removal`               nothing
decide              `db.removal`               the policy's name, with the receipt or the master's digest
remove              `stored`, `masters`        the file is gone; its study is locked
note                `db.removal`               when it was gone
==================  =========================  ===============================================

A run may die after any of them. Only the policies' days decide what goes, never how full the disk is.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

from sqlalchemy.orm import Session, sessionmaker

from core import logging
from core.errors import LungwatchError
from core.settings import Settings
from db import retention_runs
from db.retention_runs import Removed
from worker.retention.masters import Masters
from worker.retention.policy import Policies
from worker.retention.stored import StoredFiles

log = logging.get(__name__)

# a batch takes a second or two; a walk through millions of masters that finds nothing, minutes
_LEASE_SECONDS = 3600.0


def run(
    settings: Settings, sessions: sessionmaker[Session], go_on: Callable[[Removed], bool] = lambda _: True
) -> Removed:
    """Remove what the policies let go. Safe to repeat, to run twice at once, and to kill.

    Parameters
    ----------
    go_on : callable
        Given what was removed so far after each batch; False ends the run.

    Raises
    ------
    TransientFailure
        If the disk refuses, or is not there; what was removed before is noted.
    """
    stored, masters = _both(settings, sessions)
    removed = Removed()
    # masters last: as long as its file is there, a master can be made again
    for batch in chain(stored.finish_former(), masters.finish_former(), stored.remove(), masters.remove()):
        removed += batch
        if not go_on(removed):
            break
    return removed


def plan(settings: Settings, readers: sessionmaker[Session]) -> Removed:
    """Say what `run` would remove now, and change nothing."""
    stored, masters = _both(settings, readers)
    removed = Removed()
    for files in stored.due(readers):
        removed += Removed(stored_files=len(files), stored_bytes=sum(file.size for file in files))
    for found in masters.due(readers):
        removed += Removed(masters=len(found), master_bytes=sum(file.size for file in found))
    return removed


def run_if_due(settings: Settings, sessions: sessionmaker[Session]) -> Removed | None:
    """Do today's run, unless somebody does it or has done it.

    Returns
    -------
    Removed or None
        None where it was not ours to do, or is not any more.
    """
    with sessions.begin() as session:
        token = retention_runs.claim(session, _LEASE_SECONDS)
    if token is None:
        return None

    def go_on(_: Removed) -> bool:
        with sessions.begin() as session:
            return retention_runs.renew(session, token, _LEASE_SECONDS)

    removed = run(settings, sessions, go_on)
    with sessions.begin() as session:
        return removed if retention_runs.finish(session, token, removed) else None


def daily(settings: Settings, sessions: sessionmaker[Session]) -> None:
    """Do today's run and log what it did; never raise for a disk or ledger that is away, tomorrow's run goes on."""
    try:
        removed = run_if_due(settings, sessions)
    except LungwatchError as error:
        log.error("retention_failed", problem=str(error))  # noqa: TRY400 - the message says it all
        return
    if removed is not None:
        log.info(
            "retention_ran",
            stored_files=removed.stored_files,
            stored_bytes=removed.stored_bytes,
            masters=removed.masters,
            master_bytes=removed.master_bytes,
        )


def _both(settings: Settings, sessions: sessionmaker[Session]) -> tuple[StoredFiles, Masters]:
    policies = Policies.of(settings)
    data = settings.data_dir.resolve()
    return StoredFiles(data, sessions, policies.stored), Masters(data / "masters", sessions, policies.masters)
