"""The peer that has done nothing wrong, storing all the while that others attack."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.peers.data_sets import data_set, new_uid
from tests.peers.raw import Closed, RawPeer
from tests.peers.stalls import Stalls

KNOWN = b"PACS"
LONGEST = 2.0
# a listener that was given no turn for so long may well cut whoever had none either
_STOOD_STILL = LONGEST / 2


@dataclass(frozen=True)
class Store:
    """One attempt: connecting, associating, storing and releasing."""

    began: float
    seconds: float
    trouble: str | None
    digest: str


@dataclass
class HonestPeer:
    """Stores one small instance after another, each on an association of its own, in a thread; a context manager."""

    port: int
    calling: bytes = KNOWN
    source: str = "127.0.0.1"
    pause: float = 0.1
    pixels: int = 4096
    stores: list[Store] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.go_on()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.rest()

    def go_on(self) -> None:
        """Begin, also after a rest."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="honest peer")
        self._thread.start()

    def rest(self) -> None:
        """End the store in hand and hold nothing open."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def store(self) -> Store:
        """Store once, now."""
        instance = new_uid()
        data = data_set(instance, pixels=self.pixels)
        began, trouble = time.monotonic(), None
        try:
            with RawPeer(self.port, timeout=10, source=self.source) as peer:
                status = peer.associate(calling=self.calling).store(instance, data).status
                if status != 0:
                    trouble = f"status {status:04x}"
                peer.release()
        except (Closed, OSError, AssertionError) as error:
            trouble = f"{type(error).__name__}: {error}"
        return Store(began, time.monotonic() - began, trouble, hashlib.sha256(data).hexdigest())

    def _run(self) -> None:
        while not self._stop.is_set():
            self.stores.append(self.store())
            self._stop.wait(self.pause)

    def served_since(self, moment: float, stalls: Stalls) -> None:
        """Fail unless every store begun since a moment of `time.monotonic` succeeded in time, and there was one."""
        since = [one for one in list(self.stores) if one.began >= moment] or [self.store()]
        assert list(badly_served(since, stalls)) == []


def badly_served(stores: Iterable[Store], stalls: Stalls) -> Iterator[str]:
    """Say which failed or waited too long while the machine did not stand still."""
    for one in stores:
        still = stalls.within(one.began, one.seconds)
        if one.trouble and still < _STOOD_STILL:
            yield f"the honest peer met {one.trouble}"
        if one.seconds - still >= LONGEST:
            yield f"the honest peer waited {one.seconds - still:.2f} s"
