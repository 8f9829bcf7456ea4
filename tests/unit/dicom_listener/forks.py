"""Children of a test, forked as the listener forks them: nothing of pytest runs in them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from core.parent_death import die_with


class Children:
    """Those of one test; none outlives it."""

    def __init__(self) -> None:
        self._living: set[int] = set()

    def fork(self, act: Callable[[], None]) -> int:
        """Fork a child that does something and then sleeps; returns its process id once that is done."""
        parent = os.getpid()
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                die_with(parent)
                act()
                os.write(writing, b"!")
                time.sleep(600)
            finally:
                os._exit(1)
        self._living.add(child)
        os.close(writing)
        done = os.read(reading, 1)
        os.close(reading)
        assert done == b"!", "the child failed"
        return child

    def kill(self, child: int) -> None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        self._living.remove(child)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for child in list(self._living):
            self.kill(child)
