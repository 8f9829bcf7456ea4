"""The upper layer service provider: PS3.8 section 9.2's state machine, stepped by the association's own thread.

pynetdicom's provider is a second thread that polls its socket and two queues
every millisecond. Here nothing runs unless there is something to do:
`UpperLayer.receive` waits for a PDU and acts on what has come, `send_pdu` acts at once.
States, events and actions are pynetdicom's (`pynetdicom.fsm`, Tables 9-6 to
9-10); P-DATA-TF, which is all but a thousandth of the traffic, goes past its
codec straight to whoever assembles messages (action DT-2).
"""

from __future__ import annotations

import queue
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu import A_ABORT_RQ, A_ASSOCIATE_RQ, A_RELEASE_RP, A_RELEASE_RQ

from core.logging import get, safe_error
from core.rarely import Rarely
from dicom_listener.upper_layer.stream import Ended, PeerStream, TooSlow

if TYPE_CHECKING:
    from pynetdicom.association import Association

# PS3.8 9.3.2 sets no bound: 128 contexts of a dozen transfer syntaxes take some 45 KB, and decoding costs time
LONGEST_REQUEST: Final = 64 * 1024
_FIXED: Final = 4  # PS3.8 9.3.6 to 9.3.8
# above what the settings let us ask for, with its item headers; a peer that exceeds our maximum a little is forgiven
LONGEST_DATA_PDU: Final = (1 << 20) + 1024
P_DATA_TF: Final = 0x04
_HEADER: Final = struct.Struct(">BxL")  # PS3.8 9.3.1: type, reserved, length
_ITEM: Final = struct.Struct(">LBB")  # PS3.8 9.3.5.1 and E.2: length, context ID, message control header
_COMMAND, _LAST = 0x01, 0x02
# places in an A-ASSOCIATE-RQ, with its header: protocol version, called and calling AE title
_VERSION: Final = slice(6, 8)
_TITLES: Final = slice(10, 42)
_CALLING: Final = slice(26, 42)
_VARIABLE: Final = 74
_SUB_ITEM: Final = struct.Struct(">BxH")
_PRESENTATION_CONTEXT, _USER_INFORMATION = 0x20, 0x50
# items that hold items, and what stands before these
_FIXED_OF: Final = {_PRESENTATION_CONTEXT: 4, _USER_INFORMATION: 0}
# PS3.8 9.3.2.2: the IDs are odd and take one octet
MOST_CONTEXTS: Final = 128
# 128 contexts of eighteen transfer syntaxes; decoding takes a tenth of a millisecond for each, more for the last
MOST_ITEMS: Final = 2560
# PS3.8 Annex E sets no least: this many values that are not the last of their kind may have any length, all others
# one of a kilobyte on average, or taking them in would cost us more than their sender
FREE_VALUES: Final = 4096
LEAST_AVERAGE: Final = 1024
_PRINTABLE: Final = frozenset(range(0x20, 0x7F)) - {ord("\\")}

# PDU types an acceptor may receive: codec, event (PS3.8 Table 9-10) and length; A-ASSOCIATE-AC and -RJ answer nothing
_CONTROL: Final = {
    0x01: (A_ASSOCIATE_RQ, "Evt6", LONGEST_REQUEST),
    0x05: (A_RELEASE_RQ, "Evt12", _FIXED),
    0x06: (A_RELEASE_RP, "Evt13", _FIXED),
    0x07: (A_ABORT_RQ, "Evt16", _FIXED),
}
_ARTIM_EXPIRED: Final = "Evt18"
_CLOSED: Final = "Evt17"
_INVALID: Final = "Evt19"

_log = get(__name__)
_rarely = Rarely(60.0)


class Piece(NamedTuple):
    """Part of one presentation data value; `content` is valid until the next piece is asked for.

    Attributes
    ----------
    context_id : int
    is_command : bool
        Command set or data set.
    is_last : bool
        Whether the command or data set ends with it.
    content : memoryview
    """

    context_id: int
    is_command: bool
    is_last: bool
    content: memoryview


class BadPdu(Exception):
    """What was received breaks the protocol or one of our limits; the association is aborted.

    Parameters
    ----------
    event : str
        Constant, for the log.
    """

    def __init__(self, event: str, **facts: object) -> None:
        super().__init__(event)
        self.event = event
        self.facts = facts


class Assembler(Protocol):
    """Puts messages together.

    Attributes
    ----------
    is_complete : bool
        Whether there is one, and nothing of the next may come.
    """

    is_complete: bool

    def receive(self, piece: Piece) -> None:
        """Take the next piece; raises `BadPdu`."""


