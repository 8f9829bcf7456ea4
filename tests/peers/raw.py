"""A peer that sends exactly the bytes it is told, legal or not.

It shares no code with the listener or with pynetdicom: PDUs (PS3.8 9.3) and
command sets (PS3.7 6.3.1, E) are put together here.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.peers.data_sets import CR_STORAGE, EXPLICIT, data_set, new_uid

APPLICATION_CONTEXT = b"1.2.840.10008.3.1.1.1"
VERIFICATION = "1.2.840.10008.1.1"
ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)
C_STORE_RQ, C_ECHO_RQ = 0x0001, 0x0030
NO_DATA_SET = 0x0101


class Closed(Exception):
    """The listener aborted or closed the connection."""


class Rejected(Closed):
    """The listener answered with an A-ASSOCIATE-RJ (PS3.8 9.3.4)."""

    def __init__(self, result: int, source: int, reason: int) -> None:
        super().__init__(f"rejected: result {result}, source {source}, reason {reason}")
        self.why = (result, source, reason)


@dataclass(frozen=True)
class Context:
    """One presentation context to propose; without a number of its own it gets the next odd one."""

    abstract: str = CR_STORAGE
    transfer: Sequence[str] = (EXPLICIT,)
    number: int | None = None


@dataclass(frozen=True)
class Response:
    """What a response's command set says."""

    command: int
    status: int
    comment: str
    elements: Mapping[int, bytes] = field(repr=False)


def pdu(kind: int, content: bytes, *, length: int | None = None) -> bytes:
    return struct.pack(">BBL", kind, 0, len(content) if length is None else length) + content


def item(kind: int, content: bytes, *, length: int | None = None) -> bytes:
    """One item of an A-ASSOCIATE PDU (PS3.8 9.3.2); `length` lies about the content's."""
    return struct.pack(">BBH", kind, 0, len(content) if length is None else length) + content


MAXIMUM_LENGTH = item(0x51, struct.pack(">L", 16384))
IMPLEMENTATION = item(0x52, b"1.2.826.0.1.3680043.8.498")


def presentation_context(number: int, context: Context) -> bytes:
    syntaxes = b"".join(item(0x40, syntax.encode()) for syntax in context.transfer)
    return item(0x20, struct.pack(">B3x", number & 0xFF) + item(0x30, context.abstract.encode()) + syntaxes)


def associate_request(
    contexts: Sequence[Context] = (Context(),),
    *,
    called: bytes = b"LUNGWATCH",
    calling: bytes = b"RAW",
    version: int = 1,
    application: bytes = APPLICATION_CONTEXT,
    user: bytes = MAXIMUM_LENGTH + IMPLEMENTATION,
    extra: bytes = b"",
) -> bytes:
    """An A-ASSOCIATE-RQ; `user` are the sub-items of the user information, `extra` are items after it."""
    content = struct.pack(">HH16s16s32x", version, 0, called.ljust(16), calling.ljust(16)) + item(0x10, application)
    for place, context in enumerate(contexts):
        content += presentation_context(2 * place + 1 if context.number is None else context.number, context)
    return pdu(ASSOCIATE_RQ, content + item(0x50, user) + extra)


def command_set(elements: Mapping[int, bytes], *, group_length: int | None = None) -> bytes:
    """A command set; `group_length` lies about (0000,0000)."""
    group = b"".join(
        struct.pack("<HHL", 0, number, len(value) + len(value) % 2) + value + b"\0" * (len(value) % 2)
        for number, value in sorted(elements.items())
    )
    return struct.pack("<HHLL", 0, 0, 4, len(group) if group_length is None else group_length) + group


def echo_command() -> bytes:
    return command_set(
        {
            0x0002: VERIFICATION.encode(),
            0x0100: struct.pack("<H", C_ECHO_RQ),
            0x0110: struct.pack("<H", 9),
            0x0800: struct.pack("<H", NO_DATA_SET),
        }
    )


def store_command(instance: str | None, sop_class: str | None = CR_STORAGE, *, data_set: bool = True) -> bytes:
    elements = {
        0x0100: struct.pack("<H", C_STORE_RQ),
        0x0110: struct.pack("<H", 7),
        0x0700: struct.pack("<H", 0),
        0x0800: struct.pack("<H", 1 if data_set else NO_DATA_SET),
    }
    if sop_class is not None:
        elements[0x0002] = sop_class.encode()
    if instance is not None:
        elements[0x1000] = instance.encode()
    return command_set(elements)


def value(context: int, header: int, content: bytes, *, length: int | None = None) -> bytes:
    """One presentation data value; bit 0 of the header says command, bit 1 last (PS3.8 9.3.5.1, E.2)."""
    return struct.pack(">LBB", len(content) + 2 if length is None else length, context & 0xFF, header) + content


