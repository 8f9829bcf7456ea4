"""What the lanes of a worker read ahead of the thread that classifies and records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Final, Generic, TypeVar

from db.claims import Claim
from worker.lanes import Lanes

T = TypeVar("T")

# a lane that is done finds a file waiting, and there is one more for it while that is looked at
_AHEAD_OF_EACH: Final = 2


class Reads(Generic[T]):
    """Files that are being read, or were read and nobody has asked for yet.

    There are more of them than lanes, so that no lane waits while the model
    runs. But no more than a batch more: each has been started, and starts are
    what a worker that is killed costs all that it had in hand. So an image that
    a worker died with, and that is on its last start, is read and goes on alone:
    it cannot be given up for what another one did to the worker.

    Parameters
    ----------
    lanes : Lanes
        Who reads.
    read : callable
        How a claim's file is read, on a lane.
    claims : iterator of Claim
        What waits; asked only for what there is room for.
    batch : int
        How many images the model may take at once; 1 where it takes them as they come.
    maximum_attempts : int
        Starts that an image has.

    Attributes
    ----------
    begun : int
        Files given to lanes so far.
    """

    def __init__(
        self,
        lanes: Lanes,
        read: Callable[[Claim], T],
        claims: Iterator[Claim],
        *,
        batch: int,
        maximum_attempts: int,
    ) -> None:
        self.begun = 0
        self._lanes = lanes
        self._read = read
        self._claims = claims
        self._room = max(_AHEAD_OF_EACH * lanes.count, lanes.count + batch)
        self._maximum_attempts = maximum_attempts
        self._following: Claim | None = None
        self._alone = False
        self._in_hand: dict[Future[T], Claim] = {}

    def __len__(self) -> int:
        return len(self._in_hand)

    def submit(self, *, others: bool) -> None:
        """Give the lanes what there is room for.

        Parameters
        ----------
        others : bool
            Whether images that were read before are still on their way.
        """
        if self._alone and (self._in_hand or others):
            return
        self._alone = False
        while len(self._in_hand) < self._room and not self._alone:
            if self._following is None:
                self._following = next(self._claims, None)
            following = self._following
            if following is None:
                return
            # one that was given back has spent its starts on failures of its own
            if following.abandoned and following.attempts == self._maximum_attempts - 1:
                if self._in_hand or others:
                    return
                self._alone = True
            self._in_hand[self._lanes.submit(self._read, following)] = following
            self._following = None
            self.begun += 1

    def wait(self, seconds: float) -> list[tuple[Claim, Future[T]]]:
        """Return what is done, in the order in which it was claimed, at the latest after so many seconds."""
        done, _ = wait(self._in_hand, seconds, FIRST_COMPLETED)
        return [(self._in_hand.pop(future), future) for future in list(self._in_hand) if future in done]

    def cancel(self) -> None:
        """Take back what no lane has begun; it was not started."""
        self._in_hand = {future: one for future, one in self._in_hand.items() if not future.cancel()}
