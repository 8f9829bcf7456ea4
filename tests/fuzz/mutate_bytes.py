"""Mutations of a session's bytes, of when they are sent and of how the connection ends."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

from tests.fuzz.session import AWAIT, AWAIT_SECONDS, HALF_CLOSE, RESET, STAY, Kind, Step, send, send_pdu
from tests.peers.malformed import BEFORE_ASSOCIATION, BROKEN_MESSAGES, BROKEN_PDUS
from tests.peers.raw import ABORT, RELEASE_RP, RELEASE_RQ, echo_command, message

Steps = list[Step]
_FOREIGN = [
    *(breach.content for breach in (*BROKEN_PDUS.values(), *BROKEN_MESSAGES.values())),
    *BEFORE_ASSOCIATION.values(),
]
# the listener gives a message at most five seconds here
_PAUSES = (0.001, 0.02, 0.1, 0.4)
_MOST_SPLITS = 200
# how many of those that fall silent wait to be cut
_TO_THE_END = 0.15


def _sends(steps: Steps) -> list[int]:
    return [place for place, step in enumerate(steps) if step.kind is Kind.SEND and step.content]


def _changed(chance: random.Random, steps: Steps, change: Callable[[bytearray], bytearray]) -> None:
    # not one PDU of the hundreds of a message each time, but as often the request, the first or the last
    if places := _sends(steps):
        place = chance.choice([places[0], places[-1], chance.choice(places), chance.choice(places)])
        steps[place] = send(bytes(change(bytearray(steps[place].content))))


def _inserted(chance: random.Random, steps: Steps, *more: Step) -> None:
    place = chance.randint(0, len(steps))
    steps[place:place] = more


def pdu_length(chance: random.Random, steps: Steps) -> None:
    def lie(content: bytearray) -> bytearray:
        right = len(content) - 6
        lies = [0, 1, 3, 4, right - 1, right + 1, right + 6, 0x10000, 0x100401, 0x7FFFFFFF, 0xFFFFFFFF]
        content[2:6] = struct.pack(">L", max(chance.choice(lies), 0))
        return content

    _changed(chance, steps, lie)


def pdu_type(chance: random.Random, steps: Steps) -> None:
    kind = chance.choice([*range(9), 0x16, 0xFF])
    _changed(chance, steps, lambda content: bytearray([kind]) + content[1:])


def reserved_byte(chance: random.Random, steps: Steps) -> None:
    _changed(chance, steps, lambda content: content[:1] + b"\xff" + content[2:])


def pdu_cut(chance: random.Random, steps: Steps) -> None:
    _changed(chance, steps, lambda content: content[: chance.randrange(len(content))])


def bits(chance: random.Random, steps: Steps) -> None:
    def flip(content: bytearray) -> bytearray:
        for _ in range(chance.choice([1, 1, 3, 20])):
            place = chance.randrange(min(len(content), chance.choice([16, 200, len(content)])))
            content[place] ^= 1 << chance.randrange(8)
        return content

    _changed(chance, steps, flip)


def bytes_added(chance: random.Random, steps: Steps) -> None:
    more = chance.choice([chance.randbytes(1), chance.randbytes(20), bytes(6), chance.randbytes(3000)])
    place = chance.random()
    _changed(
        chance,
        steps,
        lambda content: content[: int(place * len(content))] + more + content[int(place * len(content)) :],
    )


def bytes_left_out(chance: random.Random, steps: Steps) -> None:
    def drop(content: bytearray) -> bytearray:
        start = chance.randrange(len(content))
        del content[start : start + chance.choice([1, 2, 10, 1000])]
        return content

    _changed(chance, steps, drop)


def pdu_doubled(chance: random.Random, steps: Steps) -> None:
    if places := _sends(steps):
        place = chance.choice(places)
        steps.insert(place, steps[place])


def pdu_left_out(chance: random.Random, steps: Steps) -> None:
    if places := _sends(steps):
        steps.pop(chance.choice(places))


def pdus_swapped(chance: random.Random, steps: Steps) -> None:
    if places := _sends(steps):
        one, other = chance.choice(places), chance.choice(places)
        steps[one], steps[other] = steps[other], steps[one]


def foreign_bytes(chance: random.Random, steps: Steps) -> None:
    _inserted(chance, steps, send(chance.choice(_FOREIGN)), *[AWAIT] * chance.randrange(2))


def release_early(chance: random.Random, steps: Steps) -> None:
    """What follows is sent all the same."""
    _inserted(
        chance, steps, send_pdu(chance.choice([RELEASE_RQ, RELEASE_RP]), bytes(4)), *[AWAIT] * chance.randrange(2)
    )


def abort_early(chance: random.Random, steps: Steps) -> None:
    _inserted(chance, steps, send_pdu(ABORT, bytes([0, 0, chance.randrange(4), chance.randrange(8)])))


def message_after_release(_: random.Random, steps: Steps) -> None:
    steps += [send(message(echo_command())), AWAIT]


def no_release(_: random.Random, steps: Steps) -> None:
    del steps[-2:]


def without_waiting(_: random.Random, steps: Steps) -> None:
    """The whole session without one look at what is answered, but the A-ASSOCIATE-AC."""
    steps[:] = [step for place, step in enumerate(steps) if step.kind is not Kind.AWAIT or place == 1]


def without_any_waiting(_: random.Random, steps: Steps) -> None:
    steps[:] = [step for step in steps if step.kind is not Kind.AWAIT]


def in_one_write(_: random.Random, steps: Steps) -> None:
    steps[:] = [send(b"".join(step.content for step in steps)), AWAIT]


def split(chance: random.Random, steps: Steps) -> None:
    """In writes that know nothing of PDUs."""
    size = chance.choice([1, 3, 5, 6, 7, 100, 5000])
    found: Steps = []
    for step in steps:
        if step.kind is not Kind.SEND:
            found.append(step)
            continue
        least = max(size, len(step.content) // _MOST_SPLITS)
        found += [send(step.content[start : start + least]) for start in range(0, len(step.content), least)]
    steps[:] = found


def paused(chance: random.Random, steps: Steps) -> None:
    _inserted(chance, steps, Step(Kind.PAUSE, seconds=chance.choice(_PAUSES)))


def paused_within_pdu(chance: random.Random, steps: Steps) -> None:
    if places := _sends(steps):
        place = chance.choice(places)
        content = steps[place].content
        cut = chance.randrange(len(content))
        pause = Step(Kind.PAUSE, seconds=chance.choice(_PAUSES))
        steps[place : place + 1] = [send(content[:cut]), pause, send(content[cut:])]


def half_closed(chance: random.Random, steps: Steps) -> None:
    """An end of what we send, with our ears still open."""
    del steps[chance.randint(0, len(steps)) :]
    steps += [HALF_CLOSE, Step(Kind.AWAIT, seconds=AWAIT_SECONDS), STAY]


def reset(chance: random.Random, steps: Steps) -> None:
    del steps[chance.randint(0, len(steps)) :]
    steps.append(RESET)


def gone(chance: random.Random, steps: Steps) -> None:
    """Closed in the midst of it, without a word."""
    del steps[chance.randint(0, len(steps)) :]


def silent(chance: random.Random, steps: Steps) -> None:
    """Silent from somewhere on, seldom to the end: that takes seconds."""
    del steps[chance.randint(0, len(steps)) :]
    steps.append(STAY if chance.random() < _TO_THE_END else Step(Kind.PAUSE, seconds=chance.choice(_PAUSES)))


def stuck_within_pdu(chance: random.Random, steps: Steps) -> None:
    """A PDU that is begun and not ended."""
    if places := _sends(steps):
        place = chance.choice(places)
        del steps[place + 1 :]
        steps[place] = send(steps[place].content[: chance.randrange(1, max(len(steps[place].content), 2))])
        steps.append(STAY if chance.random() < _TO_THE_END else Step(Kind.PAUSE, seconds=chance.choice(_PAUSES)))


ALL: dict[str, Callable[[random.Random, Steps], None]] = {
    one.__name__: one
    for one in (
        pdu_length,
        pdu_type,
        reserved_byte,
        pdu_cut,
        bits,
        bytes_added,
        bytes_left_out,
        pdu_doubled,
        pdu_left_out,
        pdus_swapped,
        foreign_bytes,
        release_early,
        abort_early,
        message_after_release,
        no_release,
        without_waiting,
        without_any_waiting,
        in_one_write,
        split,
        paused,
        paused_within_pdu,
        half_closed,
        reset,
        gone,
        silent,
        stuck_within_pdu,
    )
}
