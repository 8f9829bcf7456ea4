from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import Misconfigured
from core.spool import Spool
from dicom_listener.storage.instance_file import STEP, InstanceFile, SpoolWriter


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path, "listener")


def test_fragments_become_one_file_named_by_its_digest(spool: Spool) -> None:
    file = SpoolWriter(spool).begin()
    for fragment in (b"abc", b"", memoryview(b"def" * 100_000)):
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


def test_finished_files_go_where_they_are_told(spool: Spool) -> None:
    elsewhere = spool.root / "elsewhere"
    writer = SpoolWriter(spool, elsewhere)
    file = writer.begin()
    file.write(b"abc")
    assert [path.parent for path in spool.temporary.iterdir()] == [spool.temporary]
    entry = file.commit()
    assert [path.name for path in elsewhere.iterdir()] == [entry.file_name]
    assert list(spool.temporary.iterdir()) == []
    assert not spool.new.exists()


def test_a_disk_that_takes_less_than_a_fragment_gets_the_rest(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: write(descriptor, content[:7]))
    file = SpoolWriter(spool).begin()
    file.write(memoryview(bytes(range(100))))
    file.write(bytes(range(100, 200)))
    entry = file.commit()
    assert spool.path(entry).read_bytes() == bytes(range(200))
    assert entry.sha256 == hashlib.sha256(bytes(range(200))).hexdigest()


def test_file_and_name_are_synced_in_this_order(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = SpoolWriter(spool)
    file = writer.begin()
    file.write(b"abc")
    steps = []
    fsync = os.fsync

    def recorded(descriptor: int) -> None:
        steps.append(Path(f"/proc/self/fd/{descriptor}").readlink().relative_to(spool.root).parts[0])
        assert bool(list(spool.new.iterdir())) is (steps[-1] == "new")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    file.commit()
    assert steps == ["tmp", "new"]


def test_a_large_file_is_handed_to_the_disk_while_it_is_written_and_read_back_whole(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: list[tuple[int, int]] = []
    advise = os.posix_fadvise

    def recorded(descriptor: int, offset: int, size: int, advice: int) -> None:
        handed.append((offset, size))
        advise(descriptor, offset, size, advice)

    monkeypatch.setattr(os, "posix_fadvise", recorded)
    file = SpoolWriter(spool).begin()
    content = os.urandom(3_300_000)
    for start in range(0, len(content), 100_000):
        file.write(memoryview(content)[start : start + 100_000])
    assert handed == [(start, STEP) for start in range(0, len(content) - STEP, STEP)]
    assert spool.path(file.commit()).read_bytes() == content


def test_a_byte_at_a_time_does_not_cost_a_write_each(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    write = os.write

    def recorded(descriptor: int, content: memoryview) -> int:
        written.append(len(content))
        return write(descriptor, content)

    monkeypatch.setattr(os, "write", recorded)
    file = SpoolWriter(spool).begin()
    content = os.urandom(10_000)
    for place in range(len(content)):
        file.write(memoryview(content)[place : place + 1])
    assert spool.path(file.commit()).read_bytes() == content
    assert written == [len(content)]


def test_instances_received_at_once_share_no_memory_and_later_ones_take_it_over(spool: Spool) -> None:
    writer = SpoolWriter(spool)
    for size in (STEP + 5, 10, 2 * STEP, 0):
        contents = [bytes([letter]) * size for letter in range(20)]
        files = [writer.begin() for _ in contents]
        for half in (slice(0, size // 2), slice(size // 2, size)):
            for file, content in zip(files, contents, strict=True):
                file.write(content[half])
        files.pop().abort()
        assert [spool.path(file.commit()).read_bytes() for file in files] == contents[:-1]


@pytest.mark.parametrize("end", [InstanceFile.commit, InstanceFile.abort])
def test_what_is_written_after_the_end_reaches_nobody(spool: Spool, end: Callable[[InstanceFile], object]) -> None:
    writer = SpoolWriter(spool)
    first = writer.begin()
    first.write(b"A" * 10)
    end(first)
    second = writer.begin()
    second.write(b"B" * 10)
    with pytest.raises((OSError, TypeError, ValueError)):
        first.write(b"CCCC")
    assert spool.path(second.commit()).read_bytes() == b"B" * 10


def test_what_was_written_in_part_is_never_committed(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    writer = SpoolWriter(spool)
    file = writer.begin()

    def full(descriptor: int, content: memoryview) -> int:
        if len(content) <= STEP - 7:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, content[:7])

    with monkeypatch.context() as broken:
        broken.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            file.write(bytes(STEP))
    with pytest.raises((OSError, ValueError), match="descriptor"):
        file.commit()
    file.abort()
    assert list(spool.temporary.iterdir()) == []
    # and its memory was given back once
    others = [writer.begin() for _ in range(2)]
    for letter, other in zip(b"AB", others, strict=True):
        other.write(bytes([letter]) * 5)
    assert [spool.path(other.commit()).read_bytes() for other in others] == [b"AAAAA", b"BBBBB"]


def test_without_memory_nothing_is_left_behind(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = SpoolWriter(spool)

    def none(_: SpoolWriter) -> memoryview:
        raise MemoryError

    monkeypatch.setattr(SpoolWriter, "borrow", none)
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(MemoryError):
        writer.begin()
    assert list(spool.temporary.iterdir()) == []
    assert len(list(Path("/proc/self/fd").iterdir())) == open_before


def test_a_file_system_that_takes_no_advice_stores_all_the_same(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "posix_fadvise", refuse)
    file = SpoolWriter(spool).begin()
    file.write(bytes(1 << 21))
    assert spool.path(file.commit()).stat().st_size == 1 << 21
