"""pynetdicom's acceptor with the bounds it lacks, by its public hooks and small subclasses.

What each class bounds:

- `BoundedSocket`: one PDU, in length and in time (PS3.8 9.3.1).
- `MessageProvider`: one message, in length; one outstanding request an
  association, since we never negotiate an asynchronous window (PS3.7 D.3.3.3).
- `AcceptorAssociation`: which service answers on which presentation context.
- `AssociationServer`: associations, in all and of one address, and sockets
  waiting for theirs; adopts a listening socket somebody else has bound.

A faster receive path replaces `BoundedSocket` and `MessageProvider`; nothing
else here or in the handlers knows how bytes arrive.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from socketserver import BaseServer
from typing import Any, Final, cast

from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ, DIMSEMessage
from pynetdicom.dimse_primitives import C_ECHO, C_STORE
from pynetdicom.service_class import StorageServiceClass, VerificationServiceClass
from pynetdicom.transport import AssociationServer as StockServer
from pynetdicom.transport import AssociationSocket, RequestHandler

from core.failpoints import reach
from core.logging import get, safe_error
from core.uids import LONGEST_UID
from dicom_listener.contexts import VERIFICATION
from dicom_listener.rarely import Rarely

# above any A-ASSOCIATE-RQ with all 128 contexts and above the largest P-DATA PDU the settings let us ask for
LONGEST_PDU: Final = (1 << 20) + 1024
_WAITING_SOCKETS: Final = 32
_INVALID_PDU: Final = "Evt19"  # PS3.8 Table 9-10: leads to A-ABORT whatever the state

_log = get(__name__)
_rarely = Rarely(60.0)


class BoundedSocket(AssociationSocket):
    """A socket that reads no PDU longer than `LONGEST_PDU` and waits for none longer than a deadline.

    Without it a peer that sends half a PDU holds two threads and a slot for as
    long as it likes: no timeout of pynetdicom works inside a PDU.
    """

    pdu_seconds = 30.0

    def recv(self, nr_bytes: int) -> bytearray:
        """Read exactly `nr_bytes`, fewer only where the peer closed.

        Raises
        ------
        OSError
            If the PDU is too long or too slow; the association ends.
        """
        try:
            received = self._read(nr_bytes)
        except OSError:
            self._give_up_waiting()
            raise
        if len(received) < nr_bytes:
            self._give_up_waiting()
        return received

    def _read(self, nr_bytes: int) -> bytearray:
        if nr_bytes > LONGEST_PDU:
            _rarely.warning(_log, "pdu_refused", bytes=nr_bytes)
            message = "PDU above the limit"
            raise OSError(message)
        if self.socket is None:
            message = "connection closed"
            raise OSError(message)
        deadline = time.monotonic() + self.pdu_seconds
        buffer = bytearray(nr_bytes)
        view = memoryview(buffer)
        read = 0
        while read < nr_bytes:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError
            self.socket.settimeout(remaining)
            count = self.socket.recv_into(view[read:])
            if count == 0:
                return buffer[:read]
            read += count
        # sends have the same bound
        self.socket.settimeout(self.pdu_seconds)
        # a sender with Nagle's algorithm waits for this acknowledgement, 40 ms if we delay it, between command and data
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return buffer

    def _give_up_waiting(self) -> None:
        # pynetdicom would keep the association's thread, and its place among the associations, until its time for the
        # A-ASSOCIATE-RQ is over; Sta2 is left by this thread alone, so nothing can come between (PS3.8 Table 9-10)
        if self.assoc.dul.state_machine.current_state == "Sta2":
            self.assoc.dul.to_user_queue.put(cast("Any", None))

    def cut(self) -> None:
        """Close without a word, for peers that do not react to words.

        The descriptor stays open for the thread that reads from it, which
        finds the connection closed and ends in its usual way.
        """
        connection = self.socket
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class MessageProvider(DIMSEServiceProvider):
    """Assembles messages under a cap and knows whether one is in flight."""

    def __init__(self, association: AcceptorAssociation) -> None:
        super().__init__(association)
        self._association = association
        self._received = 0
        self._outstanding = False
        self.last_active = time.monotonic()

    @property
    def in_flight(self) -> bool:
        """Say whether a message is being received, served or answered."""
        return self.message is not None or self._outstanding

    def receive_primitive(self, primitive: Any) -> None:
        """Add a P-DATA indication to the message, and pass the message on when it is complete."""
        self.last_active = time.monotonic()
        if self.message is None:
            if self._outstanding:
                self._abort("message_pipelined")
                return
            if self._association.closing:
                self._abort("message_after_last_call")
                return
            self._received = 0
            self.message = DIMSEMessage()
        self._received += sum(len(value) for _, value in primitive.presentation_data_value_list)
        if self._received > self._association.maximum_message_size:
            # what has come so far is worthless, what would come is unbounded
            self._abort("message_too_long", limit=self._association.maximum_message_size)
            return
        try:
            if not self.message.decode_msg(primitive, self.assoc):
                return
            request = _to_primitive(self.message)
        except Exception as error:  # noqa: BLE001 - the edge: a malformed command set raises anything
            self._abort("message_malformed", **safe_error(error))
            return
        self._outstanding = True
        context_id = int(self.message.context_id or 0)
        self.message = None
        self.msg_queue.put((context_id, request))

    def send_msg(self, primitive: Any, context_id: int) -> None:
        """Answer; from now on the peer may send its next request."""
        self._outstanding = False
        self.last_active = time.monotonic()
        super().send_msg(primitive, context_id)

    def _abort(self, event: str, **facts: object) -> None:
        _rarely.warning(_log, event, peer=self._association.peer, **facts)
        self.message = None
        self.dul.event_queue.put(_INVALID_PDU)


def _to_primitive(message: Any) -> Any:
    if isinstance(message, C_STORE_RQ):
        # a UID too long for pynetdicom would cost the association; without it the handler can answer 0x0117
        for keyword in ("AffectedSOPClassUID", "AffectedSOPInstanceUID"):
            value = message.command_set.get(keyword)
            if value is not None and (not isinstance(value, str) or len(value) > LONGEST_UID):
                delattr(message.command_set, keyword)
    return message.message_to_primitive()


class AcceptorAssociation(Association):
    """An association that serves C-STORE and C-ECHO on the contexts they were negotiated for, and nothing else.

    Attributes
    ----------
    maximum_message_size : int
        Bytes of command and data set together.
    closing : bool
        Set while draining: no further message is begun.
    peer : str or None
        Calling AE title, printable; None before it is known.
    address : str
        Where the connection comes from.
    admitted : bool
        Whether it counts among the associations there may be; see `AssociationServer.admit`.
    """

    def __init__(self, ae: Any, mode: str) -> None:
        super().__init__(ae, mode)
        self.maximum_message_size = 0
        self.closing = False
        self.peer: str | None = None
        self.address = ""
        self.admitted = False
        self.messages = MessageProvider(self)
        self.dimse = self.messages
        # a peer that never lets go must not keep the process from ending
        self.dul.daemon = True

    def is_quiet(self, seconds: float) -> bool:
        """Say whether nothing is in flight and nothing has been for some seconds."""
        return not self.messages.in_flight and time.monotonic() - self.messages.last_active >= seconds

    def cut(self) -> None:
        """Close the connection without a word."""
        if isinstance(self.dul.socket, BoundedSocket):
            self.dul.socket.cut()

    def _serve_request(self, msg: Any, context_id: int) -> None:
        # pynetdicom would choose the service by the command's SOP class: a C-STORE that names Verification would be
        # answered as an echo, with success, and a class it does not know would cost the association
        context = self._accepted_cx.get(context_id)
        service: Any = None
        if context is not None and msg.MessageID is not None:
            is_echo = context.abstract_syntax == VERIFICATION
            if isinstance(msg, C_ECHO) and is_echo:
                service = VerificationServiceClass(self)
            elif isinstance(msg, C_STORE) and not is_echo and msg.MessageIDBeingRespondedTo is None:
                service = StorageServiceClass(self)
        if service is None:
            _rarely.warning(_log, "request_not_served", peer=self.peer, kind=type(msg).__name__)
            self.abort()
            return
        self._is_paused = True
        try:
            service.SCP(msg, context)
        except Exception as error:  # noqa: BLE001 - the edge: without an answer the peer must send again
            _log.error("answer_failed", peer=self.peer, **safe_error(error))
            self.abort()
        finally:
            self._is_paused = False
        reach("store.answered")


class ConnectionHandler(RequestHandler):
    """Makes our kind of association for a new connection."""

    server: AssociationServer

    def _create_association(self) -> AcceptorAssociation:
        # as the parent does, less its deep copy of every supported context: ours follow from the request
        server = self.server
        association = AcceptorAssociation(self.ae, "acceptor")
        association._server = server  # noqa: SLF001 - how pynetdicom counts a server's associations
        association.name = f"AcceptorThread@{id(association):x}"
        association.address = self.client_address[0]
        association.maximum_message_size = server.maximum_message_size
        connection = BoundedSocket(association, client_socket=self.request)
        connection.pdu_seconds = server.pdu_seconds
        association.set_socket(connection)
        association.acceptor.maximum_length = self.ae.maximum_pdu_size
        association.acceptor.ae_title = server.ae_title
        association.acceptor.address_info = self.local
        association.acceptor.implementation_class_uid = self.ae.implementation_class_uid
        association.acceptor.implementation_version_name = self.ae.implementation_version_name
        association.acceptor.supported_contexts = server.contexts
        association.requestor.address_info = self.remote
        handlers: dict[Any, Any] = server._handlers  # noqa: SLF001 - as the parent
        for event, bound in handlers.items():
            # an intervention event has one handler, a notification event any number
            for function, arguments in [bound] if event.is_intervention else bound:
                association.bind(event, function, arguments)
        return association


@dataclass(frozen=True, slots=True)
class AssociationLimits:
    """How many associations are served at once: in all, and of one address."""

    total: int
    per_peer: int


class AssociationServer(StockServer):
    """Accepts connections from a socket that is bound already.

    Parameters
    ----------
    listening : socket.socket
        Bound and listening; closed with the server.
    maximum_message_size : int
        See `AcceptorAssociation`.
    pdu_seconds : float
        Within which a PDU has to arrive whole, once it has begun.
    limits : AssociationLimits
        Kept here rather than by the application entity, which counts
        connections that have not asked for anything yet.
    """

    def __init__(
        self,
        ae: Any,
        address: Any,
        ae_title: str,
        contexts: list[Any],
        ssl_context: Any = None,
        *,
        listening: socket.socket,
        maximum_message_size: int,
        pdu_seconds: float,
        limits: AssociationLimits,
        evt_handlers: Any = None,
    ) -> None:
        self._listening = listening
        self.maximum_message_size = maximum_message_size
        self.pdu_seconds = pdu_seconds
        self._limits = limits
        self._admission = threading.Lock()
        super().__init__(ae, address, ae_title, contexts, ssl_context, evt_handlers, ConnectionHandler)

    def server_bind(self) -> None:
        """Take the socket over instead of binding one."""
        if self.socket is not None:
            self.socket.close()
        self.socket = self._listening
        # a connection that is gone before it is accepted must not hold the accept loop
        self.socket.settimeout(0)
        self.server_address = self.socket.getsockname()

    def server_activate(self) -> None:
        """Do nothing: the socket listens already."""

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept one connection, answers undelayed and dead peers noticed."""
        connection, address = super().get_request()
        connection.settimeout(self.pdu_seconds)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return connection, address

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002 - socketserver's hook
        """Refuse a connection while far more are open, in all or from its address, than associations may be.

        Up to that many may wait for an association, or for a proper
        A-ASSOCIATE-RJ, which costs two threads each.
        """
        open_now = self._associations()
        near = sum(one.address == client_address[0] for one in open_now)
        welcome = (
            len(open_now) < self._limits.total + _WAITING_SOCKETS
            # one address leaves waiting places, too, to the others
            and near < self._limits.per_peer + _WAITING_SOCKETS // 2
        )
        if not welcome:
            _rarely.warning(_log, "connection_refused", limit=self._limits.total, per_peer=self._limits.per_peer)
        return welcome

    def admit(self, association: AcceptorAssociation) -> bool:
        """Give an association its place, which it holds until it ends; false where there is none for its address."""
        with self._admission:
            admitted = [one for one in self._associations() if one.admitted]
            near = sum(one.address == association.address for one in admitted)
            association.admitted = len(admitted) < self._limits.total and near < self._limits.per_peer
        if not association.admitted:
            _rarely.warning(_log, "association_refused", peer=association.peer, held=near, of=len(admitted))
        return association.admitted

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - socketserver's hook
        """Log by type; the default prints a traceback with received text."""
        _log.exception("connection_failed")

    def stop_accepting(self) -> None:
        """End `serve_forever`; the stock `shutdown` is for servers that the application entity has started."""
        BaseServer.shutdown(self)

    def each(self, act: Callable[[AcceptorAssociation], None]) -> int:
        """Do something to every live association and return how many there are."""
        associations = self._associations()
        for association in associations:
            act(association)
        return len(associations)

    def _associations(self) -> list[AcceptorAssociation]:
        return [one for one in self.active_associations if isinstance(one, AcceptorAssociation)]
