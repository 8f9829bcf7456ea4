"""One association, from the accepted connection to its end, in one thread.

Reads top to bottom as it happens: TLS handshake, A-ASSOCIATE-RQ, admission and
negotiation, messages one after the other, release or abort. Each wait has its
deadline, and whatever happens the connection is closed and the place given
back.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_ASSOCIATE, A_RELEASE, P_DATA
from pynetdicom.transport import AddressInformation

from core.failpoints import reach
from core.logging import get, safe_error
from core.peers import Address
from core.rarely import Rarely
from dicom_listener import contexts
from dicom_listener.association.acceptor import Acceptor
from dicom_listener.association.admission import Asking
from dicom_listener.association.commands import (
    C_CANCEL_RQ,
    C_ECHO_RQ,
    C_STORE_RQ,
    N_ACTION_RQ,
    Command,
    encode_response,
)
from dicom_listener.association.messages import Message, Messages
from dicom_listener.metrics.counting import Outcome
from dicom_listener.rejections import Rejection
from dicom_listener.services import Answering, Reception, Request, Sender
from dicom_listener.status import UnservedStatus
from dicom_listener.upper_layer.provider import P_DATA_TF, BadPdu, UpperLayer
from dicom_listener.upper_layer.stream import PeerStream, TooSlow, Woken
from dicom_listener.upper_layer.tls import Tls, client_certificate_digest, reason

# PS3.8 9.2.2, Sta13: how long the peer has to close after our last word; it holds no place meanwhile
_FAREWELL_SECONDS: Final = 1.0
# while draining: how long a sender may be silent between two messages
_QUIET_SECONDS: Final = 0.3
# how long after a deadline a thread that has not noticed it by itself is cut
_LATE_SECONDS: Final = 1.0
_COMMAND_LAST: Final = b"\x03"  # PS3.8 E.2: command, last fragment
_COMMAND_MORE: Final = b"\x01"
_PDV_OVERHEAD: Final = 6
_UNEXPECTED_PDU: Final = 0x02  # PS3.8 Table 9-26, as the reason of an A-P-ABORT
_NAMES: Final = {C_STORE_RQ: "C-STORE", C_ECHO_RQ: "C-ECHO", N_ACTION_RQ: "N-ACTION"}

_log = get(__name__)
_rarely = Rarely(60.0)


class Host(Protocol):
    """Who keeps count of connections."""

    def decided(self, association: AcceptorAssociation) -> None:
        """Note that an association is admitted or refused."""

    def ended(self, association: AcceptorAssociation) -> None:
        """Note that an association's connection is closed."""


