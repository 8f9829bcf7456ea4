"""Ringing for the workers, where nobody waits for it: a broker that is down or hung delays nothing (promise 3)."""

from __future__ import annotations

import threading
from typing import Any, Final

from kombu.exceptions import OperationalError

from core.celery import RING_CLASSIFY, Queue, make_app
from core.failpoints import reach
from core.logging import get, safe_error
from core.rarely import Rarely
from core.settings import Settings

# rings that nobody hears are worth nothing; they must not fill a broker whose workers are gone
MOST_WAITING: Final = 100
_LEAVE_SECONDS: Final = 3.0

_log = get(__name__)
_rarely = Rarely(60.0)


class Bell:
    """Rings Celery from a thread of its own; rings asked for while one is under way become one.

    Parameters
    ----------
    settings : Settings
        Without a broker the bell does nothing: idle workers look by themselves.
    """

    def __init__(self, settings: Settings) -> None:
        self._wanted = threading.Event()
        self._leaving = False
        self._thread: threading.Thread | None = None
        if settings.has_broker:
            self._app = make_app(settings)
            self._thread = threading.Thread(target=self._work, name="bell", daemon=True)
            self._thread.start()

    def ring(self) -> None:
        """Ask for a ring; returns at once."""
        self._wanted.set()

    def leave(self) -> None:
        """Stop; waits a moment for a ring under way, not for a broker that hangs."""
        self._leaving = True
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(_LEAVE_SECONDS)

    def _work(self) -> None:
        while True:
            self._wanted.wait()
            if self._leaving:
                return
            self._wanted.clear()
            try:
                self._ring()
            except Exception as error:  # noqa: BLE001 - the edge of this thread; workers look without a bell too
                _rarely.warning(_log, "bell_not_heard", **safe_error(error))

    def _ring(self) -> None:
        with self._app.connection_for_write() as connection:
            if _waiting(connection) >= MOST_WAITING:
                return
            reach("bell.ringing")
            # no arguments: the ledger knows what the work is
            self._app.send_task(RING_CLASSIFY, connection=connection, retry=False)
            reach("bell.rung")


def _waiting(connection: Any) -> int:
    # a passive declaration of a queue that is not there yet closes an AMQP channel, hence one of its own
    try:
        with connection.channel() as channel:
            return int(channel.queue_declare(queue=Queue.CLASSIFY.value, passive=True).message_count)
    except (*connection.channel_errors, OperationalError):
        return 0
