"""What the listener stores and what it answers, over real sockets."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydicom import dcmread
from pynetdicom.ae import ApplicationEntity

from core.identity import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from core.transfer_syntaxes import SUPPORTED_TRANSFER_SYNTAXES
from tests.factories.dicom_objects import phantom, write
from tests.peers.data_sets import CR_STORAGE, EXPLICIT, IMPLICIT, data_set, encoded_for, new_uid
from tests.peers.listener import ListenerProcess, data_set_of
from tests.peers.raw import VERIFICATION, Closed, Context, RawPeer

PRIVATE_STORAGE = "1.2.826.0.1.3680043.8.498.77.1"
FUTURE_STORAGE = "1.2.840.10008.5.1.4.1.1.999.1"
STRUCTURED_REPORT = "1.2.840.10008.5.1.4.1.1.88.11"
RETIRED_STORAGE = "1.2.840.10008.5.1.4.1.1.6"
DEFLATED, BIG_ENDIAN, MPEG2 = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.4.100"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
COMMITMENT = "1.2.840.10008.1.20.1"
ACCEPTED, NO_ABSTRACT, NO_TRANSFER = 0, 3, 4


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ListenerProcess]:
    with ListenerProcess(tmp_path_factory.mktemp("store") / "data") as process:
        yield process


@pytest.fixture
def peer(listener: ListenerProcess) -> Iterator[RawPeer]:
    with RawPeer(listener.port) as connection:
        yield connection


def entry_of(listener: ListenerProcess, data: bytes) -> Path:
    """The one stored file that ends in these bytes."""
    (found,) = [path for path in listener.files if path.read_bytes().endswith(data)]
    return found


def newest(listener: ListenerProcess) -> Path:
    """The file stored last, by whichever process."""
    return max(listener.files, key=lambda path: path.stat().st_ctime_ns)


@pytest.mark.parametrize("syntax", SUPPORTED_TRANSFER_SYNTAXES)
def test_the_bytes_are_stored_as_received(listener: ListenerProcess, peer: RawPeer, syntax: str) -> None:
    instance = new_uid()
    data = encoded_for(syntax, instance)
    peer.associate([Context(transfer=[syntax])], calling=b"MODALITY_7")
    assert peer.accepted == {1: syntax}
    assert peer.store(instance, data).status == 0x0000
    path = entry_of(listener, data)
    assert data_set_of(path) == data
    assert hashlib.sha256(path.read_bytes()).hexdigest() in path.name
    meta = dcmread(path, stop_before_pixels=True).file_meta
    assert (meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID) == (syntax, CR_STORAGE)
    assert meta.MediaStorageSOPInstanceUID == instance
    assert meta.SourceApplicationEntityTitle == meta.SendingApplicationEntityTitle == "MODALITY_7"
    assert meta.ReceivingApplicationEntityTitle == "LUNGWATCH"
    assert meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert meta.ImplementationVersionName == IMPLEMENTATION_VERSION_NAME
    assert meta.FileMetaInformationVersion == b"\0\1"


def test_odd_bytes_that_any_decoder_would_change_are_kept(listener: ListenerProcess, peer: RawPeer) -> None:
    instance = new_uid()
    # a NUL and a byte of no declared character set in text, zeros after the end
    data = data_set(instance).replace(b"Canary^Patient", b"Canary\0Pati\xe4nt") + b"\0\0"
    assert peer.associate().store(instance, data).status == 0x0000
    assert data_set_of(entry_of(listener, data)) == data


@pytest.mark.parametrize("sop_class", [PRIVATE_STORAGE, FUTURE_STORAGE, STRUCTURED_REPORT, RETIRED_STORAGE])
def test_every_storage_class_is_accepted(listener: ListenerProcess, peer: RawPeer, sop_class: str) -> None:
    instance = new_uid()
    data = data_set(instance, sop_class)
    peer.associate([Context(sop_class, [EXPLICIT])])
    assert peer.store(instance, data, sop_class).status == 0x0000
    assert data_set_of(entry_of(listener, data)) == data


def test_rows_13_16_contexts_we_cannot_serve_are_refused(peer: RawPeer) -> None:
    peer.associate(
        [
            Context(CR_STORAGE, [DEFLATED]),
            Context(CR_STORAGE, [BIG_ENDIAN]),
            Context(CR_STORAGE, [MPEG2]),
            Context(PRIVATE_STORAGE, [DEFLATED]),
            Context(STUDY_ROOT_FIND, [IMPLICIT]),
            Context(COMMITMENT, [IMPLICIT]),
            Context(CR_STORAGE, [DEFLATED, IMPLICIT]),
            Context(VERIFICATION, [IMPLICIT]),
        ]
    )
    assert [peer.results[number] for number in range(1, 16, 2)] == [
        *[NO_TRANSFER] * 4,
        NO_ABSTRACT,
        *[ACCEPTED] * 3,
    ]
    assert peer.accepted == {11: IMPLICIT, 13: IMPLICIT, 15: IMPLICIT}


def test_echo(peer: RawPeer) -> None:
    assert peer.associate([Context(VERIFICATION, [IMPLICIT])]).echo().status == 0x0000
    peer.release()


INSTANCE = "1.2.3.4.5"
REFUSALS = {
    "no data set": (INSTANCE, None, CR_STORAGE, 0xC000, "empty"),
    "zero bytes": (INSTANCE, b"", CR_STORAGE, 0xC000, "empty"),
    "text": (INSTANCE, b"this is no data set, whatever the command says", CR_STORAGE, 0xC000, "parsed"),
    "Part 10 file": (INSTANCE, bytes(128) + b"DICM" + data_set(INSTANCE), CR_STORAGE, 0xC000, ""),
    "truncated": (INSTANCE, data_set(INSTANCE)[:-10], CR_STORAGE, 0xC000, "ends before"),
    "truncated header": (INSTANCE, data_set(INSTANCE)[:-262], CR_STORAGE, 0xC000, "ends before"),
    "other instance": (INSTANCE, data_set("1.2.3.4.6"), CR_STORAGE, 0xA900, "differ"),
    "other class": (INSTANCE, data_set(INSTANCE, STRUCTURED_REPORT), CR_STORAGE, 0xA900, "differ"),
    "no instance in the data set": (INSTANCE, data_set(None), CR_STORAGE, 0xA900, "lacks"),
    "no class in the data set": (INSTANCE, data_set(INSTANCE, None), CR_STORAGE, 0xA900, "lacks"),
    "two instances": (INSTANCE, data_set(INSTANCE, extra=data_set("1.2.3.4.6")), CR_STORAGE, 0xC000, "parsed"),
    "traversal": ("../../x", data_set("../../x"), CR_STORAGE, 0x0117, "UID"),
    "traversal in digits": ("1.2/../../a", data_set("1.2/../../a"), CR_STORAGE, 0x0117, "UID"),
    "absolute": ("/etc/passwd", data_set("/etc/passwd"), CR_STORAGE, 0x0117, "UID"),
    "empty component": ("1..2", data_set("1..2"), CR_STORAGE, 0x0117, "UID"),
    "too long": ("1." + "2" * 80, data_set("1." + "2" * 80), CR_STORAGE, 0x0117, "UID"),
    "no UID": (None, data_set(INSTANCE), CR_STORAGE, 0x0117, "UID"),
    "two UIDs": ("1.2\\1.3", data_set("1.2"), CR_STORAGE, None, ""),
    "line break": ("1.2\n1.3", data_set("1.2\n1.3"), CR_STORAGE, 0x0117, "UID"),
    "command's class not the context's": (INSTANCE, data_set(INSTANCE), STRUCTURED_REPORT, 0x0122, "context"),
    "command's class Verification": (INSTANCE, data_set(INSTANCE), VERIFICATION, 0x0122, "context"),
}


def test_row_10_no_data_set_or_one_of_no_bytes_is_c000(peer: RawPeer) -> None:
    peer.associate()
    assert [peer.store(INSTANCE, data).status for data in (None, b"")] == [0xC000, 0xC000]


@pytest.mark.parametrize("kept", [1, 7, 20, 100, 200, 300])
def test_row_09_a_data_set_cut_short_anywhere_is_c000(listener: ListenerProcess, peer: RawPeer, kept: int) -> None:
    before = listener.entries
    assert peer.associate().store(INSTANCE, data_set(INSTANCE)[:kept]).status == 0xC000
    assert (listener.entries, listener.leftovers) == (before, [])


@pytest.mark.parametrize("case", REFUSALS)
def test_rows_09_10_14_what_cannot_be_accepted_gets_its_status_and_leaves_nothing(
    listener: ListenerProcess, peer: RawPeer, case: str
) -> None:
    instance, data, sop_class, status, comment = REFUSALS[case]
    before = listener.entries
    response = peer.associate().store(instance, data, sop_class)
    if status is None:
        # the first of several values is taken, and judged by the data set
        assert response.status in {0x0000, 0x0117, 0xA900}
        return
    assert (response.command, response.status) == (0x8001, status)
    assert comment in response.comment
    assert 0 < len(response.comment) <= 64
    assert (listener.entries, listener.leftovers) == (before, [])
    # the association goes on
    good = new_uid()
    assert peer.store(good, data_set(good)).status == 0x0000


def test_row_13_implicit_bytes_on_an_explicit_context_are_kept_for_quarantine(
    listener: ListenerProcess, peer: RawPeer
) -> None:
    instance = new_uid()
    data = data_set(instance, explicit=False)
    assert peer.associate().store(instance, data).status == 0x0000
    assert data_set_of(entry_of(listener, data)) == data


def test_a_store_on_a_context_never_negotiated_is_aborted(peer: RawPeer) -> None:
    with pytest.raises(Closed):
        peer.associate().store(INSTANCE, data_set(INSTANCE), context=3)


def test_a_store_on_the_verification_context_is_refused(listener: ListenerProcess, peer: RawPeer) -> None:
    peer.associate([Context(VERIFICATION, [IMPLICIT])])
    before = listener.entries
    # PS3.7 Annex C: unrecognized operation
    assert peer.store(INSTANCE, data_set(INSTANCE), VERIFICATION).status == 0x0211
    assert peer.echo().status == 0x0000
    assert listener.entries == before


def test_sequence_is_gapless_over_parallel_associations_and_duplicates(tmp_path: Path) -> None:
    instance = new_uid()
    data = data_set(instance)

    def send(port: int) -> list[int]:
        with RawPeer(port) as peer:
            peer.associate()
            # a refusal in between spends no number
            statuses = [peer.store(instance, data if turn % 5 else data[:-1]).status for turn in range(16)]
            peer.release()
            return statuses

    with ListenerProcess(tmp_path / "data") as listener, ThreadPoolExecutor(8) as pool:
        answers = [status for statuses in pool.map(send, [listener.port] * 8) for status in statuses]
        assert answers.count(0x0000) == 96
        assert answers.count(0xC000) == 32
        assert len(listener.entries) == 96
        assert listener.is_gapless
        assert len({entry.sha256 for entry in listener.entries}) == 1
        assert listener.leftovers == []


def test_pynetdicoms_own_client(listener: ListenerProcess) -> None:
    dataset = phantom()
    entity = ApplicationEntity("PYNETDICOM")
    entity.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
    association = entity.associate("127.0.0.1", listener.port, ae_title="LUNGWATCH")
    assert association.is_established
    try:
        assert association.send_c_store(dataset).Status == 0x0000
    finally:
        association.release()
    stored = dcmread(newest(listener))
    assert stored.PixelData == dataset.PixelData
    assert stored.SOPInstanceUID == dataset.SOPInstanceUID


@pytest.mark.requires("storescu")
def test_dcmtks_client_and_echo(listener: ListenerProcess, tmp_path: Path) -> None:
    dataset = phantom()
    path = write(tmp_path, dataset)
    where = ["-aec", "LUNGWATCH", "-aet", "DCMTK", "127.0.0.1", str(listener.port)]
    subprocess.run(["echoscu", *where], check=True, capture_output=True, timeout=20)
    sent = subprocess.run(["storescu", "-v", *where, path], check=True, capture_output=True, text=True, timeout=20)
    assert "Success" in sent.stdout + sent.stderr
    assert data_set_of(newest(listener))[-1000:] == path.read_bytes()[-1000:]


def test_called_ae_title_is_checked_where_asked(tmp_path: Path) -> None:
    with ListenerProcess(tmp_path / "data", settings={"check_called_ae_title": "true"}) as listener:
        with RawPeer(listener.port) as peer:
            peer.associate(called=b"LUNGWATCH")
        with RawPeer(listener.port) as peer, pytest.raises(Closed, match="result 1, source 1, reason 7"):
            peer.associate(called=b"ANY-SCP")