class AcceptorAssociation(Association):
    """An association that somebody asks us for; a thread.

    Parameters
    ----------
    acceptor : Acceptor
    connection : socket.socket
        Accepted.
    address : Address
        The peer's.
    tls : Tls or None
        Where the connection has to begin with a handshake.
    host : Host
        Told when the association no longer waits, and when it has ended.

    Attributes
    ----------
    leaving : bool
        Whether all that is left is to let the peer close.
    evicted : bool
        Whether it is cut to make room before it has asked for anything.
    """

    def __init__(
        self,
        acceptor: Acceptor,
        connection: socket.socket,
        address: Address,
        tls: Tls | None,
        host: Host,
    ) -> None:
        super().__init__(acceptor.entity, "acceptor")
        self.name = f"association-{id(self):x}"
        self.address = address
        self._acceptor = acceptor
        self._connection = connection
        # stays valid where the TLS layer takes the descriptor over
        self._cutter = connection.dup() if tls is not None else connection
        self._tls = tls
        self._host = host
        self.leaving = False
        self.evicted = False
        self._is_counted = False
        # the place among the associations, for as long as it is held
        self._held = contextlib.ExitStack()
        self._messages = Messages(self._begin, acceptor.maximum_message_size)
        self._stream: PeerStream | None = None
        self._handshake_due: float | None = None
        self._sender = Sender(None, address, None, None)

    @property
    def peer(self) -> str | None:
        """Return the calling AE title, printable; None before it is known."""
        return self._sender.ae_title

    def is_late(self, moment: float) -> bool:
        """Say whether a deadline was over long before this moment, by `time.monotonic`, and nothing came of it."""
        due = self._handshake_due if self._stream is None else self._stream.due
        return due is not None and moment - due > _LATE_SECONDS

    def cut(self) -> None:
        """End the connection without a word, from another thread."""
        with contextlib.suppress(OSError):
            # not `SSLSocket.shutdown`, which takes the TLS layer from under the thread that reads
            socket.socket.shutdown(self._cutter, socket.SHUT_RDWR)

    def run_reactor(self) -> None:
        """Live: what the thread runs."""
        try:
            self._live()
        except Exception as error:  # noqa: BLE001 - the edge: without an answer the peer must send again
            _rarely.warning(_log, "association_failed", peer=self.peer, **safe_error(error))
            with contextlib.suppress(Exception):
                self.acse.send_ap_abort(0x00)
        finally:
            self._messages.abandon()
            self._leave()
            if not self._is_counted:
                self._count(Outcome.EVICTED if self.evicted else Outcome.UNASKED)
            for descriptor in (self._connection, self._cutter, self._stream):
                if descriptor is not None:
                    descriptor.close()
            self._host.ended(self)

    def _live(self) -> None:
        connection = self._secure()
        if connection is None:
            return
        timeouts = self._acceptor.timeouts
        self._stream = PeerStream(connection, self._acceptor.drain.bell.fileno())
        self.dul = upper_layer = UpperLayer(self, self._stream, self._messages, timeouts.pdu, self._decoding())
        self._describe(connection)
        upper_layer.connected()
        request = self._await_request(upper_layer)
        if request is not None and self._negotiate(request, connection, upper_layer):
            # by the peer, by us, or by what lies between; `_serve` knows of other endings
            ending = Outcome.ABORTED
            try:
                ending = self._serve(upper_layer, self._stream)
            finally:
                self._count(ending)
        self._leave()
        if upper_layer.state == "Sta13":
            self._stream.finish(time.monotonic() + _FAREWELL_SECONDS)

    def _decoding(self) -> Callable[[float], AbstractContextManager[None]]:
        # who asks is known only when it is decoded; where from, before
        known = self._acceptor.admission.expects(self.address)
        return lambda seconds: self._acceptor.turns.of(known=known, seconds=seconds)

    def _secure(self) -> socket.socket | None:
        if self._tls is None:
            return self._connection
        self._handshake_due = time.monotonic() + self._acceptor.timeouts.request
        try:
            return self._tls.handshake(
                self._connection, self._acceptor.timeouts.request, self._acceptor.drain.bell.fileno()
            )
        except (OSError, TooSlow, Woken) as error:
            _rarely.warning(_log, "tls_handshake_failed", why=reason(error), address=str(self.address))
            if not self.evicted:
                self._count(Outcome.TLS_FAILED)
            return None

    def _describe(self, connection: socket.socket) -> None:
        entity = self._acceptor.entity
        self.acceptor.maximum_length = entity.maximum_pdu_size
        self.acceptor.ae_title = self._acceptor.ae_title
        self.acceptor.implementation_class_uid = entity.implementation_class_uid
        self.acceptor.implementation_version_name = entity.implementation_version_name
        self.acceptor.address_info = AddressInformation.from_tuple(connection.getsockname())
        self.requestor.address_info = AddressInformation(str(self.address), 0)

    def _await_request(self, upper_layer: UpperLayer) -> A_ASSOCIATE | None:
        deadline = time.monotonic() + self._acceptor.timeouts.request
        try:
            upper_layer.receive(deadline, latest=deadline, wakeable=True)
        except TooSlow:
            _rarely.warning(_log, "request_too_late")
            return None
        except Woken:
            return None
        if upper_layer.protocol_version_is_bad:
            self._note(Rejection.PROTOCOL_VERSION)
            return None
        request: Any = upper_layer.receive_pdu()
        return request if isinstance(request, A_ASSOCIATE) else None

    def _negotiate(self, request: A_ASSOCIATE, connection: socket.socket, upper_layer: UpperLayer) -> bool:
        """Answer an A-ASSOCIATE-RQ with -AC or -RJ, and say which."""
        acceptor = self._acceptor
        asking = Asking(
            str(request.application_context_name),
            None if upper_layer.calling_ae_title_is_bad else request.calling_ae_title,
            request.called_ae_title,
            self.address,
            client_certificate_digest(connection),
        )
        self._sender, place = acceptor.admission.admit(asking)
        if isinstance(place, Rejection):
            self._note(place)
            self.acse.send_reject(*place.numbers)
            return False
        self._held.callback(acceptor.give_back, place)
        self._held.enter_context(acceptor.metrics.open_association(self._sender.known))
        self._host.decided(self)
        self.requestor.primitive = request
        self.acceptor.supported_contexts = contexts.supported(
            (str(context.abstract_syntax) for context in request.presentation_context_definition_list),
            self._sender.known,
        )
        self.acse.negotiate_association()
        if self.is_established:
            self._count(Outcome.ACCEPTED)
            accepted, refused = len(self._accepted_cx), len(self._rejected_cx)
            # a stranger's are told once a minute: whoever may connect must not be able to fill the log
            left_out = 0 if self._sender.known is not None else _rarely.due("association_accepted")
            if left_out is not None:
                _log.info("association_accepted", peer=self.peer, contexts=accepted, refused=refused)
        return self.is_established

    def _serve(self, upper_layer: UpperLayer, stream: PeerStream) -> Outcome:
        """Serve one message after the other, and say how the association ended."""
        while upper_layer.state == "Sta6":
            try:
                self._receive(upper_layer)
            except Woken:
                continue
            except TooSlow:
                drained = self._acceptor.drain.began is not None and self._messages.began is None
                _log.info("association_drained" if drained else "association_idle", peer=self.peer)
                self.acse.send_ap_abort(0x00)
                return Outcome.DRAINED if drained else Outcome.TIMED_OUT
            # whole, but for what came behind it in its PDU, the association may have been aborted
            message = self._messages.take() if upper_layer.state == "Sta6" else None
            if message is not None:
                try:
                    self._answer(message, stream)
                finally:
                    # after an answer it does nothing
                    message.reception.abandon()
            # in Sta6 there is none, and asking costs
            indication: Any = None if upper_layer.state == "Sta6" else upper_layer.receive_pdu()
            if isinstance(indication, A_RELEASE):
                self.acse.send_release(is_response=True)
                return Outcome.RELEASED
        return Outcome.ABORTED

    def _receive(self, upper_layer: UpperLayer) -> None:
        now, timeouts, drain = time.monotonic(), self._acceptor.timeouts, self._acceptor.drain
        if self._messages.began is not None:
            latest = self._messages.began + timeouts.message
            upper_layer.receive(min(now + timeouts.pdu, latest), latest=latest, wakeable=False)
        elif drain.began is None:
            upper_layer.receive(now + timeouts.idle, wakeable=True)
        elif drain.over(now):
            raise TooSlow
        else:
            upper_layer.receive(now + _QUIET_SECONDS, wakeable=False)

    def _begin(self, context_id: int, command: Command, began: float) -> Reception:
        """Choose who serves a request, by its presentation context and its kind."""
        context = self._accepted_cx.get(context_id)
        if context is None:
            raise BadPdu("context_not_accepted")
        # one that began before is finished, however late its command is whole
        if self._acceptor.drain.over(began):
            raise BadPdu("message_after_last_call")
        abstract_syntax = str(context.abstract_syntax)
        service = self._acceptor.services.get((contexts.offer_for(abstract_syntax), command.field))
        if service is None:
            # PS3.7 Annex C: an operation nobody agreed on is answered, its data set thrown away
            return Answering(UnservedStatus.UNRECOGNISED.answer)
        return service.begin(
            Request(
                self._sender,
                abstract_syntax,
                str(context.transfer_syntax[0]),
                command.sop_class_uid,
                command.sop_instance_uid,
                command.action_type,
                command.has_data_set,
            )
        )

    def _answer(self, message: Message, stream: PeerStream) -> None:
        if stream.peek() == P_DATA_TF:
            _rarely.warning(_log, "message_pipelined", peer=self.peer)
            self.acse.send_ap_abort(_UNEXPECTED_PDU)
            return
        answer = message.reception.finish()
        if message.command.field == C_CANCEL_RQ:
            return
        self._send(message.context_id, encode_response(message.command, answer))
        reach("store.answered")
        self._acceptor.metrics.answered(
            _NAMES.get(message.command.field, "other"),
            answer.code,
            self._sender.known,
            time.monotonic() - message.began,
            message.size,
        )

    def _send(self, context_id: int, command_set: bytes) -> None:
        longest = self.requestor.maximum_length or len(command_set) + _PDV_OVERHEAD
        step = max(longest - _PDV_OVERHEAD, 2)
        for start in range(0, len(command_set), step):
            fragment = command_set[start : start + step]
            header = _COMMAND_LAST if start + step >= len(command_set) else _COMMAND_MORE
            primitive = P_DATA()
            primitive.presentation_data_value_list.append((context_id, header + fragment))
            self.dul.send_pdu(primitive)

    def _note(self, why: Rejection) -> None:
        _rarely.warning(_log, f"association_rejected_{why.name.lower()}", peer=self.peer, address=str(self.address))
        self._count(why)

    def _count(self, outcome: Outcome | Rejection) -> None:
        self._is_counted = True
        self._acceptor.metrics.association(outcome, self._sender.known)

    def _leave(self) -> None:
        """Give the place back; the farewell needs none."""
        self.leaving = True
        self._host.decided(self)
        self._held.close()