class _Transport:
    """What the state machine's actions want of a socket: `send` and `close`."""

    def __init__(self, provider: UpperLayer, stream: PeerStream, send_seconds: float) -> None:
        self._provider = provider
        self._stream = stream
        self._send_seconds = send_seconds

    def send(self, content: bytes) -> None:
        try:
            self._stream.send(content, time.monotonic() + self._send_seconds)
        except (Ended, TooSlow):
            self._provider.event_queue.put(_CLOSED)

    def close(self) -> None:
        """Leave it to the association, which closes what it has opened."""

    _shutdown_socket = close


class UpperLayer(DULServiceProvider):
    """One association's provider; used by the association's thread alone.

    Parameters
    ----------
    association : Association
    stream : PeerStream
    assembler : Assembler
        Takes each `Piece` of an established association.
    pdu_seconds : float
        Within which a PDU must have come whole, or be sent, once it has begun.
    decoding : callable
        Given so many seconds to wait, the context in which a request is decoded; raises `TimeoutError` on entry.
    """

    def __init__(
        self,
        association: Association,
        stream: PeerStream,
        assembler: Assembler,
        pdu_seconds: float,
        decoding: Callable[[float], AbstractContextManager[None]],
    ) -> None:
        super().__init__(association)
        self._stream = stream
        self._assembler = assembler
        self._pdu_seconds = pdu_seconds
        self._decoding = decoding
        # presentation data values that are not the last of their kind, and bytes in all of them
        self._values = self._value_bytes = 0
        # control characters, or none but spaces: PS3.8 Table 9-11 allows neither
        self.calling_ae_title_is_bad = False
        # then it is rejected by the state machine (AE-6)
        self.protocol_version_is_bad = False
        self.socket: Any = _Transport(self, stream, pdu_seconds)

    @property
    def state(self) -> str:
        """Return the state of PS3.8 Tables 9-1 to 9-5, "Sta1" to "Sta13"."""
        return str(self.state_machine.current_state)

    def connected(self) -> None:
        """Act on the transport connection that stands already (AE-5)."""
        self._act("Evt5")

    def receive(self, deadline: float, *, latest: float | None = None, wakeable: bool) -> None:
        """Wait for one PDU and act on it, and on those that have come whole behind it, up to the end of a message.

        Parameters
        ----------
        deadline : float
            By `time.monotonic`, for its first byte.
        latest : float or None
            For all of it, where that is sooner than the time a PDU has.
        wakeable : bool
            Whether the stream's bell ends the wait for the first byte.

        Raises
        ------
        TooSlow, Woken
            Nothing has been read.
        """
        try:
            self._stream.more(deadline, wakeable=wakeable)
        except Ended:
            self._act(_CLOSED)
            return
        whole = time.monotonic() + self._pdu_seconds
        due = whole if latest is None else min(whole, latest)
        try:
            self._receive(due)
            # what is in the buffer ends, so nobody keeps us here by sending on
            while self.state == "Sta6" and not self._assembler.is_complete and self._holds_pdu():
                self._receive(due)
        except Ended:
            self._act(_CLOSED)
        except TooSlow:
            _rarely.warning(_log, "pdu_too_slow", state=self.state)
            # PS3.8 has a timer for Sta2, and for Sta13, in which nothing is received; an established one is aborted
            self._act(_ARTIM_EXPIRED if self.state == "Sta2" else _INVALID)
        except BadPdu as bad:
            _rarely.warning(_log, bad.event, **bad.facts)
            self._act(_INVALID)

    def send_pdu(self, primitive: Any) -> None:
        """Send what a primitive of the service user asks for, now."""
        super().send_pdu(primitive)
        if self._process_recv_primitive():
            self._act_on_queue()

    def _holds_pdu(self) -> bool:
        header = self._stream.glance(_HEADER.size)
        return header is not None and self._stream.glance(_HEADER.size + _HEADER.unpack(header)[1]) is not None

    def _receive(self, deadline: float) -> None:
        kind, length = _HEADER.unpack(self._stream.take(_HEADER.size, deadline))
        if kind == P_DATA_TF and self.state == "Sta6":
            if length > LONGEST_DATA_PDU:
                raise BadPdu("pdu_too_long", bytes=length)
            if not length:
                # PS3.8 9.3.5: one item at least; nothing must not keep an association alive
                raise BadPdu("pdu_empty")
            for piece in self._pieces(length, deadline):
                self._assembler.receive(piece)
            return
        if kind not in _CONTROL:
            raise BadPdu("pdu_unexpected", type=kind)
        codec, event, longest = _CONTROL[kind]
        if length > longest:
            raise BadPdu("pdu_too_long", bytes=length)
        content = _HEADER.pack(kind, length) + self._stream.take(length, deadline)
        if codec is A_ASSOCIATE_RQ:
            bearable = _bearable(content)
            self.calling_ae_title_is_bad = bearable[_CALLING] != content[_CALLING].rstrip(b"\0").ljust(16)
            content = bearable
            _require_few(content)
        turn = self._decoding(deadline - time.monotonic()) if codec is A_ASSOCIATE_RQ else nullcontext()
        try:
            with turn:
                pdu = _decoded(codec, content)
        except TimeoutError:
            raise TooSlow from None
        self.protocol_version_is_bad = codec is A_ASSOCIATE_RQ and pdu.protocol_version != 1
        self._recv_pdu.put(pdu)
        self._act(event)

    def _pieces(self, length: int, deadline: float) -> Iterator[Piece]:
        while length:
            if length < _ITEM.size:
                raise BadPdu("pdv_malformed")
            item_length, context_id, control = _ITEM.unpack(self._stream.take(_ITEM.size, deadline))
            count = item_length - 2
            length -= _ITEM.size + count
            if count < 0 or length < 0:
                raise BadPdu("pdv_malformed")
            is_command, is_last = bool(control & _COMMAND), bool(control & _LAST)
            self._values += not is_last
            self._value_bytes += count
            if self._values > FREE_VALUES + self._value_bytes // LEAST_AVERAGE:
                raise BadPdu("pdvs_too_short")
            if not count:
                if not is_last:
                    # it would cost us more than its sender
                    raise BadPdu("pdv_empty")
                yield Piece(context_id, is_command, is_last, memoryview(b""))
            for content in self._stream.pieces(count, deadline):
                count -= len(content)
                yield Piece(context_id, is_command, is_last and not count, content)

    def _act(self, event: str) -> None:
        self.event_queue.put(event)
        self._act_on_queue()

    def _act_on_queue(self) -> None:
        while True:
            try:
                event = self.event_queue.get(block=False)
            except queue.Empty:
                return
            if self.state == "Sta1" and event != "Evt5":
                # PS3.8 Table 9-10 has no entry: the connection is gone already
                continue
            self.state_machine.do_action(event)


