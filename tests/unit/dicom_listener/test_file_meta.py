from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.filereader import read_file_meta_info, read_preamble

from core.identity import IMPLEMENTATION_CLASS_UID
from dicom_listener.file_meta import encode, read_sending_ae_title


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
    assert read_sending_ae_title(path) == sender


@given(content=st.binary(max_size=600))
def test_anything_else_gives_none(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "anything.dcm"
    path.write_bytes(content)
    assert read_sending_ae_title(path) is None


@given(cut=st.integers(0, 400))
def test_any_cut_gives_the_sender_or_none(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.dcm"
    path.write_bytes(encoded()[:cut])
    title = read_sending_ae_title(path)
    assert title is None or "SENDER".startswith(title)


def test_a_missing_file_gives_none(tmp_path: Path) -> None:
    assert read_sending_ae_title(tmp_path / "gone.dcm") is None


def test_a_foreign_title_is_made_printable(tmp_path: Path) -> None:
    path = tmp_path / "foreign.dcm"
    path.write_bytes(encoded().replace(b"SENDER", b"S\nN\x1bER"))
    assert read_sending_ae_title(path) == "S?N?ER"
