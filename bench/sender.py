"""The load: many associations at once, from several processes, so that sending is never what is measured."""

from __future__ import annotations

import math
import multiprocessing
import random
import resource
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from types import TracebackType
from typing import Final, Self, TypeVar

from bench import encoding
from bench.association import SUCCESS, Link, Refused, Sent, Target, open_link, store
from bench.encoding import Message, Sample

# sending is system calls, for which threads of one process do not wait for each other
_ASSOCIATIONS_A_PROCESS: Final = 4
T = TypeVar("T")

_FORK: Final = multiprocessing.get_context("fork")
_JOIN_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to send.

    Attributes
    ----------
    associations : int
        Open at once.
    images : int
        In all, spread evenly: a multiple of `associations`.
    """

    associations: int
    images: int

    def __post_init__(self) -> None:
        if self.images % self.associations or not self.images:
            message = f"{self.images} images cannot be spread evenly over {self.associations} associations"
            raise ValueError(message)

    @property
    def each(self) -> int:
        """Images an association."""
        return self.images // self.associations

    @property
    def shares(self) -> list[int]:
        """Associations of each sending process."""
        processes = math.ceil(self.associations / _ASSOCIATIONS_A_PROCESS)
        return [self.associations // processes + (n < self.associations % processes) for n in range(processes)]


@dataclass(frozen=True, slots=True)
class Part:
    """What one sending process did."""

    sent: list[Sent]
    cpu_seconds: float


class Load:
    """Sending processes whose associations are established on entering and released on leaving.

    The message is encoded before they are forked, and shared.

    Parameters
    ----------
    target : Target
    sample : Sample
    message : Message
        Encoded for the receiver's maximum length.
    plan : Plan
    seed : str
        Of the instance UIDs.
    vary : callable, optional
        Makes each image another one, in the message's head, which it may change in place.
    pace : float, optional
        Images a second in all; None is as fast as they are answered.
    """

    def __init__(
        self,
        target: Target,
        sample: Sample,
        message: Message,
        plan: Plan,
        seed: str,
        *,
        vary: Callable[[bytearray, random.Random], None] | None = None,
        pace: float | None = None,
    ) -> None:
        pipes = [_FORK.Pipe() for _ in plan.shares]
        self._pipes = [ours for ours, _ in pipes]
        self._theirs = [theirs for _, theirs in pipes]
        self._processes: list[ForkProcess] = []
        for number, (share, pipe) in enumerate(zip(plan.shares, self._theirs, strict=True)):
            others = [*self._pipes, *(theirs for theirs in self._theirs if theirs is not pipe)]
            first = sum(plan.shares[:number])
            paces = [] if pace is None else [_Pace(plan.associations / pace, (first + n) / pace) for n in range(share)]
            orders = _Orders(target, sample, message, share, plan.each, f"{seed}/{number}", vary, paces)
            self._processes.append(_FORK.Process(target=_send, args=(pipe, others, orders), daemon=True))

    def __enter__(self) -> Self:
        for process in self._processes:
            process.start()
        for pipe in self._theirs:
            # so that the end of the process that has the other copy is noticed
            pipe.close()
        for pipe in self._pipes:
            pipe.recv()
        return self

    def run(self, meanwhile: Callable[[], None], interval: float) -> Part:
        """Let all of them send, and return what they did, together.

        Parameters
        ----------
        meanwhile : callable
            Called every `interval` seconds until all have finished.
        """
        for pipe in self._pipes:
            pipe.send(None)
        done: list[Part] = []
        waiting = list(self._pipes)
        due = time.monotonic()
        while waiting:
            if time.monotonic() >= due:
                meanwhile()
                due = time.monotonic() + interval
            ready = wait(waiting, max(0.0, due - time.monotonic()))
            done += [pipe.recv() for pipe in waiting if pipe in ready]
            waiting = [pipe for pipe in waiting if pipe not in ready]
        return Part([sent for part in done for sent in part.sent], sum(part.cpu_seconds for part in done))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for pipe, process in zip(self._pipes, self._processes, strict=True):
            pipe.close()
            if kind is not None:
                process.terminate()
        for process in self._processes:
            process.join(_JOIN_SECONDS)
            if process.is_alive():
                process.kill()
                process.join()


@dataclass(frozen=True, slots=True)
class _Pace:
    """When an association sends: every so many seconds, the first time after some."""

    every: float
    first: float


@dataclass(frozen=True, slots=True)
class _Orders:
    """What one sending process has to do: `each` images over each of `share` associations."""

    target: Target
    sample: Sample
    message: Message
    share: int
    each: int
    seed: str
    vary: Callable[[bytearray, random.Random], None] | None
    paces: Sequence[_Pace]


def _send(pipe: Connection, others: Sequence[Connection], orders: _Orders) -> None:
    """Establish, say so, wait for the word, send, tell, wait for the end, release."""
    for other in others:
        # inherited; open here they would hide from another process that the parent has ended
        other.close()
    links = _at_once([partial(_open, orders)] * orders.share)
    pipe.send(None)
    try:
        pipe.recv()
        before = _cpu_seconds()
        sent = _at_once([partial(_run, orders, link, number) for number, link in enumerate(links)])
        pipe.send(Part([one for part in sent for one in part], _cpu_seconds() - before))
        pipe.recv()
    except EOFError:
        pass
    _at_once([link.close for link in links if not isinstance(link, str)])


def _open(orders: _Orders) -> Link | str:
    try:
        link = open_link(orders.target, orders.sample)
    except (OSError, Refused) as error:
        return f"{type(error).__name__}: {error}"
    if orders.message.maximum_length > link.maximum_length:
        link.drop()
        return "the receiver takes shorter PDUs than at first"
    return link


def _run(orders: _Orders, link: Link | str, number: int) -> list[Sent]:
    chance = random.Random(f"{orders.seed}/{number}")  # noqa: S311 - repeatable
    head = bytearray(orders.message.head)
    sent: list[Sent] = []
    failure: str | None = None
    began = time.monotonic()
    for image in range(orders.each):
        if orders.paces:
            pace = orders.paces[number]
            time.sleep(max(0.0, began + pace.first + image * pace.every - time.monotonic()))
        if isinstance(link, str) or failure is not None:
            now = time.monotonic()
            sent.append(Sent(now, now, now, None, failure or str(link)))
        else:
            if orders.vary is not None:
                orders.vary(head, chance)
            sent.append(store(link, orders.message, head, encoding.new_uid(chance)))
            failure = sent[-1].error
    return sent


def _at_once(work: Sequence[Callable[[], T]]) -> list[T]:
    """Run each in a thread and return their results in order."""
    with ThreadPoolExecutor(max(1, len(work))) as threads:
        return [future.result() for future in [threads.submit(one) for one in work]]


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def succeeded(sent: Sequence[Sent]) -> list[Sent]:
    """Return those that were acknowledged."""
    return [one for one in sent if one.status == SUCCESS]
