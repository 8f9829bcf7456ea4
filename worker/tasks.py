"""What a message can make a worker do: wake, compare spool and ledger, remove old pixels, start the night.

None carries work.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from celery import Celery, Task, shared_task
from sqlalchemy import Engine

from core import logging
from core.celery import NIGHTLY, RECONCILE, RETENTION, RING_CLASSIFY
from core.logging import safe_error
from core.settings import Settings
from db.audit import reconcile
from db.base import make_readers, make_sessions
from worker.nightly import Nights
from worker.retention.run import daily

log = logging.get(__name__)

_CONTEXT: Final = "lungwatch_context"


@dataclass(frozen=True, slots=True)
class Context:
    """What the tasks of this process may use."""

    settings: Settings
    engine: Engine
    bell: threading.Event
    nights: Nights


def bind(app: Celery, context: Context) -> None:
    """Give the tasks run by this process's app what they need."""
    setattr(app, _CONTEXT, context)


def _context(task: Task) -> Context:
    context: Context = getattr(task.app, _CONTEXT)
    return context


@shared_task(name=RING_CLASSIFY, bind=True, ignore_result=True)  # type: ignore[untyped-decorator]
def ring_classify(self: Task, *_: Any, **__: Any) -> None:
    """Wake the engine.

    Reads and writes nothing: the ledger says what there is to do. Repeating
    it wakes an engine that finds nothing; losing it costs one idle poll.
    """
    _context(self).bell.set()


@shared_task(name=RECONCILE, bind=True, ignore_result=True)  # type: ignore[untyped-decorator]
def reconcile_daily(self: Task, *_: Any, **__: Any) -> None:
    """Hold spool, stored files and receipts against each other, and raise an alarm if they do not fit.

    Reads listings and the ledger, writes nothing but the log. Repeating it
    says the same again.
    """
    context = _context(self)
    try:
        found = reconcile(make_readers(context.engine), context.settings.data_dir.resolve())
    except Exception as error:  # noqa: BLE001 - the edge: Celery would log the text, which may quote data
        log.error("reconciliation_failed", **safe_error(error))  # noqa: TRY400
        return
    facts = {
        "acknowledged": found.acknowledged,
        "terminal": found.terminal,
        "pending": found.pending,
        "waiting": found.waiting,
        "unregistered": found.unregistered,
    }
    if found.clean:
        log.info("reconciled", **facts)
    else:
        kinds = Counter(finding.misfit.value for finding in found.findings)
        log.error(
            "not_reconciled", balanced=found.balanced, findings=dict(kinds), hint="run lungwatch reconcile", **facts
        )


@shared_task(name=RETENTION, bind=True, ignore_result=True)  # type: ignore[untyped-decorator]
def retention_daily(self: Task, *_: Any, **__: Any) -> None:
    """Remove the pixels that the site's policies let go.

    Reads the ledger and the masters directory, removes files, writes what it removed. Repeating it finds
    the day's run taken; where that was cut short, it goes on once its lease has ended.
    """
    context = _context(self)
    try:
        daily(context.settings, make_sessions(context.engine))
    except Exception as error:  # noqa: BLE001 - the edge: Celery would log the text, which may quote data
        log.error("retention_failed", **safe_error(error))  # noqa: TRY400


@shared_task(name=NIGHTLY, bind=True, ignore_result=True)  # type: ignore[untyped-decorator]
def nightly(self: Task, *_: Any, **__: Any) -> None:
    """Start the nightly job's process if a night is due, and return.

    Reads the ledger, writes nothing. Repeating it finds the night held or ended.
    """
    try:
        _context(self).nights.start_if_due()
    except Exception as error:  # noqa: BLE001 - the edge: Celery would log the text, which may quote data
        log.error("night_not_started", **safe_error(error))  # noqa: TRY400
