"""Work that costs its sender next to nothing and this process much, done for one stranger at a time.

Python's threads take turns of some milliseconds (`sys.getswitchinterval`), and
a store needs some forty of them. Two dozen strangers whose bytes keep as many
threads busy would make a known peer wait for seconds: 48 of them, sending data
sets of empty elements alone, were measured to.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """One a process. Safe for threads, not for a fork."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @contextmanager
    def of(self, *, known: bool, seconds: float = threading.TIMEOUT_MAX) -> Iterator[None]:
        """Have a turn for as long as the context lasts; never wait within for whoever sends.

        Parameters
        ----------
        known : bool
            A known peer does not wait.
        seconds : float
            How long a stranger waits.

        Raises
        ------
        TimeoutError
            If that was too short.
        """
        if known:
            yield
            return
        if not self._lock.acquire(timeout=max(seconds, 0)):
            raise TimeoutError
        try:
            yield
        finally:
            self._lock.release()
