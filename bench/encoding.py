"""A C-STORE as the bytes that go on the wire, made once, so that sending costs next to nothing.

PDUs are those of PS3.8 9.3, the command set that of PS3.7 9.3.1. It shares no
code with the listener, nor with pynetdicom.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from core.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)
LARGEST_PDU: Final = 128 * 1024
CONTEXT_ID: Final = 1
VERIFICATION: Final = "1.2.840.10008.1.1"
EXPLICIT_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1"
_APPLICATION_CONTEXT: Final = b"1.2.840.10008.3.1.1.1"
_CONTEXT_RESULT, _USER_INFORMATION, _MAXIMUM_LENGTH = 0x21, 0x50, 0x51
_C_STORE_RQ: Final = 0x0001
_STATUS: Final = 0x0900
_DATA_SET_FOLLOWS: Final = 0x0001
_COMMAND, _LAST = 1, 2
# of a presentation data value, PS3.8 9.3.5.1: length, context, message control header
_VALUE_HEADER: Final = struct.Struct(">LBB")
_PDU_HEADER: Final = struct.Struct(">BxL")
_UID_DIGITS: Final = 39
# the prefix of UUID-derived UIDs, PS3.5 B.2
_UID_PREFIX: Final = "2.25."


@dataclass(frozen=True, slots=True)
class Sample:
    """One instance to send again and again under new UIDs.

    Attributes
    ----------
    sop_class_uid, sop_instance_uid : str
        The instance UID is one of `new_uid`, so that any other fits in its place.
    data_set : bytes
        Encoded as explicit VR little endian, without file meta information.
    transfer_syntax : str
        Of its pixel data.
    """

    sop_class_uid: str
    sop_instance_uid: str
    data_set: bytes = field(repr=False)
    transfer_syntax: str = EXPLICIT_LITTLE_ENDIAN


@dataclass(frozen=True, slots=True)
class Message:
    """A sample cut into PDUs for one maximum length.

    Attributes
    ----------
    head : bytes
        The command set's PDU and the data set's first: all that changes from one instance to the next lies here.
    tail : bytes
        Everything after it.
    places : tuple of int
        Where in `head` the SOP Instance UID stands.
    maximum_length : int
        Of the PDUs, without their header.
    """

    head: bytes = field(repr=False)
    tail: bytes = field(repr=False)
    places: tuple[int, ...]
    maximum_length: int


def new_uid(chance: random.Random) -> str:
    """Return a UID, always of the same, even length."""
    return _UID_PREFIX + str(chance.randrange(10 ** (_UID_DIGITS - 1), 3 * 10 ** (_UID_DIGITS - 1)))


def pdu(kind: int, content: bytes) -> bytes:
    """Return a PDU, PS3.8 9.3.1."""
    return _PDU_HEADER.pack(kind, len(content)) + content


def parse_header(header: bytes) -> tuple[int, int]:
    """Return type and length from the first six bytes of a PDU."""
    kind, length = _PDU_HEADER.unpack(header)
    return kind, length


def _item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(content)) + content


def associate_request(
    sop_class_uid: str, *, called: str, calling: str, transfer_syntaxes: Sequence[str] = (EXPLICIT_LITTLE_ENDIAN,)
) -> bytes:
    """Return an A-ASSOCIATE-RQ with one presentation context, PS3.8 9.3.2."""
    syntaxes = b"".join(_item(0x40, syntax.encode()) for syntax in transfer_syntaxes)
    context = struct.pack(">B3x", CONTEXT_ID) + _item(0x30, sop_class_uid.encode()) + syntaxes
    user = (
        _item(_MAXIMUM_LENGTH, struct.pack(">L", LARGEST_PDU))
        + _item(0x52, IMPLEMENTATION_CLASS_UID.encode())
        + _item(0x55, IMPLEMENTATION_VERSION_NAME.encode())
    )
    fixed = struct.pack(">H2x16s16s32x", 1, called.encode().ljust(16), calling.encode().ljust(16))
    return pdu(
        ASSOCIATE_RQ, fixed + _item(0x10, _APPLICATION_CONTEXT) + _item(0x20, context) + _item(_USER_INFORMATION, user)
    )


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What an A-ASSOCIATE-AC says: whether our context was accepted, and the longest P-DATA PDU it takes."""

    accepted: bool
    maximum_length: int


