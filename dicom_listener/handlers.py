"""What happens to one C-STORE request, from the complete message to the status.

Checked in this order, so that nothing is written that will be refused: the
command's UIDs, the presence of a data set, the disk, the data set's structure,
its UIDs against the command's. Needs neither database nor broker.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset

from core.failpoints import reach
from core.logging import get, safe_error
from core.uids import is_uid
from dicom_listener import file_meta
from dicom_listener.disk import Watermark
from dicom_listener.instance_file import SpoolWriter
from dicom_listener.peers import printable_ae_title
from dicom_listener.rarely import Rarely
from dicom_listener.status import StoreStatus
from dicom_listener.structure import Survey, Verdict, survey

_log = get(__name__)
_rarely = Rarely(60.0)


class Refused(Exception):
    """The request gets this status and leaves nothing behind."""

    def __init__(self, status: StoreStatus) -> None:
        super().__init__(status.name)
        self.status = status


@dataclass(frozen=True, slots=True)
class StoreRequest:
    """One C-STORE request, complete.

    Attributes
    ----------
    sop_class_uid, sop_instance_uid : str or None
        From the command; None where missing or longer than a UID can be.
    abstract_syntax, transfer_syntax : str
        Of the presentation context.
    data_set : bytes
        As received.
    explicit : bool
        Whether the transfer syntax has explicit VRs.
    sender : str or None
        Calling AE title, printable.
    receiver : str
        Called AE title, printable.
    """

    sop_class_uid: str | None
    sop_instance_uid: str | None
    abstract_syntax: str
    transfer_syntax: str
    data_set: bytes
    explicit: bool
    sender: str | None
    receiver: str


class StoreHandler:
    """Stores instances in the spool; one for all associations of a process.

    Parameters
    ----------
    writer : SpoolWriter
    watermark : Watermark
    ae_title : str
        Ours, for peers that called us by nothing printable.
    """

    def __init__(self, writer: SpoolWriter, watermark: Watermark, ae_title: str) -> None:
        self._writer = writer
        self._watermark = watermark
        self._ae_title = ae_title

    def __call__(self, event: Any) -> int | Dataset:
        """Handle pynetdicom's EVT_C_STORE: whatever happens, the answer is one of `StoreStatus`."""
        started = time.monotonic()
        peer = event.assoc.peer
        try:
            sequence, size = self.store(self._request(event))
        except Refused as refusal:
            status = refusal.status
            if status is StoreStatus.NO_SPACE:
                _rarely.warning(_log, "disk_below_watermark", peer=peer)
            else:
                _log.warning("instance_refused", peer=peer, status=status.name)
        except Exception as error:  # noqa: BLE001 - the edge: what we did not foresee is "not now", never 0xC211
            status = StoreStatus.CANNOT_STORE
            # the operating system's own words, such as "No space left on device", never quote received text
            facts = {"why": error.strerror} if isinstance(error, OSError) else {}
            _log.error("instance_not_stored", peer=peer, **facts, **safe_error(error))
        else:
            _log.info(
                "instance_received",
                peer=peer,
                sequence=sequence,
                bytes=size,
                seconds=round(time.monotonic() - started, 4),
            )
            return StoreStatus.STORED.code
        answer = Dataset()
        answer.Status = status.code
        answer.ErrorComment = status.comment
        return answer

    def _request(self, event: Any) -> StoreRequest:
        command, context = event.request, event.context
        called = event.assoc.requestor.primitive.called_ae_title
        return StoreRequest(
            sop_class_uid=command.AffectedSOPClassUID,
            sop_instance_uid=command.AffectedSOPInstanceUID,
            abstract_syntax=context.abstract_syntax,
            transfer_syntax=context.transfer_syntax,
            data_set=b"" if command.DataSet is None else event.encoded_dataset(include_meta=False),
            explicit=not context.transfer_syntax.is_implicit_VR,
            sender=event.assoc.peer,
            receiver=printable_ae_title(called) or self._ae_title,
        )

    def store(self, request: StoreRequest) -> tuple[int, int]:
        """Make one instance durable.

        Returns
        -------
        sequence, size : int
            Number of the entry within this run, bytes of its file.

        Raises
        ------
        Refused
            With the status to answer.
        OSError
            If the disk fails; nothing is left behind.
        """
        reach("store.received")
        sop_class_uid, sop_instance_uid = _checked_command(request)
        meta = file_meta.encode(
            sop_class_uid=sop_class_uid,
            sop_instance_uid=sop_instance_uid,
            transfer_syntax_uid=request.transfer_syntax,
            sending_ae_title=request.sender,
            receiving_ae_title=request.receiver,
        )
        if not self._watermark.admits(len(meta) + len(request.data_set)):
            raise Refused(StoreStatus.NO_SPACE)
        _check_data_set(survey(request.data_set, explicit=request.explicit), sop_class_uid, sop_instance_uid)
        reach("store.checked")
        file = self._writer.begin()
        try:
            file.write(meta)
            file.write(request.data_set)
            entry = file.commit()
        except BaseException:
            file.abort()
            raise
        return entry.sequence, file.size


def _checked_command(request: StoreRequest) -> tuple[str, str]:
    instance = request.sop_instance_uid
    if instance is None or not is_uid(instance):
        raise Refused(StoreStatus.BAD_INSTANCE_UID)
    if request.sop_class_uid is None or request.sop_class_uid != request.abstract_syntax:
        raise Refused(StoreStatus.WRONG_CLASS)
    if not is_uid(request.sop_class_uid):
        raise Refused(StoreStatus.WRONG_CLASS)
    if not request.data_set:
        raise Refused(StoreStatus.EMPTY)
    return request.sop_class_uid, instance


def _check_data_set(found: Survey, sop_class_uid: str, sop_instance_uid: str) -> None:
    match found.verdict:
        case Verdict.UNPARSABLE:
            raise Refused(StoreStatus.UNPARSABLE)
        case Verdict.TRUNCATED:
            raise Refused(StoreStatus.TRUNCATED)
        case Verdict.SOUND | Verdict.UNDECIDED:
            if found.sop_class_uid is None or found.sop_instance_uid is None:
                raise Refused(StoreStatus.NO_UIDS)
            if (found.sop_class_uid, found.sop_instance_uid) != (sop_class_uid, sop_instance_uid):
                raise Refused(StoreStatus.MISMATCH)