def fragments(context: int, content: bytes, *, command: bool, size: int = 16000) -> Iterator[bytes]:
    """P-DATA-TF PDUs of one value each."""
    pieces = [content[start : start + size] for start in range(0, len(content), size)] or [b""]
    for number, piece in enumerate(pieces):
        yield pdu(P_DATA, value(context, int(command) | (2 if number == len(pieces) - 1 else 0), piece))


def message(command: bytes, data: bytes | None = None, *, context: int = 1, size: int = 16000) -> bytes:
    """Both parts of a DIMSE message as one run of bytes."""
    parts = list(fragments(context, command, command=True))
    if data is not None:
        parts += fragments(context, data, command=False, size=size)
    return b"".join(parts)


class RawPeer:
    """One connection to a listener."""

    def __init__(self, port: int, *, timeout: float = 20, source: str = "127.0.0.1") -> None:
        self.socket: socket.socket = socket.create_connection(
            ("127.0.0.1", port), timeout=timeout, source_address=(source, 0)
        )
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.accepted: dict[int, str] = {}
        self.results: dict[int, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.socket.close()

    def send(self, content: bytes) -> None:
        try:
            self.socket.sendall(content)
        except (BrokenPipeError, ConnectionResetError):
            raise Closed from None

    def _exactly(self, size: int) -> bytes:
        received = b""
        while len(received) < size:
            try:
                piece = self.socket.recv(size - len(received))
            except ConnectionResetError:
                piece = b""
            if not piece:
                raise Closed
            received += piece
        return received

    def read(self) -> tuple[int, bytes]:
        """The next PDU's type and content."""
        kind, length = struct.unpack(">BxL", self._exactly(6))
        return kind, self._exactly(length)

    def associate(
        self,
        contexts: Sequence[Context] = (Context(),),
        *,
        called: bytes = b"LUNGWATCH",
        calling: bytes = b"RAW",
    ) -> Self:
        return self.negotiate(associate_request(contexts, called=called, calling=calling))

    def negotiate(self, request: bytes) -> Self:
        """Send an A-ASSOCIATE-RQ as it stands and take in the answer."""
        self.send(request)
        kind, content = self.read()
        if kind == ASSOCIATE_RJ:
            raise Rejected(*content[1:4])
        if kind != ASSOCIATE_AC:
            raise Closed(f"PDU type {kind}, {content.hex()}")
        position = 68
        while position < len(content):
            found, length = struct.unpack_from(">BxH", content, position)
            if found == 0x21:
                number, result = struct.unpack_from(">BxB", content, position + 4)
                self.results[number] = result
                if result == 0:
                    (size,) = struct.unpack_from(">H", content, position + 10)
                    self.accepted[number] = content[position + 12 : position + 12 + size].rstrip(b"\0").decode()
            position += 4 + length
        return self

    def request(self, command: bytes, data: bytes | None = None, *, context: int = 1) -> None:
        for part in fragments(context, command, command=True):
            self.send(part)
        if data is not None:
            for part in fragments(context, data, command=False):
                self.send(part)

    def response(self) -> Response:
        """Read a response, in however many fragments it comes."""
        encoded = b""
        while True:
            kind, content = self.read()
            if kind == ABORT:
                raise Closed
            assert kind == P_DATA, kind
            encoded += content[6:]
            if content[5] & 2:
                break
        elements: dict[int, bytes] = {}
        position = 0
        while position < len(encoded):
            _, number, length = struct.unpack_from("<HHL", encoded, position)
            elements[number] = encoded[position + 8 : position + 8 + length]
            position += 8 + length
        return Response(
            command=int.from_bytes(elements[0x0100], "little"),
            status=int.from_bytes(elements[0x0900], "little"),
            comment=elements.get(0x0902, b"").decode().strip(),
            elements=elements,
        )

    def store(
        self, instance: str | None, data: bytes | None, sop_class: str | None = CR_STORAGE, *, context: int = 1
    ) -> Response:
        self.request(store_command(instance, sop_class, data_set=data is not None), data, context=context)
        return self.response()

    def store_until_closed(self, data: bytes | None = None) -> int:
        """Store instance after instance; return how many were acknowledged before the listener closed."""
        for count in itertools.count():
            instance = new_uid()
            try:
                assert self.store(instance, data or data_set(instance)).status == 0x0000
            except Closed:
                return count
        raise AssertionError

    def echo(self, *, context: int = 1) -> Response:
        self.request(echo_command(), context=context)
        return self.response()

    def release(self) -> None:
        self.send(pdu(RELEASE_RQ, bytes(4)))
        kind, _ = self.read()
        assert kind == RELEASE_RP, kind

    def reset(self) -> None:
        """Close so that the listener meets a reset, not an end."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def wait_closed(self, seconds: float) -> float:
        """Read until the listener closes; return after how long, or fail with a TimeoutError."""
        began = time.monotonic()
        self.socket.settimeout(seconds)
        with contextlib.suppress(Closed):
            while True:
                self.read()
        return time.monotonic() - began