def parse_acceptance(content: bytes) -> Acceptance:
    """Read an A-ASSOCIATE-AC, PS3.8 9.3.3; a maximum length of 0 means none and becomes `LARGEST_PDU`."""
    accepted, maximum = False, 0
    position = 68
    while position < len(content):
        kind, length = struct.unpack_from(">BxH", content, position)
        position += 4
        if kind == _CONTEXT_RESULT:
            number, result = struct.unpack_from(">BxB", content, position)
            accepted = number == CONTEXT_ID and result == 0
        elif kind == _MAXIMUM_LENGTH:
            (maximum,) = struct.unpack_from(">L", content, position)
        # the items of user information lie one after the other like the others; only its own header is stepped over
        position += 0 if kind == _USER_INFORMATION else length
    return Acceptance(accepted, min(maximum or LARGEST_PDU, LARGEST_PDU))


def command_set(elements: dict[int, bytes]) -> bytes:
    """Encode the elements of group 0000, by element number, in implicit VR little endian, PS3.7 6.3.1."""
    group = b"".join(
        struct.pack("<HHL", 0, number, len(value) + len(value) % 2) + value + b"\0" * (len(value) % 2)
        for number, value in sorted(elements.items())
    )
    return struct.pack("<HHLL", 0, 0, 4, len(group)) + group


def parse_status(content: bytes) -> int | None:
    """Return (0000,0900) *Status* of the response in a P-DATA PDU of one value, or None if it has none."""
    position = _VALUE_HEADER.size
    while position + 8 <= len(content):
        _, number, length = struct.unpack_from("<HHL", content, position)
        if number == _STATUS:
            return int(struct.unpack_from("<H", content, position + 8)[0])
        position += 8 + length
    return None


def fragments(content: bytes, maximum_length: int, *, command: bool) -> list[bytes]:
    """Cut a command set or data set into P-DATA PDUs of one value each.

    Parameters
    ----------
    maximum_length : int
        Bytes of a PDU after its own header, PS3.8 D.1; the value's header counts, so 12 or more.
    """
    size = maximum_length - _VALUE_HEADER.size
    pieces = [content[start : start + size] for start in range(0, len(content), size)] or [b""]
    kind = _COMMAND if command else 0
    return [
        pdu(P_DATA, _VALUE_HEADER.pack(len(piece) + 2, CONTEXT_ID, kind | (_LAST if last else 0)) + piece)
        for piece, last in zip(pieces, [False] * (len(pieces) - 1) + [True], strict=True)
    ]


def encode(sample: Sample, maximum_length: int) -> Message:
    """Encode the C-STORE-RQ and its data set.

    Raises
    ------
    ValueError
        If the instance UID is not whole within the data set's first PDU.
    """
    command = command_set(
        {
            0x0002: sample.sop_class_uid.encode(),
            0x0100: struct.pack("<H", _C_STORE_RQ),
            0x0110: struct.pack("<H", 1),
            0x0700: struct.pack("<H", 0),
            0x0800: struct.pack("<H", _DATA_SET_FOLLOWS),
            0x1000: sample.sop_instance_uid.encode(),
        }
    )
    first, *rest = fragments(sample.data_set, maximum_length, command=False)
    head = b"".join(fragments(command, maximum_length, command=True)) + first
    return Message(head, b"".join(rest), find_uid(head, sample.sop_instance_uid), maximum_length)


def find_uid(head: bytes, uid: str) -> tuple[int, ...]:
    """Return where the UID stands, which must be twice: in the command set and in the data set.

    Raises
    ------
    ValueError
        If it stands elsewhere or less often.
    """
    sought = uid.encode()
    places: list[int] = []
    position = head.find(sought)
    while position >= 0:
        places.append(position)
        position = head.find(sought, position + len(sought))
    if len(places) != 2:  # noqa: PLR2004 - once in each
        message = f"the SOP Instance UID stands {len(places)} times in the first two PDUs, not twice"
        raise ValueError(message)
    return tuple(places)


def patch(head: bytearray, places: Sequence[int], uid: str) -> None:
    """Write another instance UID over the one in `head`."""
    for place in places:
        head[place : place + len(uid)] = uid.encode()
