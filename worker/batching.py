"""When a batch of images goes to the model: as soon as one is ready, or where batches pay, at N images or T seconds."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from core.clock import Clock
from worker.stages import Prepared


@dataclass(frozen=True, slots=True)
class Collecting:
    """How images are brought together for a model.

    Attributes
    ----------
    images : int
        At most so many go at once.
    seconds : float
        How long the first of them may wait for others; 0 where batches do not pay.
    """

    images: int
    seconds: float

    @property
    def ahead(self) -> int:
        """How many images must be read ahead, so that a batch can be full when the one before it is done."""
        return self.images if self.seconds > 0 else 1


# what is ready together goes together, and waits for nothing
AT_ONCE: Final = Collecting(images=32, seconds=0.0)


class Batch:
    """Images that wait for the model, in order; those of one model, so that whoever swaps it begins another batch.

    Parameters
    ----------
    collecting : Collecting
        When it closes.
    clock : Clock
        For the wait.
    """

    def __init__(self, collecting: Collecting, clock: Clock) -> None:
        self._collecting = collecting
        self._clock = clock
        self._images: deque[Prepared] = deque()
        self._closes_at = math.inf

    def __len__(self) -> int:
        return len(self._images)

    def add(self, images: Iterable[Prepared]) -> None:
        """Take images in; the time that they may wait begins with the first."""
        was_empty = not self._images
        self._images.extend(images)
        if was_empty:
            self._closes_at = self._clock.monotonic() + self._collecting.seconds

    @property
    def seconds_left(self) -> float:
        """Until it closes for whatever has come by then; infinite while it is empty."""
        if not self._images:
            return math.inf
        return max(0.0, self._closes_at - self._clock.monotonic())

    def close(self, *, more_may_come: bool) -> list[Prepared]:
        """Return the images that go to the model now; empty as long as there is something to wait for.

        Parameters
        ----------
        more_may_come : bool
            False closes it at once.
        """
        if more_may_come and self.seconds_left > 0 and len(self._images) < self._collecting.images:
            return []
        return [self._images.popleft() for _ in range(min(len(self._images), self._collecting.images))]
