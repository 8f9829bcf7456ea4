"""Signals as something to wait for, whichever thread the kernel hands them to.

Three ways were tried and failed. A handler that sets a `threading.Event` runs
inside whatever the main thread is doing, perhaps inside that event's own lock,
and hangs. A main thread that waits for another without a timeout may never run
its handler where the kernel hands the signal to another thread. Blocking the
signals and fetching them with ``sigtimedwait`` fails too: threads that
libraries started before us do not block them, and the default action kills.
So the interpreter's C handler writes each signal into a socket
(`signal.set_wakeup_fd`), and whoever waits reads from it.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Iterable
from types import FrameType, TracebackType
from typing import Final, Self

STOP: Final = (signal.SIGTERM, signal.SIGINT)
# a terminal's Ctrl-C reaches a child from the kernel and again from its supervisor; that is one wish, not two
ONE_WISH_SECONDS: Final = 2.0
# what a repeated wish gives: somebody is impatient, and leases and the spool make it safe
_FORCED: Final = 1


class SignalMailbox:
    """Collects some signals of this process until closed; make it in the main thread, one at a time.

    Parameters
    ----------
    numbers : iterable of Signals
        Which; others go where they went before.
    """

    def __init__(self, numbers: Iterable[signal.Signals]) -> None:
        self._numbers = frozenset(numbers)
        self._reading, self._writing = socket.socketpair()
        self._reading.settimeout(0)
        self._writing.settimeout(0)
        self._previous_fd = signal.set_wakeup_fd(self._writing.fileno(), warn_on_full_buffer=False)
        # without a handler of Python's own nothing would be written
        self._previous = {number: signal.signal(number, _ignore) for number in self._numbers}

    def next(self, seconds: float) -> signal.Signals | None:
        """Return the next signal within some seconds, or None; any thread may wait, one at a time."""
        deadline = time.monotonic() + seconds
        while True:
            remaining = max(0.0, deadline - time.monotonic())
            if not select.select([self._reading], [], [], remaining)[0]:
                return None
            number = self._reading.recv(1)[0]
            if number in self._numbers:
                return signal.Signals(number)

    def close(self) -> None:
        """Give the signals back to whom they belonged."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._previous_fd)
        self._reading.close()
        self._writing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.close()


class StopSignals:
    """SIGTERM and SIGINT for a process whose main thread looks now and then; a second wish ends it with status 1."""

    def __init__(self) -> None:
        self._mailbox = SignalMailbox(STOP)
        self._first_at: float | None = None

    @property
    def came(self) -> bool:
        """Whether somebody wants us to stop."""
        return self.wait(0.0)

    def wait(self, seconds: float) -> bool:
        """Wait until somebody wants us to stop, at most some seconds, and say whether somebody does."""
        while self._mailbox.next(0.0 if self._first_at is not None else seconds) is not None:
            now = time.monotonic()
            if self._first_at is None:
                self._first_at = now
            elif now > self._first_at + ONE_WISH_SECONDS:
                # no clean-up may hang this one
                os._exit(_FORCED)
        return self._first_at is not None


def stop_event() -> threading.Event:
    """Return an event that is set on SIGTERM or SIGINT; for processes that wait in several threads."""
    requested = threading.Event()
    mailbox = SignalMailbox(STOP)

    def wait() -> None:
        while mailbox.next(3600.0) is None:
            pass
        requested.set()

    threading.Thread(target=wait, name="signals", daemon=True).start()
    return requested


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the socket has it."""
