"""Peers of the whole: at a set rate altogether, sending again what was not acknowledged."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from typing import Final

from bench.association import SUCCESS, Association, Refused, Target
from bench.encoding import new_uid
from bench.soak_books import Told
from bench.soak_pictures import Picture
from bench.soak_whole import Whole

# a stopped listener's peers give up before it goes on, as a PACS would after a minute
_PATIENCE_SECONDS: Final = 20.0
_PAUSE_SECONDS: Final = 0.5
_TRIES_AT_THE_END: Final = 240


class Senders:
    """Some threads; each instance has an association of its own.

    Parameters
    ----------
    rate : float
        Instances a second, of all together; infinity sends as fast as they are taken.
    limit : int or None
        Stop by themselves after so many.
    """

    def __init__(
        self,
        whole: Whole,
        pictures: Sequence[Picture],
        told: Told,
        *,
        rate: float,
        count: int,
        seed: str,
        limit: int | None = None,
    ) -> None:
        self._whole = whole
        self._pictures = pictures
        self._told = told
        self._interval = 1 / rate
        self._limit = limit
        self._begun = 0
        self._next = time.monotonic()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(random.Random(f"{seed}/{place}"),), name="sender")  # noqa: S311
            for place in range(count)
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Begin nothing new; return when everything that was begun is acknowledged."""
        self._stop.set()
        self.join()

    def join(self) -> None:
        """Wait for the threads."""
        for thread in self._threads:
            thread.join()

    def _turn(self) -> Picture | None:
        """Wait for the next time to send; None when there is nothing more to begin."""
        with self._lock:
            if self._stop.is_set() or self._begun == self._limit:
                return None
            picture = self._pictures[self._begun % len(self._pictures)]
            self._begun += 1
            # a time in which nobody listened is not made up for: the rate is never more than it was set
            self._next = at = max(self._next + self._interval, time.monotonic())
        self._stop.wait(max(0.0, at - time.monotonic()))
        return picture

    def _run(self, chance: random.Random) -> None:
        while (picture := self._turn()) is not None:
            instance, study = new_uid(chance), new_uid(chance)
            self._told.sending(instance)
            tries = 0
            while not self._sent(picture, instance, study):
                self._told.broken()
                tries += self._stop.is_set()
                if tries > _TRIES_AT_THE_END:
                    return
                time.sleep(_PAUSE_SECONDS)

    def _sent(self, picture: Picture, instance: str, study: str) -> bool:
        target = Target(self._whole.port, seconds=_PATIENCE_SECONDS)
        try:
            with Association(target, picture.sop_class_uid, picture.transfer_syntax_uid) as link:
                link.send(picture.message, picture.head(instance, study))
                if link.answer() != SUCCESS:
                    return False
                self._told.stored(instance, picture.size)
                link.close()
        except (OSError, Refused):
            return False
        return True
