"""What a message can make a worker do: wake up, or compare spool and ledger. Neither carries work."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Final

from celery import Celery, Task, shared_task
from sqlalchemy import Engine

from core.celery import RING_CLASSIFY
from core.settings import Settings

_CONTEXT: Final = "lungwatch_context"


@dataclass(frozen=True, slots=True)
class Context:
    """What the tasks of this process may use."""

    settings: Settings
    engine: Engine
    bell: threading.Event


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
