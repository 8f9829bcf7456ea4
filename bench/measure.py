"""One trial: a fresh receiver in an empty folder, a warm-up, a load, and what it took."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

from bench import processes
from bench.association import Sent, open_link, store
from bench.encoding import Message, Sample, encode, new_uid
from bench.receivers import BenchFailure, Receiver
from bench.sender import Load, Part, Plan, succeeded

_WARM_UP_IMAGES: Final = 2
_SAMPLE_SECONDS: Final = 0.1
_BLOCK: Final = 1 << 20
# reading what 65 processes hold takes time that the receiver would miss: at most this share of it
_SAMPLE_SHARE: Final = 0.03


@dataclass(frozen=True, slots=True)
class Turn:
    """One trial to come."""

    receiver: type[Receiver]
    megabytes: int
    plan: Plan
    repetition: int


@dataclass(frozen=True, slots=True)
class Trial:
    """What one receiver did with one load, once.

    Attributes
    ----------
    receiver : str
        `Receiver.name`.
    megabytes, associations, images, repetition : int
    rate : float
        Images acknowledged a second, from the first byte sent to the last response; associations stand before.
    seconds : list of float
        Of each image acknowledged, from its first byte to its response.
    cpu_milliseconds : float
        Of all processes of the receiver for one image acknowledged, associations' set-up and end included.
    sender_cpu_milliseconds : float
        Of the load generator for one image, on the same machine.
    proportional_peak, resident_peak : int
        Largest sum seen over all processes of the receiver, bytes.
    errors : dict
        How often each kind of failure was met; a file acknowledged and not found afterwards is one.
    """

    receiver: str
    megabytes: int
    associations: int
    images: int
    repetition: int
    rate: float
    seconds: list[float] = field(repr=False)
    cpu_milliseconds: float
    sender_cpu_milliseconds: float
    proportional_peak: int
    resident_peak: int
    errors: dict[str, int]


class PeakMemory:
    """Samples what a receiver's processes hold and keeps the largest sums."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._due = 0.0
        self.proportional = 0
        self.resident = 0

    def look(self) -> None:
        """Sample, unless the last time took so long that it is too early."""
        began = time.monotonic()
        if began < self._due:
            return
        now = processes.memory(self._root)
        self.proportional = max(self.proportional, now.proportional)
        self.resident = max(self.resident, now.resident)
        ended = time.monotonic()
        self._due = ended + (ended - began) / _SAMPLE_SHARE


@cache
def message_for(sample: Sample, maximum_length: int) -> Message:
    """Encode once for each length."""
    return encode(sample, maximum_length)


def warm_up(receiver: Receiver, sample: Sample, message: Message) -> None:
    """Send a few images over one association.

    Raises
    ------
    BenchFailure
        If one is not acknowledged.
    """
    chance = random.Random(str(receiver.folder))  # noqa: S311 - repeatable
    link = open_link(receiver.target, sample)
    head = bytearray(message.head)
    for _ in range(_WARM_UP_IMAGES):
        sent = store(link, message, head, new_uid(chance))
        if not succeeded([sent]):
            raise BenchFailure(f"{receiver.name} refuses the first image: {_failure(sent)}")
    link.close()


def claim_memory(path: Path, size: int) -> None:
    """Fill so much page cache and drop it, so that no receiver waits for memory.

    A virtual machine may hand back what has been free for a second or two, and
    each page then costs several times as much when it is next used: a receiver
    that takes as long to start would pay for it, one that starts at once would not.
    """
    block = bytes(_BLOCK)
    with path.open("wb", buffering=0) as file:
        for _ in range(0, size, _BLOCK):
            file.write(block)
    path.unlink()


def run_trial(turn: Turn, sample: Sample, folder: Path) -> Trial:
    """Start the receiver in this folder, measure, stop it, drop what it wrote.

    Raises
    ------
    BenchFailure
        If it does not start or refuses the warm-up; later failures are counted.
    """
    # what another receiver left unwritten must not slow this one's fsync
    os.sync()
    with turn.receiver(folder) as receiver:
        message = message_for(sample, receiver.wait_ready(sample))
        warm_up(receiver, sample, message)
        receiver.settle()
        claim_memory(folder.with_suffix(".fill"), turn.plan.images * len(sample.data_set))
        cpu = processes.cpu_seconds(receiver.pid)
        peak = PeakMemory(receiver.pid)
        seed = f"{receiver.name}/{turn.megabytes}/{turn.plan.associations}/{turn.repetition}"
        with Load(receiver.target, sample, message, turn.plan, seed) as load:
            part = load.run(peak.look, _SAMPLE_SECONDS)
            peak.look()
        receiver.settle()
        cpu = processes.cpu_seconds(receiver.pid) - cpu
        lost = len(succeeded(part.sent)) + _WARM_UP_IMAGES - receiver.held(len(sample.data_set))
    return _trial(turn, part, peak, cpu, lost)


def failed_trial(turn: Turn, failure: BenchFailure) -> Trial:
    """Return what stands for a trial that could not be run: nothing acknowledged, and why."""
    why = str(failure).partition("\n")[0]
    now = time.monotonic()
    part = Part([Sent(now, now, now, None, why)] * turn.plan.images, 0.0)
    return _trial(turn, part, PeakMemory(0), 0.0, 0)


def _trial(turn: Turn, part: Part, peak: PeakMemory, cpu: float, lost: int) -> Trial:
    good = succeeded(part.sent)
    errors = Counter(_failure(sent) for sent in part.sent if sent not in good)
    if lost > 0:
        errors["acknowledged and not found"] = lost
    took = max(sent.answered for sent in part.sent) - min(sent.began for sent in part.sent)
    return Trial(
        receiver=turn.receiver.name,
        megabytes=turn.megabytes,
        associations=turn.plan.associations,
        images=turn.plan.images,
        repetition=turn.repetition,
        rate=len(good) / took if good else 0.0,
        seconds=[round(sent.answered - sent.began, 4) for sent in good],
        cpu_milliseconds=1000 * cpu / max(1, len(good)),
        sender_cpu_milliseconds=1000 * part.cpu_seconds / turn.plan.images,
        proportional_peak=peak.proportional,
        resident_peak=peak.resident,
        errors=dict(errors),
    )


def _failure(sent: Sent) -> str:
    return sent.error if sent.status is None and sent.error else f"status {sent.status or 0:04X}"
