"""Command sets: what a DIMSE request asks for and how it is answered.

A command set is implicit VR little endian, holds group 0000 alone and no
sequences, so forty lines read and write it. They convert nothing they are not
asked for and quote nothing, where a general parser would warn with the
received text.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from core.uids import LONGEST_UID, is_uid
from dicom_listener.status import Answer

C_STORE_RQ: Final = 0x0001
C_ECHO_RQ: Final = 0x0030
N_ACTION_RQ: Final = 0x0130
C_CANCEL_RQ: Final = 0x0FFF
_RESPONSE: Final = 0x8000  # PS3.7 E.1: set in the command field of every response
_NO_DATA_SET: Final = 0x0101

_GROUP_LENGTH: Final = 0x0000
_AFFECTED_SOP_CLASS_UID, _REQUESTED_SOP_CLASS_UID = 0x0002, 0x0003
_COMMAND_FIELD, _MESSAGE_ID, _RESPONDED_TO = 0x0100, 0x0110, 0x0120
_DATA_SET_TYPE, _STATUS, _ERROR_COMMENT = 0x0800, 0x0900, 0x0902
_AFFECTED_SOP_INSTANCE_UID, _REQUESTED_SOP_INSTANCE_UID = 0x1000, 0x1001
_ACTION_TYPE_ID: Final = 0x1008
# PS3.7 Annex E knows some forty, the retired ones among them; thousands would cost us more than their sender
MOST_ELEMENTS: Final = 64
_HEADER: Final = struct.Struct("<HHL")
_US: Final = struct.Struct("<H")


class BadCommand(ValueError):
    """A command set cannot be read, or lacks what every request has."""


@dataclass(frozen=True, slots=True)
class Command:
    """A request.

    Attributes
    ----------
    field : int
        (0000,0100) *Command Field*.
    message_id : int
        (0000,0110) *Message ID*.
    sop_class_uid, sop_instance_uid : str or None
        *Affected* or, for N-ACTION and its like, *Requested*; None where
        missing or longer than a UID can be. Unchecked text otherwise.
    action_type : int or None
        (0000,1008) *Action Type ID*.
    has_data_set : bool
        What (0000,0800) *Command Data Set Type* says.
    """

    field: int
    message_id: int
    sop_class_uid: str | None
    sop_instance_uid: str | None
    action_type: int | None
    has_data_set: bool


def decode(encoded: bytes) -> Command:
    """Read a request.

    Raises
    ------
    BadCommand
        If it is no command set, or the message is no request.

    References
    ----------
    DICOM PS3.7 6.3.1, Table E.1-1.
    """
    elements = _elements(encoded)
    field = _number(elements, _COMMAND_FIELD)
    message_id = _number(elements, _MESSAGE_ID)
    data_set_type = _number(elements, _DATA_SET_TYPE)
    if field == C_CANCEL_RQ:
        # it has no message ID and gets no answer
        message_id = 0
    if field is None or field & _RESPONSE or message_id is None or data_set_type is None:
        raise BadCommand
    return Command(
        field,
        message_id,
        _uid(elements, _AFFECTED_SOP_CLASS_UID) or _uid(elements, _REQUESTED_SOP_CLASS_UID),
        _uid(elements, _AFFECTED_SOP_INSTANCE_UID) or _uid(elements, _REQUESTED_SOP_INSTANCE_UID),
        _number(elements, _ACTION_TYPE_ID),
        data_set_type != _NO_DATA_SET,
    )


def encode_response(command: Command, answer: Answer) -> bytes:
    """Return the command set of the response to a request, which has no data set.

    References
    ----------
    DICOM PS3.7 9.3 and 10.3; 6.3.1 for the encoding.
    """
    elements: list[tuple[int, bytes]] = []
    # nothing that is no UID is sent back
    if command.sop_class_uid is not None and is_uid(command.sop_class_uid):
        elements.append((_AFFECTED_SOP_CLASS_UID, command.sop_class_uid.encode("ascii")))
    elements += [
        (_COMMAND_FIELD, _US.pack(command.field | _RESPONSE)),
        (_RESPONDED_TO, _US.pack(command.message_id)),
        (_DATA_SET_TYPE, _US.pack(_NO_DATA_SET)),
        (_STATUS, _US.pack(answer.code)),
    ]
    if answer.comment:
        comment = answer.comment.encode("ascii")
        elements.append((_ERROR_COMMENT, comment + b" " * (len(comment) % 2)))
    if command.sop_instance_uid is not None and is_uid(command.sop_instance_uid):
        elements.append((_AFFECTED_SOP_INSTANCE_UID, command.sop_instance_uid.encode("ascii")))
    if command.action_type is not None:
        elements.append((_ACTION_TYPE_ID, _US.pack(command.action_type)))
    body = b"".join(_element(number, value) for number, value in elements)
    return _element(_GROUP_LENGTH, struct.pack("<L", len(body))) + body


def _element(number: int, value: bytes) -> bytes:
    # the one value of odd length is a UID, padded with NUL (PS3.5 6.2)
    value += b"\0" * (len(value) % 2)
    return _HEADER.pack(0, number, len(value)) + value


def _elements(encoded: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    position = 0
    while position < len(encoded):
        if len(found) == MOST_ELEMENTS:
            raise BadCommand
        if position + _HEADER.size > len(encoded):
            raise BadCommand
        group, number, length = _HEADER.unpack_from(encoded, position)
        position += _HEADER.size
        if group or length > len(encoded) - position:
            raise BadCommand
        if number in found:
            raise BadCommand
        found[number] = encoded[position : position + length]
        position += length
    return found


def _number(elements: dict[int, bytes], number: int) -> int | None:
    value = elements.get(number)
    if value is None:
        return None
    if len(value) != _US.size:
        raise BadCommand
    return int(_US.unpack(value)[0])


def _uid(elements: dict[int, bytes], number: int) -> str | None:
    value = elements.get(number, b"").rstrip(b"\0 ")
    if not value or len(value) > LONGEST_UID:
        return None
    return value.decode("ascii", errors="replace")
