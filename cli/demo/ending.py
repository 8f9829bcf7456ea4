"""Being ended from outside, noticed even where a library swallows the exception that says so."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Ending:
    """Raises `KeyboardInterrupt` in the main thread when somebody ends the demo, and again from `check`.

    An exception that a signal raises can land in a finalizer or a callback from C,
    where Python drops it; a demo that went on would leave no server behind only by luck.
    """

    def __init__(self) -> None:
        self._wanted = False

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Handle Ctrl-C, `timeout` and a closing terminal in this block; main thread only."""
        # what is ignored stays so: `nohup` asks for that
        heeded = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        previous = {number: signal.signal(number, self._end) for number in heeded}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def check(self) -> None:
        """Raise `KeyboardInterrupt` if somebody has ended the demo."""
        if self._wanted:
            raise KeyboardInterrupt

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self._wanted = True
        raise KeyboardInterrupt
