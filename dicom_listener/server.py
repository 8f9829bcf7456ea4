"""The DICOM listener process: binds, accepts, and drains on SIGTERM (promise 10)."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final, cast

from pynetdicom import _config, evt
from pynetdicom.ae import ApplicationEntity

from core.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from core.logging import get, safe_error
from core.settings import Settings
from core.signals import stop_event
from core.spool import Spool
from dicom_listener import contexts
from dicom_listener.binding import bind
from dicom_listener.disk import Watermark
from dicom_listener.handlers import StoreHandler
from dicom_listener.instance_file import SpoolWriter
from dicom_listener.peers import printable_ae_title
from dicom_listener.upper_layer import AcceptorAssociation, AssociationLimits, AssociationServer

_ACCEPT_POLL: Final = 0.1
_NEGOTIATION_SECONDS: Final = 30.0
# while draining: how long a sender may be silent between two images, and how long it may go on sending more
_QUIET_SECONDS: Final = 0.3
_LAST_CALL_SECONDS: Final = 2.0
_CUT_SECONDS: Final = 1.0
# PS3.8 Table 9-21: rejected for now, by the presentation-related service provider
_LOCAL_LIMIT_EXCEEDED: Final = (0x02, 0x03, 0x02)

_log = get(__name__)


class Listener:
    """One listener: `start`, then `drain`.

    Parameters
    ----------
    settings : Settings

    Raises
    ------
    Misconfigured
        If the spool cannot be written or the port cannot be had.
    """

    def __init__(self, settings: Settings) -> None:
        spool = Spool(settings.data_dir, settings.listener_name)
        self._writer = SpoolWriter(spool)
        watermark = Watermark(spool.root, settings.free_space_fraction, settings.free_space_bytes)
        handler = StoreHandler(self._writer, watermark, settings.ae_title)
        self._listening = bind(settings)
        self.port: int = self._listening.getsockname()[1]
        # process-wide: the default handlers log received text and cost time; UIDs we check ourselves
        _config.LOG_HANDLER_LEVEL = "none"
        made = _application_entity(settings).make_server(
            (settings.listen_host, self.port),
            ae_title=settings.ae_title,
            contexts=[contexts.verification()],
            evt_handlers=[
                (evt.EVT_REQUESTED, _prepare_negotiation),
                (evt.EVT_ESTABLISHED, _log_established),
                (evt.EVT_C_ECHO, _answer_echo),
                (evt.EVT_C_STORE, handler),
            ],
            server_class=AssociationServer,
            listening=self._listening,
            maximum_message_size=settings.maximum_message_size,
            pdu_seconds=min(settings.network_timeout, _NEGOTIATION_SECONDS),
            limits=AssociationLimits(settings.maximum_associations, settings.maximum_associations_per_peer),
        )
        self._server = cast("AssociationServer", made)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_ACCEPT_POLL,), name="accept")

    @property
    def incarnation(self) -> str:
        """Return the name of this run, which its entries begin with."""
        return self._writer.incarnation

    def start(self) -> None:
        """Accept associations from now on."""
        self._thread.start()

    def drain(self, seconds: float) -> None:
        """Stop accepting, let what is in flight finish, abort what is idle.

        A message of which a byte has arrived is received, stored and answered
        within `seconds`; a sender may go on with further ones for a moment,
        then its association is aborted between two messages. Nothing aborted
        was acknowledged.
        """
        self._stop_accepting()
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            last_call = time.monotonic() - began >= _LAST_CALL_SECONDS
            if self._server.each(partial(_let_go, last_call=last_call)) == 0:
                break
            time.sleep(_ACCEPT_POLL)
        left = self._server.each(AcceptorAssociation.cut)
        deadline = time.monotonic() + _CUT_SECONDS
        while self._server.active_associations and time.monotonic() < deadline:
            time.sleep(_ACCEPT_POLL)
        _log.info("listener_drained", cut=left, seconds=round(time.monotonic() - began, 2))

    def _stop_accepting(self) -> None:
        if self._thread.is_alive():
            self._server.stop_accepting()
            self._thread.join()
        self._server.server_close()


def _application_entity(settings: Settings) -> ApplicationEntity:
    entity = ApplicationEntity(ae_title=settings.ae_title)
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    # `AssociationServer.admit` counts, and knows addresses
    entity.maximum_associations = sys.maxsize
    entity.maximum_pdu_size = settings.maximum_pdu_size
    entity.network_timeout = settings.network_timeout
    entity.dimse_timeout = settings.network_timeout
    entity.acse_timeout = min(settings.network_timeout, _NEGOTIATION_SECONDS)
    entity.require_called_aet = settings.check_called_ae_title
    return entity


def _prepare_negotiation(event: Any) -> None:
    association = event.assoc
    server = association._server  # noqa: SLF001 - where pynetdicom keeps it
    request = association.requestor.primitive
    association.peer = printable_ae_title(request.calling_ae_title)
    if not server.admit(association):
        association.acse.send_reject(*_LOCAL_LIMIT_EXCEEDED)
        association.kill()
        return
    association.acceptor.supported_contexts = contexts.supported(
        str(context.abstract_syntax) for context in request.presentation_context_definition_list
    )


def _log_established(event: Any) -> None:
    accepted, rejected = event.assoc.accepted_contexts, event.assoc.rejected_contexts
    _log.info("association_accepted", peer=event.assoc.peer, contexts=len(accepted), refused=len(rejected))


def _answer_echo(event: Any) -> int:
    _log.info("echo_answered", peer=event.assoc.peer)
    return 0x0000


def _let_go(association: AcceptorAssociation, *, last_call: bool) -> None:
    association.closing = last_call
    if not association.is_established:
        association.cut()
    elif association.is_quiet(_QUIET_SECONDS):
        # blocks until the association has ended
        threading.Thread(target=association.abort, daemon=True).start()


def serve(settings: Settings, ready: Callable[[Listener], None]) -> int:
    """Listen until SIGTERM or SIGINT, then drain.

    Parameters
    ----------
    settings : Settings
    ready : callable
        Called once associations are accepted, with the listener (its `port`
        is the real one).

    Returns
    -------
    int
        Exit code, 0.

    Raises
    ------
    Misconfigured
        If it cannot start.
    """
    stop = stop_event()
    threading.excepthook = _log_thread_failure
    listener = Listener(settings)
    listener.start()
    _log.info("listener_started", port=listener.port, ae_title=settings.ae_title, incarnation=listener.incarnation)
    ready(listener)
    stop.wait()
    _log.info("listener_draining")
    listener.drain(settings.drain_timeout)
    return 0


def _log_thread_failure(failure: threading.ExceptHookArgs) -> None:
    # the default prints a traceback whose text may quote what was received
    facts = safe_error(failure.exc_value) if failure.exc_value is not None else {}
    _log.error("thread_failed", **facts)
