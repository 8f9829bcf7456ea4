from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import replace
from pathlib import Path

import pytest

from core.commitment_request import LARGEST, Reference
from core.errors import RejectedInput
from core.settings import Settings
from core.spool import Entry, Spool
from tests.factories.commitment import DX, TRANSACTION
from tests.integration.commitment_kit import put_request
from worker.commitment.spooled import read


@pytest.fixture
def entry(settings: Settings) -> Entry:
    return put_request(settings, [(DX, "1.2.3"), (DX, "1.2.4")])


@pytest.fixture
def path(settings: Settings, entry: Entry) -> Path:
    return Spool(settings.data_dir, "listener").commitments / entry.file_name


def rewritten(path: Path, entry: Entry, content: bytes) -> Entry:
    path.write_bytes(content)
    return replace(entry, sha256=hashlib.sha256(content).hexdigest())


def test_what_the_listener_spooled_is_read_back(path: Path, entry: Entry) -> None:
    request = read(path, entry)
    assert request.transaction_uid == TRANSACTION
    assert request.references == (Reference(DX, "1.2.3"), Reference(DX, "1.2.4"))
    assert request.source == ipaddress.ip_address("127.0.0.1")


def test_a_damaged_file_is_not_answered(path: Path, entry: Entry) -> None:
    path.write_bytes(path.read_bytes().replace(b"1.2.4", b"1.2.5"))
    with pytest.raises(RejectedInput, match="not what the listener wrote"):
        read(path, entry)


@pytest.mark.parametrize(
    ("old", "new"), [(b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2.2"), (b"DICM", b"DISK"), (b"1.2.4", b"1..24")]
)
def test_what_the_listener_would_not_write_is_refused(path: Path, entry: Entry, old: bytes, new: bytes) -> None:
    changed = rewritten(path, entry, path.read_bytes().replace(old, new))
    with pytest.raises(RejectedInput):
        read(path, changed)


def test_a_huge_file_is_not_read(path: Path, entry: Entry) -> None:
    with path.open("r+b") as stream:
        stream.truncate(LARGEST * 1000)
    with pytest.raises(RejectedInput):
        read(path, entry)


def test_a_source_that_is_no_address_is_none(path: Path, entry: Entry) -> None:
    changed = rewritten(path, entry, path.read_bytes().replace(b"dicom://127.0.0.1", b"dicom://somewhere"))
    assert read(path, changed).source is None


def test_a_missing_file_is_told_apart(path: Path, entry: Entry) -> None:
    path.unlink()
    with pytest.raises(FileNotFoundError):
        read(path, entry)
