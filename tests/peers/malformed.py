"""Bytes that break the upper layer protocol (PS3.8) or the message exchange (PS3.7), each under a name.

Tests send each of them alone; the fuzz and the soak send them by chance.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tests.peers.data_sets import CR_STORAGE, EXPLICIT, IMPLICIT, data_set
from tests.peers.raw import (
    ABORT,
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    ASSOCIATE_RQ,
    IMPLEMENTATION,
    MAXIMUM_LENGTH,
    NO_DATA_SET,
    P_DATA,
    RELEASE_RP,
    RELEASE_RQ,
    VERIFICATION,
    Context,
    associate_request,
    command_set,
    echo_command,
    fragments,
    item,
    message,
    pdu,
    store_command,
    value,
)

INSTANCE: Final = "1.2.3.4"
DATA: Final = data_set(INSTANCE)
_WHOLE: Final = associate_request(calling=b"EVIL")
_FOUR: Final = bytes(4)


def _number(value: int) -> bytes:
    return struct.pack("<H", value)


def command(field: int, *, data: bool = False, **elements: bytes) -> bytes:
    """A command set with this (0000,0100) and whatever else, each element by its number as ``e0110``."""
    numbers = {0x0002: CR_STORAGE.encode(), 0x0110: _number(1), 0x0800: _number(1 if data else NO_DATA_SET)}
    given = {int(name[1:], 16): content for name, content in elements.items()}
    return command_set({**numbers, 0x0100: _number(field), **given})


# instead of an A-ASSOCIATE-RQ, on a new connection: answered by A-ABORT, A-ASSOCIATE-RJ or the end of the connection
BEFORE_ASSOCIATION: Final[Mapping[str, bytes]] = {
    "zeros": bytes(100),
    "ones": b"\xff" * 100,
    "HTTP": b"GET / HTTP/1.1\r\nHost: lungwatch\r\n\r\n",
    "TLS ClientHello": bytes.fromhex("16030100c8010000c40303") + bytes(range(197)),
    "unknown PDU type": pdu(0x42, b"hello"),
    "P-DATA": message(store_command(INSTANCE), DATA),
    "A-RELEASE-RQ": pdu(RELEASE_RQ, _FOUR),
    "A-RELEASE-RP": pdu(RELEASE_RP, _FOUR),
    "A-ASSOCIATE-AC": bytes([ASSOCIATE_AC]) + _WHOLE[1:],
    "A-ASSOCIATE-RJ": pdu(ASSOCIATE_RJ, b"\0\1\1\1"),
    "A-ABORT": pdu(ABORT, _FOUR),
    "an empty request": pdu(ASSOCIATE_RQ, b""),
    "a request of one byte": pdu(ASSOCIATE_RQ, b"\0"),
    "a request without items": pdu(ASSOCIATE_RQ, _WHOLE[6:74]),
    "a request cut within the fixed fields": pdu(ASSOCIATE_RQ, _WHOLE[6:40]),
    "a request cut within an item": pdu(ASSOCIATE_RQ, _WHOLE[6:-10]),
    "garbage for items": pdu(ASSOCIATE_RQ, _WHOLE[6:74] + b"\xff" * 200),
    "an item longer than the request": pdu(ASSOCIATE_RQ, _WHOLE[6:74] + item(0x10, b"1.2", length=60_000)),
    "a sub-item longer than its item": associate_request(user=item(0x51, b"\0\0\x40\0", length=5000)),
    "a maximum length of two bytes": associate_request(user=item(0x51, b"\x40\0") + IMPLEMENTATION),
    "no presentation context": associate_request([]),
    "no user information": pdu(ASSOCIATE_RQ, _WHOLE[6:74] + item(0x10, b"1.2.840.10008.3.1.1.1")),
    "another application context": associate_request(application=b"1.2.840.10008.3.1.1.2"),
    "an application context that is no UID": associate_request(application=b"\n\0\xff" * 20),
    "protocol version 0": associate_request(version=0),
    "protocol version 2 alone": associate_request(version=2),
    "a calling title of spaces": associate_request(calling=b" " * 16),
    "a calling title of zeros": associate_request(calling=bytes(16)),
    "a calling title of ones": associate_request(calling=b"\xff" * 16),
    "an abstract syntax that is no UID": associate_request([Context("\n" * 60)]),
    "an abstract syntax of 60 kB": associate_request([Context("1." * 30_000 + "1")]),
    "10 000 transfer syntaxes": associate_request([Context(CR_STORAGE, ["1.2"] * 9_000)]),
    "6 000 transfer syntaxes and one we take": associate_request(
        [Context(CR_STORAGE, [EXPLICIT, *(f"1.{number}" for number in range(6_000))])]
    ),
    "12 000 implementation classes": associate_request(user=MAXIMUM_LENGTH + item(0x52, b"1") * 12_000),
    "no transfer syntax": associate_request([Context(CR_STORAGE, [])]),
    "a context without abstract syntax": associate_request(
        [], extra=item(0x20, b"\x01\0\0\0" + item(0x40, EXPLICIT.encode()))
    ),
    "an asynchronous window of nothing": associate_request(user=MAXIMUM_LENGTH + IMPLEMENTATION + item(0x53, b"")),
}

# odd, but not clearly wrong: answered one way or another, and an association that is accepted works
PECULIAR_REQUESTS: Final[Mapping[str, bytes]] = {
    "protocol versions 1 and 2": associate_request(version=3),
    "128 contexts": associate_request([Context(transfer=[EXPLICIT, IMPLICIT])] * 128),
    "129 contexts": associate_request([Context(number=2 * place + 1) for place in range(128)] + [Context(number=1)]),
    "300 contexts": associate_request([Context(number=place % 256) for place in range(300)]),
    "one number for all contexts": associate_request([Context(), *[Context(number=1)] * 20]),
    "even numbers": associate_request([Context(number=2), Context(number=0), Context()]),
    "64 kB of user information": associate_request(
        user=MAXIMUM_LENGTH + IMPLEMENTATION + b"".join(item(0x57, b"x" * 200) for _ in range(300))
    ),
    "many sub-items nobody knows": associate_request(user=MAXIMUM_LENGTH + IMPLEMENTATION + item(0x7F, b"x") * 5000),
    "many items nobody knows": associate_request(extra=item(0x66, b"x" * 100) * 500),
    "a maximum length of 0": associate_request(user=item(0x51, bytes(4)) + IMPLEMENTATION),
    "a maximum length of 1": associate_request(user=item(0x51, b"\0\0\0\1") + IMPLEMENTATION),
    "a maximum length of 4 GiB": associate_request(user=item(0x51, b"\xff" * 4) + IMPLEMENTATION),
    "no maximum length": associate_request(user=IMPLEMENTATION),
    "no implementation class": associate_request(user=MAXIMUM_LENGTH),
    "an asynchronous window of 65535": associate_request(
        user=MAXIMUM_LENGTH + IMPLEMENTATION + item(0x53, b"\xff\xff\xff\xff")
    ),
    "roles for what was not proposed": associate_request(
        user=MAXIMUM_LENGTH + IMPLEMENTATION + item(0x54, b"\0\7" + b"1.2.3.4" + b"\1\1")
    ),
    "roles reversed": associate_request(
        user=MAXIMUM_LENGTH
        + IMPLEMENTATION
        + item(0x54, struct.pack(">H", len(CR_STORAGE)) + CR_STORAGE.encode() + b"\0\1")
    ),
    "an identity of 64 kB": associate_request(
        user=MAXIMUM_LENGTH + IMPLEMENTATION + item(0x58, b"\x01\x01" + struct.pack(">H", 60_000) + b"x" * 60_000)
    ),
    "user identity": associate_request(
        user=MAXIMUM_LENGTH + IMPLEMENTATION + item(0x58, b"\x02\x01\0\x04name\0\x08password")
    ),
}


@dataclass(frozen=True)
class Breach:
    """What breaks an association that has been accepted, with contexts 1 (storage) and 3 (Verification)."""

    content: bytes
    forgivable: bool = False
    """Whether the association may go on instead of being aborted."""


ESTABLISHED_CONTEXTS: Final = (Context(), Context(VERIFICATION, [IMPLICIT]))

# PDUs and presentation data values
BROKEN_PDUS: Final[Mapping[str, Breach]] = {
    "PDU of type 0": Breach(pdu(0, bytes(10))),
    "PDU of type 8": Breach(pdu(8, bytes(10))),
    "PDU of type 255": Breach(pdu(255, bytes(10))),
    "a second A-ASSOCIATE-RQ": Breach(_WHOLE),
    "A-ASSOCIATE-AC": Breach(bytes([ASSOCIATE_AC]) + _WHOLE[1:]),
    "A-ASSOCIATE-RJ": Breach(pdu(ASSOCIATE_RJ, b"\0\1\1\1")),
    "A-RELEASE-RP unasked": Breach(pdu(RELEASE_RP, _FOUR)),
    "an empty A-RELEASE-RQ": Breach(pdu(RELEASE_RQ, b"")),
    "an A-RELEASE-RQ of 100 kB": Breach(pdu(RELEASE_RQ, bytes(100_000))),
    "an empty A-ABORT": Breach(pdu(ABORT, b"")),
    "an A-ABORT with odd reasons": Breach(pdu(ABORT, b"\xff" * 4)),
    "an A-ABORT of 100 kB": Breach(pdu(ABORT, bytes(100_000))),
    "an empty P-DATA": Breach(pdu(P_DATA, b""), forgivable=True),
    "a value of length 0": Breach(pdu(P_DATA, struct.pack(">L", 0))),
    "a value of length 1": Breach(pdu(P_DATA, struct.pack(">LB", 1, 1))),
    "a value without content": Breach(pdu(P_DATA, value(1, 1, b"")), forgivable=True),
    "thousands of values without content": Breach(pdu(P_DATA, value(1, 1, b"") * 5000), forgivable=True),
    "a data set in values of a byte each": Breach(
        message(store_command(INSTANCE))
        + b"".join(fragments(1, data_set(INSTANCE, pixels=8192), command=False, size=1))
    ),
    "a value longer than its PDU": Breach(pdu(P_DATA, value(1, 3, echo_command(), length=5000))),
    "a value of 4 GiB": Breach(pdu(P_DATA, value(1, 3, b"", length=0xFFFFFFFF))),
    "a value shorter than its content": Breach(pdu(P_DATA, value(1, 3, echo_command(), length=20))),
    "half a value's header": Breach(pdu(P_DATA, b"\0\0\0")),
    "a context never proposed": Breach(message(echo_command(), context=99)),
    "a context of even number": Breach(message(echo_command(), context=2)),
    "context 0": Breach(message(echo_command(), context=0)),
    "a message on two contexts": Breach(
        pdu(P_DATA, value(1, 3, store_command(INSTANCE))) + pdu(P_DATA, value(3, 2, DATA))
    ),
    "a header of odd bits": Breach(pdu(P_DATA, value(3, 0xFF, echo_command())), forgivable=True),
}

# messages
BROKEN_MESSAGES: Final[Mapping[str, Breach]] = {
    "a data set before any command": Breach(message(b"", DATA)[12:]),
    "a command within the data set": Breach(
        message(store_command(INSTANCE)) + pdu(P_DATA, value(1, 0, DATA[:50])) + message(echo_command())
    ),
    "a data set nobody announced": Breach(message(store_command(INSTANCE, data_set=False), DATA), forgivable=True),
    "an empty command": Breach(message(b"")),
    "garbage for a command": Breach(message(b"\xff" * 50)),
    "text for a command": Breach(message(b"GET / HTTP/1.1\r\n\r\n")),
    "a command cut short": Breach(message(store_command(None)[:30])),
    "a command cut within an element's header": Breach(message(store_command(None)[:-3])),
    "a command of another group": Breach(message(DATA)),
    "an element of 4 GiB": Breach(message(store_command(INSTANCE) + struct.pack("<HHL", 0, 0x1000, 0xFFFFFFFF))),
    "a group length of nothing": Breach(message(command(0x0030)[:12])),
    "a group length too large": Breach(message(command_set({0x0100: _number(0x30)}, group_length=5000))),
    "a group length too small": Breach(
        message(b"\0\0\0\0\4\0\0\0\2\0\0\0" + store_command(INSTANCE)[12:], DATA), forgivable=True
    ),
    "no group length": Breach(message(store_command(INSTANCE)[12:], DATA), forgivable=True),
    "no command field": Breach(message(command_set({0x0002: b"1.2", 0x0800: b"\x01\x01"}))),
    "no message id": Breach(message(command_set({0x0100: _number(1), 0x0800: _number(1)}), DATA), forgivable=True),
    "no data set type": Breach(message(command_set({0x0100: _number(1), 0x0110: _number(1)}), DATA), forgivable=True),
    "a command field of one byte": Breach(message(b"\0\0\0\1\1\0\0\0\1")),
    "a command field of 100 bytes": Breach(message(command_set({0x0100: bytes(100), 0x0800: _number(NO_DATA_SET)}))),
    "a message id of text": Breach(message(command(0x0030, e0110=b"seven!")), forgivable=True),
    "an unknown command": Breach(message(command(0x1234)), forgivable=True),
    "command 0": Breach(message(command(0)), forgivable=True),
    "command FFFF": Breach(message(command(0xFFFF))),
    "C-CANCEL": Breach(message(command(0x0FFF, e0120=_number(1))), forgivable=True),
    "C-FIND": Breach(message(command(0x0020, data=True), DATA), forgivable=True),
    "C-GET": Breach(message(command(0x0010, data=True), DATA), forgivable=True),
    "C-MOVE": Breach(message(command(0x0021, data=True, e0600=b"EVIL"), DATA), forgivable=True),
    "N-EVENT-REPORT": Breach(message(command(0x0100, data=True), DATA), forgivable=True),
    "N-GET": Breach(message(command(0x0110)), forgivable=True),
    "N-SET": Breach(message(command(0x0120, data=True), DATA), forgivable=True),
    "N-ACTION": Breach(message(command(0x0130, data=True, e1008=_number(1)), DATA), forgivable=True),
    "N-CREATE": Breach(message(command(0x0140, data=True), DATA), forgivable=True),
    "N-DELETE": Breach(message(command(0x0150)), forgivable=True),
    "C-STORE response": Breach(message(command(0x8001, e0120=_number(1), e0900=_number(0)))),
    "C-ECHO response": Breach(message(command(0x8030, e0120=_number(1), e0900=_number(0)))),
    "N-EVENT-REPORT response": Breach(message(command(0x8100, e0120=_number(1), e0900=_number(0)))),
    "an echo on the storage context": Breach(message(echo_command()), forgivable=True),
    "a store on the Verification context": Breach(message(store_command(INSTANCE), DATA, context=3), forgivable=True),
    "a store that responds to another": Breach(
        message(command(0x0001, data=True, e0120=_number(1), e1000=INSTANCE.encode()), DATA), forgivable=True
    ),
}
