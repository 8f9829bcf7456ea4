"""What happens to one request for storage commitment (N-ACTION, PS3.4 J.3.2).

It is spooled like an instance, durable before it is answered. Success says
that and no more: a worker finds out what we hold of what it names, and reports
on an association of its own. A request that nobody could answer, or whose
answer would have nowhere to go, is refused at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from core.commitment_request import (
    LARGEST,
    REQUEST_STORAGE_COMMITMENT,
    STORAGE_COMMITMENT_PUSH_MODEL,
    WELL_KNOWN_INSTANCE,
    Flaw,
    RequestReader,
)
from core.logging import get
from core.spool import Entry
from core.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN
from core.uids import is_uid
from dicom_listener.services import Request
from dicom_listener.status import ActionStatus
from dicom_listener.storage import file_meta
from dicom_listener.storage.disk import Watermark
from dicom_listener.storage.instance_file import SpoolWriter
from dicom_listener.storage.reception import Outcomes, Refused, SpooledReception, Spooling

_OUTCOMES: Final = Outcomes(
    done=ActionStatus.TAKEN,
    no_space=ActionStatus.NO_SPACE,
    not_now=ActionStatus.CANNOT_TAKE,
    empty=ActionStatus.EMPTY,
    refused_event="commitment_refused",
    failed_event="commitment_not_taken",
)
_STATUS_OF: Final = {
    Flaw.UNPARSABLE: ActionStatus.UNPARSABLE,
    Flaw.MISTYPED: ActionStatus.MISTYPED,
    Flaw.BAD_TRANSACTION_UID: ActionStatus.BAD_TRANSACTION_UID,
    Flaw.NO_REFERENCES: ActionStatus.NO_REFERENCES,
    Flaw.BAD_REFERENCE: ActionStatus.BAD_REFERENCE,
    Flaw.TOO_LARGE: ActionStatus.TOO_LARGE,
}

_log = get(__name__)


class CommitmentService:
    """Takes requests for storage commitment; one for all associations of a process. Safe for threads.

    Parameters
    ----------
    writer : SpoolWriter
        One that publishes into the spool's ``commitment/``.
    watermark : Watermark
    ae_title : str
        Ours, for peers that called us by nothing printable.
    monotonic : callable
        The clock of what is logged.
    """

    def __init__(
        self,
        writer: SpoolWriter,
        watermark: Watermark,
        ae_title: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spooling = Spooling(writer, watermark, ae_title, _OUTCOMES, monotonic)

    def begin(self, request: Request) -> CommitmentReception:
        """Start receiving; the reception says in the end if it was refused at once."""
        reception = CommitmentReception(self._spooling, request)
        reception.admit()
        return reception


class CommitmentReception(SpooledReception):
    """One request being received; what it asks for is read while it comes."""

    def __init__(self, spooling: Spooling, request: Request) -> None:
        super().__init__(spooling, request)
        self._reader = RequestReader(explicit=request.transfer_syntax != IMPLICIT_VR_LITTLE_ENDIAN, keep=False)
        self._size = 0

    def check_command(self) -> bytes:
        """Refuse other classes, instances and actions, and peers to whom nothing could be reported."""
        request, sender = self.request, self.request.sender
        if request.sop_class_uid != STORAGE_COMMITMENT_PUSH_MODEL or request.sop_class_uid != request.abstract_syntax:
            raise Refused(ActionStatus.WRONG_CLASS)
        if request.sop_instance_uid is None or not is_uid(request.sop_instance_uid):
            raise Refused(ActionStatus.BAD_INSTANCE_UID)
        if request.sop_instance_uid != WELL_KNOWN_INSTANCE:
            raise Refused(ActionStatus.NO_SUCH_INSTANCE)
        if request.action_type != REQUEST_STORAGE_COMMITMENT:
            raise Refused(ActionStatus.NO_SUCH_ACTION)
        if sender.known is None or sender.known.report_host is None:
            raise Refused(ActionStatus.NOT_AUTHORISED)
        return file_meta.encode(
            sop_class_uid=request.sop_class_uid,
            sop_instance_uid=request.sop_instance_uid,
            transfer_syntax_uid=request.transfer_syntax,
            sending_ae_title=sender.ae_title,
            receiving_ae_title=sender.called_ae_title or self.spooling.ae_title,
            # one AE title may stand for several places, each with a report address of its own
            source_address=sender.address,
        )

    def look(self, fragment: memoryview) -> None:
        """Read on; refuse what grows too large, and what nobody could answer as soon as that shows."""
        self._size += len(fragment)
        if self._size > LARGEST:
            raise Refused(ActionStatus.TOO_LARGE)
        self._reader.feed(fragment)
        if self._reader.flaw is not None:
            raise Refused(_STATUS_OF[self._reader.flaw])

    def look_back(self) -> None:
        """Refuse what lacks something."""
        flaw = self._reader.finish()
        if flaw is not None:
            raise Refused(_STATUS_OF[flaw])

    def log_done(self, entry: Entry, size: int, seconds: float) -> None:
        """Log how many instances commitment is asked for."""
        _log.info(
            "commitment_requested",
            peer=self.request.sender.ae_title,
            sequence=entry.sequence,
            bytes=size,
            instances=self._reader.count,
            seconds=round(seconds, 4),
        )
