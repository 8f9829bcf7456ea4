"""A valid session, drawn by chance and still in its parts, so that each of them can be changed."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field

from tests.fuzz.session import AWAIT, Step, send, send_pdu
from tests.peers.data_sets import (
    CR_STORAGE,
    EXPLICIT,
    IMPLICIT,
    ITEM_END,
    SEQUENCE_END,
    UNDEFINED,
    data_set,
    element,
    encoded_for,
    item,
)
from tests.peers.raw import (
    APPLICATION_CONTEXT,
    C_ECHO_RQ,
    C_STORE_RQ,
    IMPLEMENTATION,
    NO_DATA_SET,
    P_DATA,
    RELEASE_RQ,
    VERIFICATION,
    Context,
    associate_request,
    pdu,
    value,
)
from tests.peers.raw import item as sub_item

COMMITMENT = "1.2.840.10008.1.20.1"
COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"
N_ACTION_RQ = 0x0130
STORAGE_CLASSES = (CR_STORAGE, "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.7", "1.2.276.0.99.1")
ENCAPSULATED = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5")
# one that the peers file names, with a report address; from its own address alone
REPORTED, REPORTED_SOURCE = b"FUZZPACS", "127.0.0.2"
STRANGERS = ("127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6")
_SIZES = (1, 2, 7, 100, 1000, 4095, 16_000, 60_000, 130_000)
_MOST_PIECES = 600


@dataclass
class Value:
    """A presentation data value; `length` lies about it."""

    context: int
    header: int
    content: bytes
    length: int | None = None

    def encoded(self) -> bytes:
        return value(self.context, self.header, self.content, length=self.length)


@dataclass
class Packet:
    """A P-DATA-TF PDU."""

    values: list[Value]

    def encoded(self) -> bytes:
        return pdu(P_DATA, b"".join(one.encoded() for one in self.values))


@dataclass
class Message:
    """A DIMSE request; `elements` of its command set in order, `group_length` lies."""

    context: int
    elements: list[tuple[int, bytes]]
    data: bytes | None
    command_size: int = 16_000
    data_size: int = 16_000
    together: int = 1
    """Values a PDU."""
    group_length: int | None = None

    def command(self) -> bytes:
        group = b"".join(struct.pack("<HHL", 0, number, len(content)) + content for number, content in self.elements)
        return struct.pack("<HHLL", 0, 0, 4, len(group) if self.group_length is None else self.group_length) + group

    def packets(self) -> list[Packet]:
        values = _cut(self.context, self.command(), 1, self.command_size)
        if self.data is not None:
            values += _cut(self.context, self.data, 0, self.data_size)
        return [Packet(values[start : start + self.together]) for start in range(0, len(values), self.together)]


def _cut(context: int, content: bytes, header: int, size: int) -> list[Value]:
    # a byte at a time, but not for hours
    size = max(size, len(content) // _MOST_PIECES, 1)
    pieces = [content[start : start + size] for start in range(0, len(content), size)] or [b""]
    last = len(pieces) - 1
    return [Value(context, header | (2 if number == last else 0), piece) for number, piece in enumerate(pieces)]


@dataclass
class Draft:
    """A session before it is encoded; `request` replaces the whole A-ASSOCIATE-RQ."""

    source: str
    calling: bytes
    called: bytes = b"LUNGWATCH"
    version: int = 1
    application: bytes = APPLICATION_CONTEXT
    contexts: list[Context] = field(default_factory=list)
    user: list[bytes] = field(default_factory=list)
    extra: bytes = b""
    request: bytes | None = None
    messages: list[Message] = field(default_factory=list)

    def packets(self) -> list[list[Packet]]:
        return [message.packets() for message in self.messages]

    def steps(self, packets: list[list[Packet]]) -> list[Step]:
        """Each PDU a step, and a wait after whatever is to be answered."""
        steps = [send(self.request if self.request is not None else self._encoded_request()), AWAIT]
        for of_message in packets:
            steps += [send(packet.encoded()) for packet in of_message]
            steps.append(AWAIT)
        return [*steps, send_pdu(RELEASE_RQ, bytes(4)), AWAIT]

    def _encoded_request(self) -> bytes:
        return associate_request(
            self.contexts,
            called=self.called,
            calling=self.calling,
            version=self.version,
            application=self.application,
            user=b"".join(self.user),
            extra=self.extra,
        )


def us(number: int) -> bytes:
    return struct.pack("<H", number & 0xFFFF)


def ui(uid: str) -> bytes:
    encoded = uid.encode()
    return encoded + b"\0" * (len(encoded) % 2)


def draw(chance: random.Random, name: str) -> Draft:
    """A session that breaks nothing: every request of it is to be answered 0x0000."""
    known = chance.random() < 0.3
    draft = Draft(
        source=REPORTED_SOURCE if known else chance.choice(STRANGERS),
        calling=REPORTED if known else b"FUZZ%d" % chance.randrange(20),
        contexts=_contexts(chance),
        user=_user_information(chance),
    )
    if known:
        draft.contexts.append(Context(COMMITMENT, [chance.choice([EXPLICIT, IMPLICIT])]))
    for serial in range(chance.choice([0, 1, 1, 1, 2, 2, 3, 5])):
        draft.messages.append(_message(chance, draft, f"{name}.{serial}"))
    return draft


def _contexts(chance: random.Random) -> list[Context]:
    offered = [Context(VERIFICATION, [chance.choice([EXPLICIT, IMPLICIT])])]
    for _ in range(chance.choice([1, 1, 2, 4])):
        syntax = chance.choice([EXPLICIT, EXPLICIT, IMPLICIT, chance.choice(ENCAPSULATED)])
        offered.append(Context(chance.choice(STORAGE_CLASSES), [syntax]))
    chance.shuffle(offered)
    return offered


def _user_information(chance: random.Random) -> list[bytes]:
    maximum = chance.choice([0, 12, 20, 4096, 16_384, 131_072, 0xFFFFFFFF])
    user = [sub_item(0x51, struct.pack(">L", maximum)), IMPLEMENTATION]
    if chance.random() < 0.3:
        user.append(sub_item(0x55, b"FUZZ_1"))
    if chance.random() < 0.2:
        user.append(sub_item(0x53, struct.pack(">HH", 1, 1)))
    return user


def _message(chance: random.Random, draft: Draft, name: str) -> Message:
    place = chance.randrange(len(draft.contexts))
    number, context = 2 * place + 1, draft.contexts[place]
    if context.abstract == VERIFICATION:
        return _echo(chance, number)
    if context.abstract == COMMITMENT:
        return _commitment(chance, number, name, explicit=context.transfer[0] == EXPLICIT)
    return _store(chance, number, context, name)


def _echo(chance: random.Random, number: int) -> Message:
    elements = [
        (0x0002, ui(VERIFICATION)),
        (0x0100, us(C_ECHO_RQ)),
        (0x0110, us(chance.randrange(1 << 16))),
        (0x0800, us(NO_DATA_SET)),
    ]
    return Message(number, elements, None, command_size=chance.choice(_SIZES))


def _commitment(chance: random.Random, number: int, name: str, *, explicit: bool) -> Message:
    elements = [
        (0x0003, ui(COMMITMENT)),
        (0x0100, us(N_ACTION_RQ)),
        (0x0110, us(chance.randrange(1 << 16))),
        (0x0800, us(1)),
        (0x1001, ui(COMMITMENT_INSTANCE)),
        (0x1008, us(1)),
    ]
    undefined = chance.random() < 0.5
    items = b"".join(
        _item(
            element(0x00081150, "UI", CR_STORAGE.encode(), explicit=explicit)
            + element(0x00081155, "UI", f"{instance_uid(name)}.{place}".encode(), explicit=explicit),
            undefined=undefined,
        )
        for place in range(chance.choice([1, 1, 2, 20]))
    )
    data = element(0x00081195, "UI", instance_uid(name).encode(), explicit=explicit) + _sequence(
        0x00081199, items, explicit=explicit, undefined=undefined
    )
    return Message(number, elements, data, chance.choice(_SIZES), chance.choice(_SIZES), chance.choice([1, 1, 2, 5]))


def _item(content: bytes, *, undefined: bool) -> bytes:
    return item(content, length=UNDEFINED) + ITEM_END if undefined else item(content)


def _sequence(tag: int, items: bytes, *, explicit: bool, undefined: bool) -> bytes:
    if undefined:
        return element(tag, "SQ", items + SEQUENCE_END, explicit=explicit, length=UNDEFINED)
    return element(tag, "SQ", items, explicit=explicit)


def _store(chance: random.Random, number: int, context: Context, name: str) -> Message:
    instance = instance_uid(name)
    elements = [
        (0x0002, ui(context.abstract)),
        (0x0100, us(C_STORE_RQ)),
        (0x0110, us(chance.randrange(1 << 16))),
        (0x0700, us(chance.choice([0, 1, 2]))),
        (0x0800, us(chance.choice([0, 1, 1, 0x0102]))),
        (0x1000, ui(instance)),
    ]
    data = encoded(chance, context.transfer[0], instance, context.abstract)
    return Message(number, elements, data, chance.choice(_SIZES), chance.choice(_SIZES), chance.choice([1, 1, 1, 2, 5]))


def encoded(chance: random.Random, syntax: str, instance: str, sop_class: str) -> bytes:
    """A data set of some hundred bytes to some hundred kilobytes, as the transfer syntax wants it."""
    explicit = syntax != IMPLICIT
    if syntax not in {EXPLICIT, IMPLICIT}:
        return encoded_for(syntax, instance).replace(
            element(0x00080016, "UI", CR_STORAGE.encode()), element(0x00080016, "UI", sop_class.encode())
        )
    nested = b""
    for _ in range(chance.choice([0, 0, 1, 3, 30])):
        nested = _sequence(
            0x00101002,
            _item(element(0x00100020, "LO", b"Canary", explicit=explicit) + nested, undefined=chance.random() < 0.5),
            explicit=explicit,
            undefined=chance.random() < 0.5,
        )
    return data_set(
        instance,
        sop_class,
        explicit=explicit,
        extra=nested if len(nested) < 60_000 else b"",
        pixel_data=element(
            0x7FE00010, "OW", chance.randbytes(2 * chance.choice([0, 50, 2000, 8000, 100_000])), explicit=explicit
        ),
    )


def instance_uid(name: str) -> str:
    """A UID of this session's own, and of no other peer's."""
    return f"1.2.826.0.1.3680043.8.498.7.{name}"