def _require_few(request: bytes) -> None:
    """Count the items of an A-ASSOCIATE-RQ and what is in them, before anything is decoded (PS3.8 9.3.2).

    Raises
    ------
    BadPdu
        If it holds more presentation contexts or items than anybody needs.
    """
    contexts = items = 0
    for kind, start, end in _items(request, _VARIABLE, len(request)):
        contexts += kind == _PRESENTATION_CONTEXT
        items += 1
        if kind in _FIXED_OF:
            items += sum(1 for _ in islice(_items(request, start + _FIXED_OF[kind], end), MOST_ITEMS))
        # at once: counting takes time, too
        if contexts > MOST_CONTEXTS:
            raise BadPdu("too_many_contexts")
        if items > MOST_ITEMS:
            raise BadPdu("too_many_items")


def _items(request: bytes, position: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the kind of each item, and where its content starts and ends."""
    while position + _SUB_ITEM.size <= end:
        kind, length = _SUB_ITEM.unpack_from(request, position)
        start, position = position + _SUB_ITEM.size, position + _SUB_ITEM.size + length
        yield kind, start, min(position, end)


def _decoded(codec: type[Any], content: bytes) -> Any:
    try:
        pdu = codec()
        pdu.decode(content)
        # what the action will make of it, tried first: pynetdicom's actions die of what they cannot express
        _require_syntaxes(pdu.to_primitive())
    except Exception as error:  # noqa: BLE001 - the edge: a malformed PDU raises anything
        raise BadPdu("pdu_malformed", **safe_error(error)) from None
    return pdu


def _require_syntaxes(primitive: Any) -> None:
    """Hold each presentation context to an abstract syntax and a transfer syntax (PS3.8 9.3.2.2).

    The negotiation dies of a context that has none.
    """
    for context in getattr(primitive, "presentation_context_definition_list", ()):
        if not (context.abstract_syntax and context.transfer_syntax):
            raise ValueError("a presentation context lacks a syntax")


def _bearable(request: bytes) -> bytes:
    """Change in an A-ASSOCIATE-RQ what the codec dies of, though a proper rejection is due, or rejects without cause.

    AE titles padded with NULs as old devices do, with control characters or
    without any character, and protocol versions other than 1 of which bit 0,
    the only one to be tested, is set.

    References
    ----------
    DICOM PS3.8 9.3.2, Table 9-11.
    """
    if len(request) < _TITLES.stop:
        return request
    fixed = bytearray(request)
    fixed[_VERSION] = (int.from_bytes(fixed[_VERSION], "big") & 1).to_bytes(2, "big")
    for title in (slice(_TITLES.start, _CALLING.start), _CALLING):
        received = bytes(fixed[title]).rstrip(b"\0")
        printable = bytes(octet if octet in _PRINTABLE else ord("?") for octet in received)
        fixed[title] = (printable if printable.strip() else b"?").ljust(16)
    return bytes(fixed)
