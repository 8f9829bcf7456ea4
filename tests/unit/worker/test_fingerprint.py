from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import uid

from core.errors import RejectedInput, TransientFailure
from tests.factories import dicom_objects as objects
from tests.integration.worker_kit import from_peer
from worker.fingerprint import fingerprint


def taken(folder: Path, content: bytes) -> str | None:
    path = folder / "object.dcm"
    path.write_bytes(content)
    return fingerprint(path, hashlib.sha256(content).hexdigest()).dataset_sha256


def test_the_sender_does_not_matter_and_the_data_set_does(tmp_path: Path) -> None:
    dataset = objects.phantom()
    first = taken(tmp_path, from_peer(dataset, "PACS"))
    assert first is not None
    assert taken(tmp_path, from_peer(dataset, "A-LONGER-NAME")) == first
    dataset.AccessionNumber = "OTHER"
    assert taken(tmp_path, from_peer(dataset, "PACS")) != first


def test_the_transfer_syntax_is_part_of_it(tmp_path: Path) -> None:
    content = objects.part10(objects.phantom())
    lied = content.replace(uid.ExplicitVRLittleEndian.encode() + b"\0", uid.JPEGLossless.encode() + b"\0\0")
    assert len(lied) != len(content) or lied == content or taken(tmp_path, lied) != taken(tmp_path, content)


@pytest.mark.parametrize("vr", [b"OB", b"OV", b"SV", b"UV"])
def test_file_meta_of_any_vr_is_stepped_over(tmp_path: Path, vr: bytes) -> None:
    def content(extra: bytes) -> bytes:
        name = uid.ExplicitVRLittleEndian.encode() + b"\0"
        group = extra + struct.pack("<HH2sH", 2, 0x0010, b"UI", len(name)) + name
        return bytes(128) + b"DICM" + struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(group)) + group + b"data set"

    digest = taken(tmp_path, content(struct.pack("<HH2sHL", 2, 1, vr, 0, 8) + b"\x02\0\x10\0CS\0\0"))
    assert digest == taken(tmp_path, content(b""))


def test_what_was_acknowledged_must_lie_there(tmp_path: Path) -> None:
    with pytest.raises(RejectedInput) as missing:
        fingerprint(tmp_path / "gone.dcm", "0" * 64)
    assert missing.value.reason == "MISSING_FILE"
    path = tmp_path / "changed.dcm"
    path.write_bytes(b"changed")
    with pytest.raises(RejectedInput) as changed:
        fingerprint(path, "0" * 64)
    assert changed.value.reason == "DIGEST_MISMATCH"


def test_a_disk_that_is_not_there_or_refuses_says_nothing_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(TransientFailure, match="mounted"):
        fingerprint(tmp_path / "not-mounted" / "object.dcm", "0" * 64)
    # a directory stands for every way in which reading fails
    with pytest.raises(TransientFailure, match="errno 21"):
        fingerprint(tmp_path, "0" * 64)


@given(st.binary(max_size=400), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_give_an_answer(tmp_path: Path, noise: bytes, begins_well: bool) -> None:
    start = b"\0" * 128 + b"DICM\x02\x00\x00\x00UL\x04\x00" if begins_well else b""
    digest = taken(tmp_path, start + noise)
    assert digest is None or len(digest) == 64
