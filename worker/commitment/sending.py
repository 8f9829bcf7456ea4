"""Telling a peer what we committed to: N-EVENT-REPORT on an association of our own (PS3.4 J.3.3)."""

from __future__ import annotations

import logging
import socket
import threading
from contextlib import suppress
from typing import Any, Final, Self

from pydicom.config import IGNORE
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag
from pynetdicom import AE, build_context, build_role, evt

from core.commitment_request import (
    COMMITTED,
    FAILURES_EXIST,
    STORAGE_COMMITMENT_PUSH_MODEL,
    WELL_KNOWN_INSTANCE,
    Reference,
)
from core.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from core.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from db.vocabulary import Unreported
from worker.commitment.destination import Destination, NotReported
from worker.commitment.vouching import Report

_CONNECT_SECONDS: Final = 5.0
_ANSWER_SECONDS: Final = 10.0
# pynetdicom waits for a PDU that has begun without any limit
_WHOLE_SECONDS: Final = 30.0
# on top of both, for reading and filing a long report
_SECONDS_A_REFERENCE: Final = 0.001
_SUCCESS: Final = 0x0000
_TRANSACTION_UID: Final = Tag(0x0008, 0x1195)
# Referenced SOP Class UID and Referenced SOP Instance UID, as in `Reference`
_REFERENCED_SOP: Final = (Tag(0x0008, 0x1150), Tag(0x0008, 0x1155))


def event_information(report: Report) -> Dataset:
    """Return the data set of the report (PS3.4 Table J.3-2)."""
    dataset = Dataset()
    dataset.add(_uid(_TRANSACTION_UID, report.transaction_uid))
    if report.committed:
        dataset.ReferencedSOPSequence = [_item(reference) for reference in report.committed]
    if report.failed:
        dataset.FailedSOPSequence = []
        for reference, reason in report.failed:
            item = _item(reference)
            item.FailureReason = int(reason)
            dataset.FailedSOPSequence.append(item)
    return dataset


def _item(reference: Reference) -> Dataset:
    item = Dataset()
    for tag, uid in zip(_REFERENCED_SOP, reference, strict=True):
        item.add(_uid(tag, uid))
    return item


def _uid(tag: BaseTag, value: str) -> DataElement:
    # as it was asked for: pydicom would warn of the zeros that some devices lead components with
    return DataElement(tag, "UI", value, validation_mode=IGNORE)


def send(
    report: Report,
    to: Destination,
    ae_title: str,
    *,
    answer_seconds: float = _ANSWER_SECONDS,
    seconds: float = _WHOLE_SECONDS,
) -> None:
    """Report, and return once the peer has answered success.

    Telling a peer twice is harmless: the report names its transaction.

    Parameters
    ----------
    report : Report
    to : Destination
    ae_title : str
        Ours.
    answer_seconds : float
        How long the peer may take for each answer.
    seconds : float
        How long all of it may take once it is connected.

    Raises
    ------
    NotReported
        ``UNREACHABLE`` or ``REFUSED``.
    """
    # what went wrong is said by the caller, once
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    entity = AE(ae_title=ae_title)
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    entity.connection_timeout = _CONNECT_SECONDS
    entity.acse_timeout = answer_seconds
    filing_seconds = _SECONDS_A_REFERENCE * (len(report.committed) + len(report.failed))
    entity.dimse_timeout = entity.network_timeout = answer_seconds + filing_seconds
    context = build_context(STORAGE_COMMITMENT_PUSH_MODEL, [EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN])
    # PS3.4 J.3.3.1.3, note: who requests the association is the SCP of what follows
    role = build_role(STORAGE_COMMITMENT_PUSH_MODEL, scp_role=True)
    with _Deadline(seconds + filing_seconds) as deadline:
        handlers: list[Any] = [(evt.EVT_CONN_OPEN, deadline.opened)]
        try:
            association = entity.associate(
                to.host, to.port, contexts=[context], ae_title=to.ae_title, ext_neg=[role], evt_handlers=handlers
            )
        except OSError:
            # all others become an association that is not established
            raise NotReported(Unreported.UNREACHABLE, "the host of the report address has no address") from None
        if not association.is_established:
            raise NotReported(Unreported.UNREACHABLE, _why_not(association, connected=deadline.connected))
        try:
            status = _status_of(association, report)
        finally:
            association.release()
    if status is None:
        raise NotReported(Unreported.UNREACHABLE, "the association ended before the report was answered")
    if status != _SUCCESS:
        raise NotReported(Unreported.REFUSED, f"the peer answered the report with status 0x{status:04X}")


def _status_of(association: Any, report: Report) -> int | None:
    event = FAILURES_EXIST if report.failed else COMMITTED
    try:
        answer, _ = association.send_n_event_report(
            event_information(report), event, STORAGE_COMMITMENT_PUSH_MODEL, WELL_KNOWN_INSTANCE
        )
    except (RuntimeError, ValueError):
        # what pynetdicom raises where the association ended meanwhile
        return None
    status: int | None = answer.get("Status")
    return status


def _why_not(association: Any, *, connected: bool) -> str:
    if not connected:
        return "nothing listens at the report address"
    if association.is_rejected:
        return "the peer rejected our association; is our AE title known there?"
    return "the peer does not answer, ended the connection, or takes no reports of storage commitment from us"


class _Deadline:
    """Shuts a connection down when it has lasted for too long, whatever pynetdicom waits for.

    Parameters
    ----------
    seconds : float
        From when it is open.

    Attributes
    ----------
    connected : bool
        Whether it was ever open.
    """

    def __init__(self, seconds: float) -> None:
        self.connected = False
        self._seconds = seconds
        self._timer: threading.Timer | None = None

    def opened(self, event: Any) -> None:
        """Handle pynetdicom's EVT_CONN_OPEN."""
        self.connected = True
        self._timer = threading.Timer(self._seconds, _shut_down, (event.assoc.dul.socket.socket,))
        self._timer.daemon = True
        self._timer.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()


def _shut_down(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
