"""What the associations of a process have in common: whom they let in, what they serve, and when they are to end."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from dicom_listener.association.admission import Admission
from dicom_listener.contexts import Offer
from dicom_listener.metrics.counting import Metrics
from dicom_listener.services import Service
from dicom_listener.turns import Turns

# for how long after a drain began a sender may begin further messages
_LAST_CALL_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds; `idle` is the setting ``network_timeout``, the others those of their names."""

    request: float
    pdu: float
    message: float
    idle: float


class Drain:
    """Tells all associations of a process that it is about to end.

    Attributes
    ----------
    bell : socket.socket
        Becomes readable when it begins.
    """

    def __init__(self) -> None:
        self.bell, self._ring = socket.socketpair()
        self.began: float | None = None

    def begin(self) -> None:
        """Ring, once for all and for good."""
        self.began = time.monotonic()
        self._ring.close()

    def over(self, moment: float) -> bool:
        """Say whether a message that begins at this moment, by `time.monotonic`, comes too late."""
        return self.began is not None and moment - self.began >= _LAST_CALL_SECONDS


@dataclass(frozen=True, slots=True)
class Acceptor:
    """What the associations of a process have in common."""

    entity: Any
    ae_title: str
    admission: Admission
    give_back: Callable[[int], None]
    services: Mapping[tuple[Offer | None, int], Service]
    maximum_message_size: int
    timeouts: Timeouts
    drain: Drain
    metrics: Metrics
    # for decoding what strangers ask for
    turns: Turns = field(default_factory=Turns)
