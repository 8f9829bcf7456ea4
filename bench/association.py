"""One association, or one connection to the floor, that sends instances encoded beforehand."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import time
from dataclasses import dataclass
from typing import Final, Protocol, Self

from bench import encoding
from bench.encoding import EXPLICIT_LITTLE_ENDIAN, Message, Sample

CALLED: Final = "LUNGWATCH"
CALLING: Final = "BENCH"
SUCCESS: Final = 0x0000
_RAW_SIZE: Final = struct.Struct(">Q")
_PDU_HEADER_BYTES: Final = 6


class Refused(Exception):
    """The receiver rejected, aborted or closed, or answered what cannot be understood."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send.

    Attributes
    ----------
    raw : bool
        Not DICOM but the floor's own exchange: eight bytes of length, the bytes, one byte back.
    source : str or None
        Address to connect from; None leaves it to the system.
    tls : ssl.SSLContext or None
        What to trust, over TLS; None sends in the clear.
    """

    port: int
    host: str = "127.0.0.1"
    raw: bool = False
    called: str = CALLED
    calling: str = CALLING
    source: str | None = None
    seconds: float = 60.0
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """One instance sent; monotonic seconds.

    Attributes
    ----------
    began, handed, answered : float
        Before its first byte, when the system had taken its last, when its response was complete.
    status : int or None
        (0000,0900); None if the connection failed, then `error` says how.
    uid : str
        SOP Instance UID it was sent under.
    """

    began: float
    handed: float
    answered: float
    status: int | None
    error: str | None = None
    uid: str = ""


class Link(Protocol):
    """What a load is sent over."""

    maximum_length: int

    def send(self, message: Message, head: bytearray) -> float:
        """Send the head given and the message's tail; return when the system had all of it."""

    def answer(self) -> int:
        """Wait for the response and return its status."""

    def close(self) -> None:
        """End in good order."""

    def drop(self) -> None:
        """Close the connection without a word."""


def connect(target: Target) -> socket.socket:
    """Connect, without Nagle's delay, and shake hands where TLS is spoken."""
    source = None if target.source is None else (target.source, 0)
    connection = socket.create_connection((target.host, target.port), target.seconds, source)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if target.tls is None:
        return connection
    try:
        return target.tls.wrap_socket(connection, server_hostname=target.host)
    except BaseException:
        connection.close()
        raise


def exactly(connection: socket.socket, size: int) -> bytes:
    """Read so many bytes.

    Raises
    ------
    Refused
        If the other side closes before.
    """
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            raise Refused("closed")
        parts += part
    return bytes(parts)


class Association:
    """An association with one presentation context, established when made.

    Raises
    ------
    Refused
        If the receiver rejects it or does not accept the context.
    OSError
        If the connection fails.
    """

    def __init__(self, target: Target, sop_class_uid: str, transfer_syntax: str = EXPLICIT_LITTLE_ENDIAN) -> None:
        self.socket = connect(target)
        try:
            self.maximum_length = self._establish(target, sop_class_uid, transfer_syntax)
        except BaseException:
            self.socket.close()
            raise

    def _establish(self, target: Target, sop_class_uid: str, transfer_syntax: str) -> int:
        request = encoding.associate_request(
            sop_class_uid, called=target.called, calling=target.calling, transfer_syntaxes=(transfer_syntax,)
        )
        self.socket.sendall(request)
        kind, content = self.read()
        if kind != encoding.ASSOCIATE_AC:
            raise Refused(f"association answered by PDU type {kind}, {content[:4].hex()}")
        acceptance = encoding.parse_acceptance(content)
        if not acceptance.accepted:
            raise Refused("presentation context not accepted")
        return acceptance.maximum_length

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()

    def read(self) -> tuple[int, bytes]:
        """Return the next PDU's type and content."""
        kind, length = encoding.parse_header(exactly(self.socket, _PDU_HEADER_BYTES))
        return kind, exactly(self.socket, length)

    def send(self, message: Message, head: bytearray) -> float:
        """Send one C-STORE."""
        self.socket.sendall(head)
        self.socket.sendall(message.tail)
        return time.monotonic()

    def answer(self) -> int:
        """Read the C-STORE-RSP."""
        kind, content = self.read()
        status = encoding.parse_status(content) if kind == encoding.P_DATA else None
        if status is None:
            raise Refused(f"request answered by PDU type {kind}")
        return status

    def close(self) -> None:
        """Release, PS3.8 7.2."""
        with contextlib.suppress(OSError, Refused):
            self.socket.sendall(encoding.pdu(encoding.RELEASE_RQ, bytes(4)))
            self.read()
        self.drop()

    def drop(self) -> None:
        """Close the connection without a word."""
        self.socket.close()


class RawLink:
    """A connection to the floor."""

    def __init__(self, target: Target) -> None:
        self.socket = connect(target)
        self.maximum_length = encoding.LARGEST_PDU

    def send(self, message: Message, head: bytearray) -> float:
        """Send the same bytes as an association would, behind their number."""
        self.socket.sendall(_RAW_SIZE.pack(len(head) + len(message.tail)) + head)
        self.socket.sendall(message.tail)
        return time.monotonic()

    def answer(self) -> int:
        """Read the one byte."""
        return exactly(self.socket, 1)[0]

    def close(self) -> None:
        """Close; there is no release."""
        self.drop()

    def drop(self) -> None:
        """Close."""
        self.socket.close()


def open_link(target: Target, sample: Sample) -> Link:
    """Connect to a target of either kind."""
    return RawLink(target) if target.raw else Association(target, sample.sop_class_uid, sample.transfer_syntax)


def store(link: Link, message: Message, head: bytearray, uid: str) -> Sent:
    """Send one instance under the UID given and wait for its response; a failure is told, not raised."""
    encoding.patch(head, message.places, uid)
    began = handed = time.monotonic()
    try:
        handed = link.send(message, head)
        status = link.answer()
    except (OSError, Refused) as error:
        return Sent(began, handed, time.monotonic(), None, f"{type(error).__name__}: {error}", uid)
    return Sent(began, handed, time.monotonic(), status, uid=uid)
