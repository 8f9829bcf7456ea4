"""SIGTERM and SIGINT, noted without a lock and looked at by the main thread's own loop.

Two things were tried and failed. A handler that sets a `threading.Event`
deadlocks when the next signal interrupts it inside the event's lock. And a
main thread that waits for another without a timeout may never run its handler
where the kernel hands the signal to another thread.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from types import FrameType
from typing import Final

# what a repeated signal gives: somebody is impatient, and leases make it safe
_FORCED: Final = 1
# a terminal's Ctrl-C reaches us from the kernel and again from the supervisor; that is one wish, not two
_ONE_WISH_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 0.1


class StopSignals:
    """Owns SIGTERM and SIGINT of this process; a second wish to stop ends it at once, with status 1."""

    def __init__(self) -> None:
        self._first_at: float | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    @property
    def came(self) -> bool:
        """Whether somebody wants us to stop."""
        return self._first_at is not None

    def wait(self, seconds: float) -> bool:
        """Sleep until a signal came or the time is over, and say whether one came; main thread only."""
        deadline = time.monotonic() + seconds
        return all(time.monotonic() < deadline for _ in self.looks())

    def looks(self) -> Iterator[None]:
        """Yield several times a second until a signal came; main thread only."""
        while not self.came:
            yield
            time.sleep(_LOOK_SECONDS)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._first_at is None:
            self._first_at = now
        elif now > self._first_at + _ONE_WISH_SECONDS:
            # no clean-up may hang this one; claims come back when their leases end
            os._exit(_FORCED)
