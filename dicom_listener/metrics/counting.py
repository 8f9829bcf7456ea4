"""What the listener counts about itself, cheaply, in each of its processes; `collector` shows it.

No label holds received text: a peer is known by its entry in the peers file or
is "unknown", and every other label comes from a table of ours.
"""

from __future__ import annotations

import contextlib
import itertools
from bisect import bisect_left
from collections.abc import Iterator
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Final

from core.peers import Peer
from core.settings import Settings
from dicom_listener.metrics.tally import UNKNOWN, Series, Tally, Totals
from dicom_listener.rejections import Rejection
from dicom_listener.status import TABLES


class Outcome(StrEnum):
    """What becomes of a connection, beside being rejected for one of the reasons in `Rejection`.

    Each has one of these or of those at first. One that is accepted has
    another, later: released, aborted, timed out or drained.
    """

    ACCEPTED = "accepted"
    RELEASED = "released"
    ABORTED = "aborted"
    TIMED_OUT = "timed_out"
    DRAINED = "drained"
    EVICTED = "evicted"
    TLS_FAILED = "tls_failed"
    UNASKED = "unasked"


class Counted(IntEnum):
    """The families of numbers that processes count; see `collector` for what they are called."""

    ASSOCIATIONS = 1
    OPEN_ASSOCIATIONS = 2
    WAITING_CONNECTIONS = 3
    ANSWERS = 4
    RECEIVED_BYTES = 5
    ACKNOWLEDGE_BUCKET = 6
    ACKNOWLEDGE_SECONDS = 7


# as they stand in labels; their places are what shared memory holds
OUTCOMES: Final = (*(outcome.value for outcome in Outcome), *(reason.name.lower() for reason in Rejection), "other")
SERVICES: Final = tuple(TABLES)
BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_OUTCOME_PLACES: Final = {name: place for place, name in enumerate(OUTCOMES)}
_SERVICE_PLACES: Final = {name: place for place, name in enumerate(SERVICES)}
_LAST_OUTCOME: Final = len(OUTCOMES) - 1
_LAST_SERVICE: Final = len(SERVICES) - 1
_MOMENTARY: Final = frozenset({Counted.OPEN_ASSOCIATIONS, Counted.WAITING_CONNECTIONS})
_WAITING: Final = Series(Counted.WAITING_CONNECTIONS)


class Metrics:
    """One a listener: made in the parent before it forks; each association process `enter`s, then counts.

    Every count costs a few microseconds and may come from any thread.

    Parameters
    ----------
    settings : Settings
    started : datetime
        When the listener started.
    """

    def __init__(self, settings: Settings, started: datetime) -> None:
        self.settings = settings
        self.started = started
        self._tally = Tally(settings.listener_processes, _MOMENTARY)

    def enter(self, process: int) -> None:
        """Begin to count as association process number `process`, from 0; its predecessor is dead.

        For the child, right after the fork: no thread may have counted yet.
        """
        self._tally.enter(process)

    def gone(self, process: int) -> None:
        """Close what association process number `process` had open when it died; for the parent that reaped it."""
        self._tally.leave(process)

    def association(self, outcome: Outcome | Rejection, peer: Peer | None) -> None:
        """Count what became of a connection.

        Parameters
        ----------
        outcome : Outcome or Rejection
        peer : Peer or None
            Its entry in the peers file; None while unknown.
        """
        name = outcome.value if isinstance(outcome, Outcome) else outcome.name.lower()
        place = _OUTCOME_PLACES.get(name, _LAST_OUTCOME)
        self._tally.add([(Series(Counted.ASSOCIATIONS, place, 0, _label(peer)), 1.0)])

    @contextlib.contextmanager
    def open_association(self, peer: Peer | None) -> Iterator[None]:
        """Count an association as open for as long as the context lasts."""
        series = Series(Counted.OPEN_ASSOCIATIONS, 0, 0, _label(peer))
        self._tally.add([(series, 1.0)])
        try:
            yield
        finally:
            self._tally.add([(series, -1.0)])

    def waiting(self, connections: int) -> None:
        """Say how many connections of this process have not asked for an association yet."""
        self._tally.put(_WAITING, connections)

    def answered(self, service: str, code: int, peer: Peer | None, seconds: float, size: int) -> None:
        """Count one answered request.

        Parameters
        ----------
        service : str
            A key of `status.TABLES`; anything else counts as the last of them.
        code : int
            (0000,0900) *Status* of the answer.
        peer : Peer or None
            Its entry in the peers file; None while unknown.
        seconds : float
            From the first byte of the command to the response.
        size : int
            Bytes of the data set as received.
        """
        which = _SERVICE_PLACES.get(service, _LAST_SERVICE)
        name = _label(peer)
        self._tally.add(
            [
                (Series(Counted.ANSWERS, which, code & 0xFFFF, name), 1.0),
                (Series(Counted.RECEIVED_BYTES, which, 0, name), size),
                (Series(Counted.ACKNOWLEDGE_BUCKET, which, bisect_left(BUCKETS, seconds)), 1.0),
                (Series(Counted.ACKNOWLEDGE_SECONDS, which), seconds),
            ]
        )

    @property
    def healthy(self) -> bool:
        """Whether every association process lives."""
        return self.totals().living == self.settings.listener_processes

    def totals(self) -> Totals:
        """Add up what all processes have counted."""
        return self._tally.totals()


def acknowledged(totals: Totals, service: int) -> tuple[list[tuple[str, float]], float]:
    """Return the histogram of one service's times: cumulative buckets by upper bound, and the sum in seconds."""
    counts = (totals.values[Series(Counted.ACKNOWLEDGE_BUCKET, service, place)] for place in range(len(BUCKETS) + 1))
    bounds = (*map(str, BUCKETS), "+Inf")
    return list(zip(bounds, itertools.accumulate(counts), strict=True)), totals.values[
        Series(Counted.ACKNOWLEDGE_SECONDS, service)
    ]


def _label(peer: Peer | None) -> str:
    return UNKNOWN if peer is None else peer.ae_title
