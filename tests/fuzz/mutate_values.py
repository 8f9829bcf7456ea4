"""Mutations of presentation data values and of the P-DATA-TF PDUs that hold them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

from tests.fuzz.drafts import Packet, Value

Packets = list[list[Packet]]


def _places(packets: Packets) -> list[tuple[list[Packet], int]]:
    return [(of_message, place) for of_message in packets for place in range(len(of_message))]


def _a_value(chance: random.Random, packets: Packets) -> Value | None:
    values = [one for of_message in packets for packet in of_message for one in packet.values]
    # the ends of commands and data sets are where most is decided
    ends = [one for one in values if one.header & 2]
    return chance.choice(chance.choice([values, ends]) or values) if values else None


def _replaced(chance: random.Random, packets: Packets, with_what: Callable[[Packet], list[Packet]]) -> None:
    if places := _places(packets):
        of_message, place = chance.choice(places)
        of_message[place : place + 1] = with_what(of_message[place])


def command_bit(chance: random.Random, packets: Packets) -> None:
    if one := _a_value(chance, packets):
        one.header ^= 1


def last_bit(chance: random.Random, packets: Packets) -> None:
    if one := _a_value(chance, packets):
        one.header ^= 2


def odd_bits(chance: random.Random, packets: Packets) -> None:
    if one := _a_value(chance, packets):
        one.header |= chance.choice([0x04, 0x80, 0xFC])


def value_on_another_context(chance: random.Random, packets: Packets) -> None:
    if one := _a_value(chance, packets):
        one.context = chance.choice([0, 1, 2, 3, 5, 255])


def value_length(chance: random.Random, packets: Packets) -> None:
    if one := _a_value(chance, packets):
        right = len(one.content) + 2
        one.length = chance.choice([0, 1, 2, 3, right - 1, right + 1, right + 6, 0x10000, 0x7FFFFFFF, 0xFFFFFFFF])
        one.length = max(one.length, 0)


def value_emptied(chance: random.Random, packets: Packets) -> None:
    if one := _a_value(chance, packets):
        one.content = b""


def value_doubled(chance: random.Random, packets: Packets) -> None:
    _replaced(chance, packets, lambda packet: [Packet(packet.values * chance.choice([2, 2, 30]))])


def values_shuffled(chance: random.Random, packets: Packets) -> None:
    if packets:
        of_message = chance.choice(packets)
        values = [one for packet in of_message for one in packet.values]
        chance.shuffle(values)
        of_message[:] = [Packet([one]) for one in values]


def values_in_one_pdu(chance: random.Random, packets: Packets) -> None:
    if packets:
        of_message = chance.choice(packets)
        of_message[:] = [Packet([one for packet in of_message for one in packet.values])]


def empty_values_between(chance: random.Random, packets: Packets) -> None:
    empty = Value(1, chance.randrange(4), b"")
    _replaced(chance, packets, lambda packet: [Packet([empty] * chance.choice([1, 500])), packet])


def no_values(chance: random.Random, packets: Packets) -> None:
    _replaced(chance, packets, lambda packet: [Packet([]), packet])


def packet_left_out(chance: random.Random, packets: Packets) -> None:
    _replaced(chance, packets, lambda _: [])


def packet_doubled(chance: random.Random, packets: Packets) -> None:
    _replaced(chance, packets, lambda packet: [packet, packet])


def packets_swapped(chance: random.Random, packets: Packets) -> None:
    if having := [of_message for of_message in packets if of_message]:
        of_message = chance.choice(having)
        one, other = chance.randrange(len(of_message)), chance.randrange(len(of_message))
        of_message[one], of_message[other] = of_message[other], of_message[one]


def messages_interleaved(chance: random.Random, packets: Packets) -> None:
    """Two messages as one: a packet of each in turn, or one within the other."""
    if len(packets) > 1:
        first, second = packets.pop(), packets.pop()
        place = chance.randint(0, len(first))
        packets.append(
            chance.choice(
                [
                    [one for pair in itertools.zip_longest(first, second) for one in pair if one is not None],
                    first[:place] + second + first[place:],
                ]
            )
        )


def messages_without_waiting(_: random.Random, packets: Packets) -> None:
    """All messages, then all answers."""
    packets[:] = [[packet for of_message in packets for packet in of_message]] if packets else []


ALL: dict[str, Callable[[random.Random, Packets], None]] = {
    one.__name__: one
    for one in (
        command_bit,
        last_bit,
        odd_bits,
        value_on_another_context,
        value_length,
        value_emptied,
        value_doubled,
        values_shuffled,
        values_in_one_pdu,
        empty_values_between,
        no_values,
        packet_left_out,
        packet_doubled,
        packets_swapped,
        messages_interleaved,
        messages_without_waiting,
    )
}
