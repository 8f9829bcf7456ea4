"""What this host cannot do now, and for how long it leaves the work alone.

A disk that is full, read-only or not mounted says nothing of an image. Its
attempt is refunded and it waits; were it charged, one bad host would empty
the whole queue into quarantine within seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from core.clock import Clock
from worker.backoff import backoff

LEDGER_AWAY: Final = "the ledger does not answer; is its database running?"
_FIRST_SECONDS: Final = 2.0
_LONGEST_SECONDS: Final = 60.0


class Trouble:
    """Counts batches that this host failed; one pause for each, doubling from 2 s to 60 s.

    While nothing succeeds the host rests for the pause. What it failed on
    waits twice as long, so that others have their turn: a single file that the
    disk does not give away holds nobody up.

    Parameters
    ----------
    clock : Clock
        For the intervals.

    Attributes
    ----------
    problem : str or None
        For a person; stands until a batch went without trouble.
    """

    def __init__(self, clock: Clock) -> None:
        self.problem: str | None = None
        self._clock = clock
        self._pauses: Iterator[float] = backoff(_FIRST_SECONDS, _LONGEST_SECONDS)
        self._pause: float | None = None
        self._worked = False
        self._rests_until = float("-inf")

    @property
    def resting(self) -> bool:
        """Whether nothing should be claimed now."""
        return self._clock.monotonic() < self._rests_until

    @property
    def failing(self) -> bool:
        """Whether this host has failed a receipt of the batch in hand."""
        return self._pause is not None

    def failed(self, what: str) -> float:
        """Note a failure of the host, and return how many seconds the receipt must wait."""
        self.problem = what
        if self._pause is None:
            self._pause = next(self._pauses)
        return 2 * self._pause

    def worked(self) -> None:
        """Note that a receipt of this batch came to its end."""
        self._worked = True

    def batch_ended(self) -> None:
        """Rest if the batch gave nothing but trouble; forget the trouble if it gave none."""
        if self._pause is None:
            if self._worked:
                self.problem = None
                self._pauses = backoff(_FIRST_SECONDS, _LONGEST_SECONDS)
        elif not self._worked:
            self._rests_until = self._clock.monotonic() + self._pause
        self._pause, self._worked = None, False
