"""What success means (design, promise 1), read off the system calls behind each single acknowledgement."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.peers.data_sets import data_set, new_uid
from tests.peers.listener import ListenerProcess
from tests.peers.raw import RawPeer
from tests.peers.syscalls import Call, read, strace

CALLS = (
    *("openat", "write", "writev", "pwrite64", "fsync", "fdatasync", "rename", "renameat", "renameat2"),
    *("sendto", "sendmsg", "splice", "copy_file_range", "sendfile"),
)
ASSOCIATIONS, INSTANCES = 4, 3


def trace(tmp_path: Path) -> tuple[ListenerProcess, list[Call]]:
    """Store a few instances on each of a few associations at once, and return what the listener did."""
    path = tmp_path / "trace"

    def store(port: int) -> None:
        with RawPeer(port) as peer:
            peer.associate()
            for _ in range(INSTANCES):
                instance = new_uid()
                assert peer.store(instance, data_set(instance, pixels=300 * 1024)).status == 0x0000
            peer.release()

    with ListenerProcess(tmp_path / "data", prefix=strace(path, CALLS)) as listener:
        with ThreadPoolExecutor(ASSOCIATIONS) as pool:
            list(pool.map(store, [listener.port] * ASSOCIATIONS))
        # strace's own process is the one we started
        psutil.Process(listener.pid).children()[0].terminate()
        assert listener.wait() == 0
    return listener, read(path)


@pytest.mark.requires("strace")
def test_success_is_answered_after_fsync_rename_and_fsync_of_the_directory(tmp_path: Path) -> None:
    listener, calls = trace(tmp_path)
    temporary, new = re.escape(str(listener.spool.temporary)), re.escape(str(listener.spool.new))

    def found(pattern: str, among: list[Call] = calls) -> list[Call]:
        return [call for call in among if call.succeeded and re.search(pattern, call.text)]

    # P-DATA-TF PDUs to a peer: nothing but responses is sent in them
    responses = found(r'^(sendto|sendmsg|write)\(\d+<(TCP|socket)[^>]*>,.*"\\4\\0')
    created = found(rf'^openat\(.*"{temporary}/[0-9a-f]+-\d+\.part", O_WRONLY\|O_CREAT\|O_EXCL')
    assert len(responses) == len(created) == ASSOCIATIONS * INSTANCES
    directory_syncs = found(rf"^fsync\(\d+<{new}>")
    answered = set()
    for creation in created:
        path = re.escape(re.search(r'"([^"]+)"', creation.text)[1])  # type: ignore[index]
        written = found(rf"^(write|writev|pwrite64)\(\d+<{path}>")
        (synced,) = found(rf"^(fsync|fdatasync)\(\d+<{path}>")
        (renamed,) = found(rf'^rename.*"{path}".*"{new}/[^"]+"')
        # an association is served by one thread, one message after the other
        response = next(call for call in responses if call.thread == creation.thread and call.begun > creation.ended)
        answered.add(response)
        assert creation.ended < min(call.begun for call in written)
        assert max(call.ended for call in written) < synced.begun
        assert synced.ended < renamed.begun
        named = [call for call in directory_syncs if call.begun > renamed.ended and call.ended < response.begun]
        assert named, (renamed, response)
    # one for each
    assert len(answered) == len(created)


@pytest.mark.requires("strace")
def test_no_byte_of_an_instance_lies_anywhere_else(tmp_path: Path) -> None:
    """Every file that is opened for writing lies below the data directory, besides what is no file."""
    listener, calls = trace(tmp_path)
    opened = [
        re.search(r'"([^"]+)"', call.text)[1]  # type: ignore[index]
        for call in calls
        if call.name == "openat" and call.succeeded and re.search(r"O_WRONLY|O_RDWR|O_CREAT", call.text)
    ]
    assert opened
    assert [path for path in opened if not path.startswith((f"{listener.data}/", "/dev/", "/proc/"))] == []
