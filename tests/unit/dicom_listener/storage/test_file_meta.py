from __future__ import annotations

from io import BytesIO
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.filereader import read_file_meta_info, read_preamble

from core.identity import IMPLEMENTATION_CLASS_UID
from dicom_listener.storage.file_meta import Origin, encode, read_origin


def encoded(sender: str | None = "SENDER", instance: str = "1.2.3") -> bytes:
    return encode(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1",
        sop_instance_uid=instance,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        sending_ae_title=sender,
        receiving_ae_title="LUNGWATCH",
    )


@pytest.mark.parametrize("instance", ["1.2.3", "1.2.34"])
@pytest.mark.parametrize("sender", ["A", "SIXTEEN_LETTERS_", None])
def test_pydicom_reads_it(tmp_path: Path, sender: str | None, instance: str) -> None:
    path = tmp_path / "file.dcm"
    path.write_bytes(encoded(sender, instance))
    meta = read_file_meta_info(path)
    assert meta.FileMetaInformationGroupLength == len(encoded(sender, instance)) - 144
    assert meta.MediaStorageSOPInstanceUID == instance
    assert meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert meta.get("SendingApplicationEntityTitle") == sender
    assert meta.get("SourceApplicationEntityTitle") == sender
    assert meta.ReceivingApplicationEntityTitle == "LUNGWATCH"
    assert read_preamble(BytesIO(path.read_bytes()), force=False) == bytes(128)
    assert read_origin(path) == Origin(sender, meta.MediaStorageSOPClassUID, instance)


@given(content=st.binary(max_size=600))
def test_anything_else_gives_none(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "anything.dcm"
    path.write_bytes(content)
    assert read_origin(path) == Origin()


@given(cut=st.integers(0, 400))
def test_any_cut_gives_the_whole_value_or_none(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.dcm"
    path.write_bytes(encoded()[:cut])
    origin = read_origin(path)
    # half a name or UID would be another one's
    assert origin.sending_ae_title in {"SENDER", None}
    assert origin.sop_instance_uid in {"1.2.3", None}


def test_a_missing_file_gives_none(tmp_path: Path) -> None:
    assert read_origin(tmp_path / "gone.dcm") == Origin()


def test_a_foreign_title_is_made_printable(tmp_path: Path) -> None:
    path = tmp_path / "foreign.dcm"
    path.write_bytes(encoded().replace(b"SENDER", b"S\nN\x1bER"))
    assert read_origin(path).sending_ae_title == "S?N?ER"


@pytest.mark.parametrize("instance", ["1", "1.2/../3", "a.b"])
def test_what_is_no_uid_is_not_read_as_one(tmp_path: Path, instance: str) -> None:
    path = tmp_path / "foreign.dcm"
    path.write_bytes(encoded(instance=instance))
    assert read_origin(path).sop_instance_uid is None


@pytest.mark.parametrize(
    ("address", "said"), [("10.1.2.3", "dicom://10.1.2.3"), ("fe80::1", "dicom://[fe80::1]"), (None, None)]
)
def test_the_address_of_the_sender_is_a_uri(tmp_path: Path, address: str | None, said: str | None) -> None:
    path = tmp_path / "file.dcm"
    meta = {"sop_class_uid": "1.2.3", "sop_instance_uid": "1.2.4", "transfer_syntax_uid": "1.2.840.10008.1.2"}
    source = None if address is None else ip_address(address)
    path.write_bytes(encode(**meta, sending_ae_title="A", receiving_ae_title="B", source_address=source))
    assert read_file_meta_info(path).get("SourcePresentationAddress") == said
