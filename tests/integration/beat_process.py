"""``lungwatch beat`` with a schedule that a test can wait for: it rings every half second.

``python -m tests.integration.beat_process beat``; the failpoints ``beat.publishing`` and ``beat.published``
lie around each message.
"""

from __future__ import annotations

import sys
from typing import Any

from celery.schedules import schedule
from celery.signals import after_task_publish, before_task_publish

from core import celery, failpoints, logging
from core.celery import RECONCILE, RETENTION
from core.settings import Settings, load
from worker import beat

_EVERY_SECONDS = 0.5


def _schedule(_: Settings) -> dict[str, Any]:
    return {name: {"task": name, "schedule": schedule(_EVERY_SECONDS)} for name in (RETENTION, RECONCILE)}


@before_task_publish.connect
def _publishing(**_: object) -> None:
    failpoints.reach("beat.publishing")


@after_task_publish.connect
def _published(**_: object) -> None:
    failpoints.reach("beat.published")


if __name__ == "__main__":
    celery._schedule = _schedule
    settings = load()
    logging.configure(settings)
    sys.exit(beat.run(settings))
