"""Work that costs its sender next to nothing and this process much, done for one stranger at a time.

Python's threads take turns of some milliseconds (`sys.getswitchinterval`), and
a store needs some forty of them. Two dozen strangers whose bytes keep as many
threads busy would make a known peer wait for seconds: 48 of them, sending data
sets of empty elements alone, were measured to.
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext


class Turns:
    """One a kind of work in a process. Safe for threads, not for a fork."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def of(self, *, known: bool, seconds: float = threading.TIMEOUT_MAX) -> AbstractContextManager[None]:
        """Return the context in which to work; it may be entered again and again.

        Never wait within it for whoever sends.

        Parameters
        ----------
        known : bool
            A known peer does not wait.
        seconds : float
            How long a stranger waits on entry; then `TimeoutError` is raised.
        """
        return nullcontext() if known else _Turn(self._lock, max(seconds, 0))


class _Turn:
    __slots__ = ("_lock", "_seconds")

    def __init__(self, lock: threading.Lock, seconds: float) -> None:
        self._lock = lock
        self._seconds = seconds

    def __enter__(self) -> None:
        if not self._lock.acquire(timeout=self._seconds):
            raise TimeoutError

    def __exit__(self, *_: object) -> None:
        self._lock.release()
