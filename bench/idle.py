"""What associations cost that do nothing, and what they do to a peer that has something to send."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bench import processes
from bench.association import Association, Refused, Target, open_link, store
from bench.encoding import Message, Sample, new_uid
from bench.measure import message_for, warm_up
from bench.receivers import Receiver
from bench.sender import succeeded

# a cap may count by address, and Linux answers on all of 127.0.0.0/8
_ADDRESSES: Final = 20
_ATTEMPT_SECONDS: Final = 5.0
_STORES: Final = 6


@dataclass(frozen=True, slots=True)
class Idle:
    """One receiver under associations that were opened and left.

    Attributes
    ----------
    receiver : str
    attempted, admitted, still_open : int
        Associations asked for, established, and not closed by the receiver when the stores were done.
    seconds : float
        How long the processor time was measured; nothing was sent meanwhile.
    core_share : float
        Processor time of all processes of the receiver, as a share of one core.
    store_seconds : list of float
        Afterwards, with the idle ones still there: each from connecting to the response, each on its own association.
    refused : list of str
        Stores that were not acknowledged, and how.
    """

    receiver: str
    attempted: int
    admitted: int
    still_open: int
    seconds: float
    core_share: float
    store_seconds: list[float]
    refused: list[str]


def measure_idle(receiver: Receiver, sample: Sample, attempts: int, seconds: float) -> Idle:
    """Open, leave idle, measure, then store as the peer that the receiver knows.

    Raises
    ------
    BenchFailure
        If the receiver does not start.
    """
    with receiver, contextlib.ExitStack() as kept:
        message = message_for(sample, receiver.wait_ready(sample))
        warm_up(receiver, sample, message)
        admitted = list(_open(receiver.target, sample, attempts, kept))
        began, cpu = time.monotonic(), processes.cpu_seconds(receiver.pid)
        time.sleep(seconds)
        cpu, took = processes.cpu_seconds(receiver.pid) - cpu, time.monotonic() - began
        stores = [_store(receiver.target, sample, message, number) for number in range(_STORES)]
        return Idle(
            receiver.name,
            attempts,
            len(admitted),
            sum(_is_open(link) for link in admitted),
            round(took, 2),
            cpu / took,
            [one for one in stores if isinstance(one, float)],
            [one for one in stores if isinstance(one, str)],
        )


def _store(target: Target, sample: Sample, message: Message, number: int) -> float | str:
    """Store on a new association; return seconds from connecting to the response, or what went wrong."""
    began = time.monotonic()
    try:
        link = open_link(target, sample)
    except (OSError, Refused) as error:
        return str(error)
    sent = store(link, message, bytearray(message.head), new_uid(random.Random(number)))  # noqa: S311 - repeatable
    link.close()
    return round(sent.answered - began, 4) if succeeded([sent]) else str(sent.error or sent.status)


def _open(target: Target, sample: Sample, attempts: int, kept: contextlib.ExitStack) -> Iterator[Association]:
    for number in range(attempts):
        stranger = Target(
            target.port,
            calling=f"IDLE{number}",
            source=f"127.0.0.{2 + number % _ADDRESSES}",
            seconds=_ATTEMPT_SECONDS,
        )
        with contextlib.suppress(OSError, Refused):
            yield kept.enter_context(Association(stranger, sample.sop_class_uid))


def _is_open(link: Association) -> bool:
    link.socket.settimeout(0)
    try:
        link.socket.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    # an abort or the end of the connection
    return False
