from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from core.errors import Misconfigured
from core.spool import Spool
from dicom_listener.instance_file import SpoolWriter


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path, "listener")


def test_fragments_become_one_file_named_by_its_digest(spool: Spool) -> None:
    file = SpoolWriter(spool).begin()
    for fragment in (b"abc", b"", b"def" * 100_000):
        file.write(fragment)
    entry = file.commit()
    content = b"abc" + b"def" * 100_000
    assert spool.path(entry).read_bytes() == content
    assert (entry.sha256, file.size) == (hashlib.sha256(content).hexdigest(), len(content))
    assert list(spool.temporary.iterdir()) == []


def test_an_aborted_file_leaves_nothing_and_spends_no_number(spool: Spool) -> None:
    writer = SpoolWriter(spool)
    aborted = writer.begin()
    aborted.write(b"abc")
    aborted.abort()
    aborted.abort()
    assert writer.begin().commit().sequence == 1
    assert list(spool.temporary.iterdir()) == []


def test_a_rename_that_fails_spends_no_number(spool: Spool) -> None:
    writer = SpoolWriter(spool)
    file = writer.begin()
    moved = spool.new.rename(spool.new.with_name("away"))
    with pytest.raises(FileNotFoundError):
        file.commit()
    file.abort()
    moved.rename(spool.new)
    assert writer.begin().commit().sequence == 1


def test_two_runs_never_share_a_name(spool: Spool) -> None:
    first, second = SpoolWriter(spool), SpoolWriter(spool)
    entries = {writer.begin().commit() for writer in (first, second, first)}
    assert len({entry.name for entry in entries}) == 3


def test_a_spool_that_cannot_work_is_refused(spool: Spool) -> None:
    spool.root.parent.mkdir(parents=True)
    spool.root.write_text("in the way")
    with pytest.raises(Misconfigured, match="cannot be written"):
        SpoolWriter(spool)
