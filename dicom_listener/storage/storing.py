"""What happens to one C-STORE request, from its command to the status: what is looked at, and in which order."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from core.logging import get
from core.spool import Entry
from core.transfer_syntaxes import IMPLICIT_VR_LITTLE_ENDIAN
from core.uids import is_uid
from dicom_listener.services import Request
from dicom_listener.status import StoreStatus
from dicom_listener.storage import file_meta
from dicom_listener.storage.disk import Watermark
from dicom_listener.storage.instance_file import SpoolWriter
from dicom_listener.storage.reception import Outcomes, Refused, SpooledReception, Spooling
from dicom_listener.storage.structure import Surveyor, Verdict

_OUTCOMES: Final = Outcomes(
    done=StoreStatus.STORED,
    no_space=StoreStatus.NO_SPACE,
    not_now=StoreStatus.CANNOT_STORE,
    empty=StoreStatus.EMPTY,
    refused_event="instance_refused",
    failed_event="instance_not_stored",
)

_log = get(__name__)


class StoreService:
    """Stores instances in the spool; one for all associations of a process. Safe for threads.

    Parameters
    ----------
    writer : SpoolWriter
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

    def begin(self, request: Request) -> StoreReception:
        """Start receiving; the reception says in the end if it was refused at once."""
        reception = StoreReception(self._spooling, request)
        reception.admit()
        return reception


class StoreReception(SpooledReception):
    """One instance being received.

    Parameters
    ----------
    spooling : Spooling
    request : Request

    References
    ----------
    DICOM PS3.4 B.2.3 (what each refusal means).
    """

    def __init__(self, spooling: Spooling, request: Request) -> None:
        super().__init__(spooling, request)
        self._surveyor = Surveyor(explicit=request.transfer_syntax != IMPLICIT_VR_LITTLE_ENDIAN)

    def check_command(self) -> bytes:
        """Refuse UIDs that are none or the context's others; what they say goes into the file meta information."""
        request = self.request
        instance = request.sop_instance_uid
        if instance is None or not is_uid(instance):
            raise Refused(StoreStatus.BAD_INSTANCE_UID)
        sop_class = request.sop_class_uid
        if sop_class is None or sop_class != request.abstract_syntax or not is_uid(sop_class):
            raise Refused(StoreStatus.WRONG_CLASS)
        return file_meta.encode(
            sop_class_uid=sop_class,
            sop_instance_uid=instance,
            transfer_syntax_uid=request.transfer_syntax,
            sending_ae_title=request.sender.ae_title,
            receiving_ae_title=request.sender.called_ae_title or self.spooling.ae_title,
        )

    def look(self, fragment: memoryview) -> None:
        """Refuse what cannot become a data set any more, and another instance's as soon as it says so."""
        found, request = self._surveyor, self.request
        found.feed(fragment)
        if found.failed:
            raise Refused(StoreStatus.UNPARSABLE)
        if found.sop_class_uid not in {None, request.sop_class_uid}:
            raise Refused(StoreStatus.MISMATCH)
        if found.sop_instance_uid not in {None, request.sop_instance_uid}:
            raise Refused(StoreStatus.MISMATCH)

    def step_over(self, size: int) -> bool:
        """Take them if they lie within one value."""
        return self._surveyor.step_over(size)

    def look_back(self) -> None:
        """Refuse what was cut short, and what does not say whose it is."""
        found = self._surveyor.finish()
        if found.verdict is Verdict.TRUNCATED:
            raise Refused(StoreStatus.TRUNCATED)
        if found.sop_class_uid is None or found.sop_instance_uid is None:
            raise Refused(StoreStatus.NO_UIDS)

    def log_done(self, entry: Entry, size: int, seconds: float) -> None:
        """Log an instance received."""
        _log.info(
            "instance_received",
            peer=self.request.sender.ae_title,
            sequence=entry.sequence,
            bytes=size,
            seconds=round(seconds, 4),
        )
