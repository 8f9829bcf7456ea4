"""How long an epoch took: on the wall's clock, and on processors, which other programs and pauses do not touch."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Took:
    """Time that passed.

    Attributes
    ----------
    seconds : float
        On the wall's clock.
    processor_seconds : float
        Of all threads of this process, user and system.
    """

    seconds: float
    processor_seconds: float


class Stopwatch:
    """Runs from when it is made."""

    def __init__(self) -> None:
        self._wall, self._processors = time.monotonic(), time.process_time()

    def read(self) -> Took:
        """Return what has passed, to a tenth of a second."""
        return Took(
            round(time.monotonic() - self._wall, 1),
            round(time.process_time() - self._processors, 1),
        )
