"""Celery in a thread of its own: it rings the engine's bell, and nothing it does can stop the engine.

The controller is used bare (`WorkController`, not the command line's worker),
because signals have one owner in this process, and that is `worker.process`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from celery import Celery
from celery.beat import EmbeddedService
from celery.worker import WorkController, state

from core import logging
from core.celery import Queue
from core.files import make_directories
from core.logging import safe_error
from core.settings import Settings
from worker.backoff import backoff

log = logging.get(__name__)


class Doorbell(threading.Thread):
    """Consumes messages until the process ends; begins anew whenever Celery gives up."""

    def __init__(self, app: Celery, queues: Sequence[Queue]) -> None:
        super().__init__(name="doorbell", daemon=True)
        self._app = app
        self._queues = [queue.value for queue in queues]
        self._stopping = threading.Event()

    def run(self) -> None:
        """Consume, and begin anew after a pause."""
        # the current app belongs to a thread; without this, tasks would run under another one that knows nothing
        self._app.set_current()
        pauses = backoff(1.0, 30.0)
        while not self._stopping.is_set():
            try:
                controller = WorkController(
                    app=self._app,
                    pool_cls="solo",
                    concurrency=1,
                    queues=self._queues,
                    without_heartbeat=True,
                    without_mingle=True,
                    without_gossip=True,
                    loglevel="WARNING",
                )
                controller.start()
            except Exception as error:  # noqa: BLE001 - the edge of a thread: without a bell the engine looks by itself
                log.warning("doorbell_failed", **safe_error(error))
            if not self._stopping.is_set():
                log.warning("doorbell_silent", hint="the engine looks by itself until the broker answers")
                self._stopping.wait(next(pauses))

    def stop(self) -> None:
        """Ask the consumer to end; it is a daemon and is not waited for."""
        self._stopping.set()
        state.should_stop = True


def start_embedded_beat(app: Celery, settings: Settings) -> threading.Thread:
    """Start beat in a thread; its schedule file lies in the data directory."""
    folder = settings.data_dir.resolve() / "beat"
    make_directories(folder)
    service: threading.Thread = EmbeddedService(app, thread=True, schedule_filename=str(folder / "schedule"))
    service.start()
    return service
