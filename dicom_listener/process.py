"""One association process: accepts from the shared sockets, and drains on SIGTERM (promise 10)."""

from __future__ import annotations

import logging
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any, Final

from pynetdicom import _config
from pynetdicom.ae import ApplicationEntity

from core.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from core.logging import get, safe_error
from core.peers import PeersFile
from core.settings import Settings
from core.signals import stop_event
from core.spool import Spool
from dicom_listener.association.acceptor import Acceptor, Drain, Timeouts
from dicom_listener.association.admission import Admission
from dicom_listener.association.commands import C_ECHO_RQ, C_STORE_RQ, N_ACTION_RQ
from dicom_listener.association.door import Door, Entrance
from dicom_listener.association.places import Places
from dicom_listener.contexts import Offer
from dicom_listener.metrics.counting import Metrics
from dicom_listener.services import EchoService
from dicom_listener.storage.commitment import CommitmentService
from dicom_listener.storage.disk import Watermark
from dicom_listener.storage.instance_file import SpoolWriter
from dicom_listener.storage.storing import StoreService

_POLL_SECONDS: Final = 0.05
_LOOK_SECONDS: Final = 1.0
_CUT_SECONDS: Final = 1.0

_log = get(__name__)


@dataclass(frozen=True, slots=True)
class Shared:
    """What the parent has made for all association processes before it forks."""

    settings: Settings
    entrances: list[Entrance]
    peers: PeersFile
    places: Places
    metrics: Metrics


def serve(shared: Shared) -> None:
    """Serve associations until SIGTERM or SIGINT, then drain.

    Raises
    ------
    Misconfigured
        If the spool cannot be written.
    """
    stop = stop_event()
    threading.excepthook = _log_thread_failure
    settings = shared.settings
    drain = Drain()
    acceptor = _acceptor(shared, drain)
    door = Door(shared.entrances, acceptor, shared.peers.current, settings.maximum_associations)
    accepting = threading.Thread(target=_accept, args=(door, stop), name="door")
    accepting.start()
    while not stop.wait(_LOOK_SECONDS):
        # a process that nobody has asked for an association must not miss what the file said in between
        shared.peers.current()
        door.cut_late()
    acceptor.admission.draining = True
    drain.begin()
    accepting.join()
    _end(door, settings.drain_timeout)


def _accept(door: Door, stop: threading.Event) -> None:
    try:
        door.run()
    finally:
        # a process whose door is shut must not go on looking healthy: it ends, and the parent starts another
        stop.set()


def _acceptor(shared: Shared, drain: Drain) -> Acceptor:
    settings = shared.settings
    spool = Spool(settings.data_dir, settings.listener_name)
    watermark = Watermark(spool.root, settings.free_space_fraction, settings.free_space_bytes)
    return Acceptor(
        entity=_application_entity(settings),
        ae_title=settings.ae_title,
        admission=Admission(
            settings.ae_title,
            check_called=settings.check_called_ae_title,
            peers=shared.peers,
            places=shared.places,
            watermark=watermark,
        ),
        give_back=shared.places.give_back,
        services={
            (Offer.VERIFICATION, C_ECHO_RQ): EchoService(),
            (Offer.STORAGE, C_STORE_RQ): StoreService(SpoolWriter(spool), watermark, settings.ae_title),
            (Offer.COMMITMENT, N_ACTION_RQ): CommitmentService(
                SpoolWriter(spool, spool.commitments), watermark, settings.ae_title
            ),
        },
        maximum_message_size=settings.maximum_message_size,
        timeouts=Timeouts(
            settings.request_timeout, settings.pdu_timeout, settings.message_timeout, settings.network_timeout
        ),
        drain=drain,
        metrics=shared.metrics,
    )


def _application_entity(settings: Settings) -> Any:
    # process-wide: the default handlers log received text and cost time; UIDs we check ourselves
    _config.LOG_HANDLER_LEVEL = "none"
    # and its own words, of which one hostile request can cause tens of thousands
    for library in ("pynetdicom", "pydicom"):
        logging.getLogger(library).setLevel(logging.CRITICAL + 1)
    entity = ApplicationEntity(ae_title=settings.ae_title)
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    # `Places` counts, over all processes
    entity.maximum_associations = sys.maxsize
    entity.maximum_pdu_size = settings.maximum_pdu_size
    return entity


def _end(door: Door, seconds: float) -> None:
    """Let what is in flight finish; cut what is left.

    Each association notices the drain by itself: a message of which a byte has
    arrived is received, stored and answered; soon after, the association is
    aborted. No message in flight then was acknowledged.
    """
    began = time.monotonic()
    while door.living and time.monotonic() - began < seconds:
        time.sleep(_POLL_SECONDS)
    left = door.living
    for association in left:
        association.cut()
    deadline = time.monotonic() + _CUT_SECONDS
    while door.living and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    _log.info("associations_drained", cut=len(left), seconds=round(time.monotonic() - began, 2))


def _log_thread_failure(failure: threading.ExceptHookArgs) -> None:
    # the default prints a traceback whose text may quote what was received
    facts = safe_error(failure.exc_value) if failure.exc_value is not None else {}
    _log.error("thread_failed", **facts)
