from __future__ import annotations

import errno
import ipaddress
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread
from structlog.testing import capture_logs

from core.commitment_request import LARGEST
from core.peers import Peer
from core.spool import Spool
from dicom_listener.services import Request, Sender
from dicom_listener.status import ActionStatus
from dicom_listener.storage.commitment import CommitmentService
from dicom_listener.storage.disk import Watermark
from dicom_listener.storage.instance_file import InstanceFile, SpoolWriter
from tests.factories.commitment import DX, action_information, encode

PUSH_MODEL = "1.2.840.10008.1.20.1"
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
NETWORK = ipaddress.ip_network("10.0.0.0/8")
PACS = Peer("PACS", (NETWORK,), report_host="10.1.2.3", report_port=104)
SENDER = Sender("PACS", ipaddress.ip_address("10.1.2.3"), "LUNGWATCH", PACS)
REQUEST = Request(SENDER, PUSH_MODEL, EXPLICIT, PUSH_MODEL, f"{PUSH_MODEL}.1", 1, has_data_set=True)
CONTENT = encode(action_information([(DX, "1.2.3.4")]))


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path, "listener")


@pytest.fixture
def service(spool: Spool) -> CommitmentService:
    return CommitmentService(SpoolWriter(spool, spool.commitments), Watermark(spool.data, 0.0, 0), "LUNGWATCH")


def send(service: CommitmentService, content: bytes = CONTENT, request: Request = REQUEST, piece: int = 30) -> int:
    reception = service.begin(request)
    for start in range(0, len(content), piece):
        reception.write(memoryview(content)[start : start + piece])
    return reception.finish().code


def left(spool: Spool) -> list[Path]:
    return [path for path in spool.root.rglob("*") if path.is_file()]


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_a_request_is_spooled_as_it_came(service: CommitmentService, spool: Spool, syntax: str) -> None:
    content = encode(action_information([(DX, "1.2.3.4")]), explicit=syntax == EXPLICIT)
    assert send(service, content, replace(REQUEST, transfer_syntax=syntax)) == 0x0000
    (path,) = left(spool)
    assert path.parent == spool.commitments
    assert path.read_bytes().endswith(content)
    dataset = dcmread(path)
    meta = dataset.file_meta
    assert meta.TransferSyntaxUID == syntax
    assert meta.SendingApplicationEntityTitle == "PACS"
    assert meta.SourcePresentationAddress == "dicom://10.1.2.3"
    assert meta.MediaStorageSOPClassUID == PUSH_MODEL
    assert dataset.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "1.2.3.4"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (replace(REQUEST, sop_class_uid="1.2.840.10008.1.20.2"), ActionStatus.WRONG_CLASS),
        (replace(REQUEST, sop_class_uid=None), ActionStatus.WRONG_CLASS),
        (replace(REQUEST, abstract_syntax="1.2.840.10008.1.1"), ActionStatus.WRONG_CLASS),
        (replace(REQUEST, sop_instance_uid="1.2.3"), ActionStatus.NO_SUCH_INSTANCE),
        (replace(REQUEST, sop_instance_uid=None), ActionStatus.BAD_INSTANCE_UID),
        (replace(REQUEST, action_type=2), ActionStatus.NO_SUCH_ACTION),
        (replace(REQUEST, action_type=None), ActionStatus.NO_SUCH_ACTION),
        (replace(REQUEST, has_data_set=False), ActionStatus.EMPTY),
        (replace(REQUEST, sender=replace(SENDER, known=None)), ActionStatus.NOT_AUTHORISED),
        (
            replace(REQUEST, sender=replace(SENDER, known=replace(PACS, report_host=None, report_port=None))),
            ActionStatus.NOT_AUTHORISED,
        ),
    ],
)
def test_a_wrong_command_is_refused_before_a_byte_is_written(
    service: CommitmentService, spool: Spool, request_: Request, status: ActionStatus
) -> None:
    assert send(service, request=request_) == status.code
    assert left(spool) == []


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", ActionStatus.EMPTY),
        (CONTENT[:-3], ActionStatus.UNPARSABLE),
        (b"\0" * 100, ActionStatus.UNPARSABLE),
        (CONTENT.replace(b"1.2.826", b"1..2826"), ActionStatus.BAD_TRANSACTION_UID),
        (CONTENT.replace(b"1.2.3.4", b"1.2.3.x"), ActionStatus.BAD_REFERENCE),
        (encode(action_information([])), ActionStatus.NO_REFERENCES),
        (CONTENT.replace(b"\x99\x11SQ", b"\x99\x11UI"), ActionStatus.MISTYPED),
        (CONTENT + b"\x09\0\x10\0OB\0\0" + LARGEST.to_bytes(4, "little") + bytes(LARGEST), ActionStatus.TOO_LARGE),
    ],
)
def test_what_nobody_could_answer_is_refused_and_leaves_nothing(
    service: CommitmentService, spool: Spool, content: bytes, status: ActionStatus
) -> None:
    with capture_logs() as logs:
        assert send(service, content, piece=1 << 16) == status.code
    assert left(spool) == []
    assert [one["status"] for one in logs] == [status.name]


def test_a_full_disk_refuses_before_a_byte_is_written(spool: Spool) -> None:
    full = CommitmentService(SpoolWriter(spool, spool.commitments), Watermark(spool.data, 1.0, 0), "LUNGWATCH")
    assert send(full) == ActionStatus.NO_SPACE.code
    assert left(spool) == []


def test_a_disk_that_fails_is_not_now(
    service: CommitmentService, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: InstanceFile) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(InstanceFile, "commit", fail)
        assert send(service) == ActionStatus.CANNOT_TAKE.code
    assert left(spool) == []
    assert logs[0]["event"] == "commitment_not_taken"
    assert send(service) == 0x0000


def test_an_association_that_ends_leaves_nothing(service: CommitmentService, spool: Spool) -> None:
    reception = service.begin(REQUEST)
    reception.write(memoryview(CONTENT)[:50])
    reception.abandon()
    assert left(spool) == []


def test_its_log_names_no_instance(service: CommitmentService) -> None:
    with capture_logs() as logs:
        send(service)
    assert "1.2.3.4" not in str(logs)
    assert logs[0]["instances"] == 1
