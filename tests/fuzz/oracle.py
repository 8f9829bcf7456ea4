"""What may be answered to a stream of bytes: a second reading of PS3.8 9.3 and PS3.7 6.3, as plain as it can be.

It shares no code with the listener. It is lenient: where the listener may
abort it may go on, so that it finds every message that could be answered, in
order, and none that could not.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.peers.raw import ASSOCIATE_RQ, C_STORE_RQ, P_DATA

C_CANCEL_RQ = 0x0FFF
N_ACTION_RQ = 0x0130
_SUCCESS = 0x0000
_PDU_HEADER = 6
_NO_DATA_SET = 0x0101


@dataclass(frozen=True)
class Asked:
    """A whole DIMSE message as it was sent."""

    context: int
    command: Mapping[int, bytes] = field(repr=False)
    data: bytes = field(repr=False)

    def number(self, element: int) -> int | None:
        content = self.command.get(element, b"")
        return int.from_bytes(content, "little") if len(content) == 2 else None

    @property
    def instance(self) -> str:
        content = self.command.get(0x1000) or self.command.get(0x1001) or b""
        return content.rstrip(b"\0 ").decode("latin-1")


@dataclass(frozen=True)
class Answered:
    """What a response says."""

    field: int
    to: int
    status: int


@dataclass(frozen=True)
class Held:
    """What must lie in the spool for an answer of success."""

    commitment: bool
    instance: str
    transfer_syntax: str
    digest: str


def asked(sent: bytes) -> Iterator[Asked]:
    """Every message that is complete, until the stream makes no sense any more."""
    context: int | None = None
    command: dict[int, bytes] | None = None
    gathered = b""
    for number, header, piece in _all_values(sent):
        is_command, is_last = header & 1, header & 2
        if context not in {None, number} or bool(is_command) == (command is not None):
            return
        context = number
        gathered += piece
        if not is_last:
            continue
        data, gathered = gathered, b""
        if is_command:
            command, data = _elements(data), b""
            if command is None:
                return
            if int.from_bytes(command.get(0x0800, b""), "little") != _NO_DATA_SET:
                continue
        yield Asked(number, command or {}, data)
        context, command = None, None


def _all_values(sent: bytes) -> Iterator[tuple[int, int, bytes]]:
    """All values of the PDUs that are whole: one A-ASSOCIATE-RQ, then P-DATA-TF as long as they come."""
    position = 0
    while position + _PDU_HEADER <= len(sent):
        kind, length = struct.unpack_from(">BxL", sent, position)
        content = sent[position + _PDU_HEADER : position + _PDU_HEADER + length]
        if len(content) < length or kind != (P_DATA if position else ASSOCIATE_RQ):
            return
        if position:
            for one in _values(content):
                if one is None:
                    return
                yield one
        position += _PDU_HEADER + length


def _values(content: bytes) -> Iterator[tuple[int, int, bytes] | None]:
    """The values of one PDU; None where there is none."""
    position = 0
    while position < len(content):
        if position + 6 > len(content):
            yield None
            return
        length, number, header = struct.unpack_from(">LBB", content, position)
        if length < 2 or position + 4 + length > len(content):
            yield None
            return
        yield number, header, content[position + 6 : position + 4 + length]
        position += 4 + length


def _elements(encoded: bytes) -> dict[int, bytes] | None:
    found: dict[int, bytes] = {}
    position = 0
    while position < len(encoded):
        if position + 8 > len(encoded):
            return None
        group, number, length = struct.unpack_from("<HHL", encoded, position)
        position += 8
        if group or position + length > len(encoded):
            return None
        # of an element that is there twice, the first counts
        found.setdefault(number, encoded[position : position + length])
        position += length
    return found


@dataclass(frozen=True)
class Reckoning:
    """What came of holding answers against requests."""

    held: Sequence[Held]
    trouble: Sequence[str]


def reckon(sent: bytes, answers: Sequence[Answered], accepted: Mapping[int, str]) -> Reckoning:
    """Hold each answer against the message that it must be the answer to, in order.

    Parameters
    ----------
    sent : bytes
        Everything the peer sent, or tried to.
    answers : sequence of Answered
    accepted : mapping of int to str
        Transfer syntax of each presentation context that was accepted.
    """
    expected = (one for one in asked(sent) if one.number(0x0100) != C_CANCEL_RQ)
    held: list[Held] = []
    for answer in answers:
        request = next(expected, None)
        if request is None:
            return Reckoning(held, [f"{answer} answers nothing that was asked whole"])
        field_asked = request.number(0x0100)
        if (answer.field, answer.to) != ((field_asked or 0) | 0x8000, request.number(0x0110)):
            return Reckoning(held, [f"{answer} answers {field_asked} of message {request.number(0x0110)}"])
        if request.context not in accepted:
            return Reckoning(held, [f"{answer} answers on context {request.context}, which was not accepted"])
        if answer.status == _SUCCESS and field_asked in {C_STORE_RQ, N_ACTION_RQ}:
            if not request.data:
                return Reckoning(held, [f"{answer} acknowledges no data set"])
            held.append(held_for(request, accepted[request.context]))
    return Reckoning(held, [])


def held_for(request: Asked, transfer_syntax: str) -> Held:
    return Held(
        request.number(0x0100) == N_ACTION_RQ,
        request.instance,
        transfer_syntax,
        hashlib.sha256(request.data).hexdigest(),
    )
