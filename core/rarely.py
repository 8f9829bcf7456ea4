"""Saying the same thing once a minute, however often it happens."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import structlog


class Rarely:
    """Logs each event at most once an interval, with how many were left out since. Safe for threads.

    Parameters
    ----------
    seconds : float
        The interval.
    monotonic : callable
        The clock.
    """

    def __init__(self, seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._last: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def due(self, event: str) -> int | None:
        """Return how many of this event were left out since it was last due, or None if it is not due."""
        now = self._monotonic()
        with self._lock:
            last = self._last.get(event)
            if last is not None and now - last < self._seconds:
                self._left_out[event] = self._left_out.get(event, 0) + 1
                return None
            self._last[event] = now
            return self._left_out.pop(event, 0)

    def warning(self, log: structlog.stdlib.BoundLogger, event: str, **facts: object) -> None:
        """Log a warning if it is due; `event` is a constant."""
        left_out = self.due(event)
        if left_out is not None:
            log.warning(event, left_out=left_out, **facts)
