"""Plays a session against a listener and takes down what comes back."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.fuzz.oracle import Answered, Held, asked, reckon
from tests.fuzz.session import Kind, Session, Step
from tests.peers.raw import ABORT, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RP
from tests.peers.scene import SLACK, TIGHT

_CONNECT_SECONDS = 10.0
# what is left to be said after the last step of a mutated session
_LAST_WORD_SECONDS = 0.02
# whoever says nothing more is cut by the last of the deadlines that may run
_LONGEST_STAY = TIGHT["message_timeout"] + TIGHT["network_timeout"] + SLACK
_ITEMS = 68


@dataclass
class Played:
    """One session and what the listener made of it.

    `whole` holds instance and digest of all that was sent whole, `reached`
    names what was seen, for the summary of what a campaign covers.
    """

    session: Session
    held: Sequence[Held] = ()
    whole: Sequence[tuple[str, str]] = ()
    trouble: list[str] = field(default_factory=list)
    reached: list[str] = field(default_factory=list)


class _Ear:
    """Takes in PDUs and keeps what they say."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b""
        self._encoded = b""
        self.turns = 0
        self.open = True
        self.accepted: dict[int, str] = {}
        self.answers: list[Answered] = []
        self.reached: list[str] = []
        self.trouble: list[str] = []
        self.released = False

    def listen(self, seconds: float, *, until: int | None = None) -> None:
        """Take in what comes, until so many turns have ended, the listener closes or time is over."""
        deadline = time.monotonic() + seconds
        while self.open and (until is None or self.turns < until):
            self._connection.settimeout(max(deadline - time.monotonic(), 0.000_1))
            try:
                piece = self._connection.recv(65_536)
            except TimeoutError:
                return
            except OSError:
                piece = b""
            if not piece:
                self.open = False
                self._connection.settimeout(_CONNECT_SECONDS)
            self._buffer += piece
            self._parse()

    def _parse(self) -> None:
        while len(self._buffer) >= 6:
            kind, length = struct.unpack_from(">BxL", self._buffer)
            if len(self._buffer) < 6 + length:
                return
            content, self._buffer = self._buffer[6 : 6 + length], self._buffer[6 + length :]
            self._take(kind, content)

    def _take(self, kind: int, content: bytes) -> None:
        match kind:
            case 4:
                self._encoded += content[6:]
                if not content[5] & 2:
                    return
                self._answer(self._encoded)
                self._encoded = b""
            case 2:
                self._accept(content)
            case 3:
                self.reached.append(f"rejected {tuple(content[1:4])}")
            case 6:
                self.released = True
                self.reached.append("released")
            case 7:
                self.reached.append(f"aborted {tuple(content[2:4])}")
            case _:
                self.trouble.append(f"a PDU of type {kind} came back")
        self.turns += 1

    def _accept(self, content: bytes) -> None:
        position = _ITEMS
        while position + 4 <= len(content):
            kind, length = struct.unpack_from(">BxH", content, position)
            if kind == 0x21 and content[position + 6] == 0:
                (size,) = struct.unpack_from(">H", content, position + 10)
                syntax = content[position + 12 : position + 12 + size].rstrip(b"\0").decode("latin-1")
                self.accepted[content[position + 4]] = syntax
            position += 4 + length
        self.reached.append("accepted" if self.accepted else "accepted without contexts")

    def _answer(self, encoded: bytes) -> None:
        elements: dict[int, bytes] = {}
        position = 0
        while position + 8 <= len(encoded):
            _, number, length = struct.unpack_from("<HHL", encoded, position)
            elements[number] = encoded[position + 8 : position + 8 + length]
            position += 8 + length
        says = [int.from_bytes(elements.get(number, b"\xff\xff\xff"), "little") for number in (0x0100, 0x0120, 0x0900)]
        self.answers.append(Answered(*says))
        self.reached.append(f"status {says[0]:04x} {says[2]:04x}")
        if b"Canary" in elements.get(0x0902, b""):
            self.trouble.append("an Error Comment quotes what was received")


assert (ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RP, ABORT) == (2, 3, 4, 6, 7)


def play(port: int, session: Session) -> Played:
    """Play it to its end and hold what came back against what was sent."""
    played = Played(session)
    connection = socket.create_connection(
        ("127.0.0.1", port), timeout=_CONNECT_SECONDS, source_address=(session.source, 0)
    )
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ear, sent = _Ear(connection), bytearray()
        for step in session.steps:
            if not _take_step(step, connection, ear, sent, played):
                break
        else:
            ear.listen(_LONGEST_STAY if not session.mutations else _LAST_WORD_SECONDS)
    reckoning = reckon(bytes(sent), ear.answers, ear.accepted)
    played.held = reckoning.held
    played.whole = [(one.instance, hashlib.sha256(one.data).hexdigest()) for one in asked(bytes(sent))]
    played.trouble += [*reckoning.trouble, *ear.trouble]
    played.reached = ear.reached
    if not session.mutations:
        _expect_success(ear, played)
    return played


def _take_step(step: Step, connection: socket.socket, ear: _Ear, sent: bytearray, played: Played) -> bool:
    """Do what a step says; false where nothing more can be done."""
    match step.kind:
        case Kind.SEND:
            sent += step.content
            connection.settimeout(_LONGEST_STAY)
            try:
                connection.sendall(step.content)
            except TimeoutError:
                played.trouble.append("the listener neither reads nor closes")
                return False
            except OSError:
                # what was answered before it closed is still there, or was lost with the reset
                ear.listen(_LAST_WORD_SECONDS)
                return False
        case Kind.AWAIT:
            ear.listen(step.seconds, until=ear.turns + 1)
        case Kind.PAUSE:
            time.sleep(step.seconds)
        case Kind.HALF_CLOSE:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
        case Kind.RESET:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        case Kind.STAY:
            ear.listen(_LONGEST_STAY)
            if ear.open:
                played.trouble.append(f"still open after {_LONGEST_STAY} s without a word")
    return True


def _expect_success(ear: _Ear, played: Played) -> None:
    statuses = [answer.status for answer in ear.answers]
    if statuses != [0] * played.session.requests or not ear.released or ear.open:
        played.trouble.append(
            f"a session without a fault met {ear.reached}: of {played.session.requests} requests each was to succeed"
        )
