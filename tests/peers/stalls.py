"""Whether the machine itself stood still: a store that waited for its disk says nothing of the listener."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

# what a quiet disk and scheduler take for a small fsync, and far more
_ORDINARY = 0.25
_EVERY = 0.05


@dataclass
class Stalls:
    """Writes and syncs a small file again and again, in a folder on the listener's disk; a context manager."""

    folder: Path
    seen: list[tuple[float, float]] = field(default_factory=list)
    """Beginning and end of each, by `time.monotonic`."""
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="stalls")
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def within(self, began: float, seconds: float) -> float:
        """Seconds of this time in which the machine stood still."""
        return sum(max(0.0, min(end, began + seconds) - max(start, began)) for start, end in list(self.seen))

    def _run(self) -> None:
        with (self.folder / "stalls").open("wb", buffering=0) as file:
            while True:
                began = time.monotonic()
                file.write(b"x")
                os.fsync(file.fileno())
                stopped = self._stop.wait(_EVERY)
                end = time.monotonic()
                if end - began > _ORDINARY:
                    self.seen.append((began, end))
                if stopped:
                    return
