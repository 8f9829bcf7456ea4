"""Row 8: disks that are full, out of inodes, read-only or below the watermark. 0xA700, nothing half written or lost."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.peers.data_sets import data_set, new_uid
from tests.peers.listener import ListenerProcess
from tests.peers.raw import RawPeer, Rejected, Response, fragments, message, store_command
from tests.programs import require_mounts

MEGABYTE = 1 << 20


def on_small_disk(folder: Path, options: str, **settings: object) -> ListenerProcess:
    """A listener whose spool lies on a tmpfs of its own mount namespace."""
    require_mounts()
    data = folder / "data"
    (data / "spool").mkdir(parents=True)
    mount = f'mount -t tmpfs -o {options} none {data / "spool"} && exec "$@"'
    # one process, so that what it spends is counted in one sequence
    one = {"listener_processes": 1, **settings}
    return ListenerProcess(data, settings=one, prefix=["unshare", "-m", "sh", "-c", mount, "sh"])


def store(port: int, pixels: int) -> Response:
    instance = new_uid()
    with RawPeer(port) as peer:
        return peer.associate().store(instance, data_set(instance, pixels=pixels))


def test_row_08_a_full_disk_refuses_and_recovers(tmp_path: Path) -> None:
    with on_small_disk(tmp_path, "size=1m") as listener:
        # in parallel, so that some pass the check of free space and meet the end of the disk while writing
        with ThreadPoolExecutor(8) as pool:
            statuses = [answer.status for answer in pool.map(store, [listener.port] * 8, [300 * 1024] * 8)]
        assert set(statuses) == {0x0000, 0xA700}
        stored = statuses.count(0x0000)
        assert len(listener.entries) == stored
        assert listener.leftovers == []
        # what is set aside for several at once may be more than fits; sent again, as many are taken as do
        assert 1 <= stored <= 3
        assert [store(listener.port, 300 * 1024).status for _ in range(3 - stored)] == [0x0000] * (3 - stored)
        refused = store(listener.port, 300 * 1024)
        assert (refused.status, "again" in refused.comment) == (0xA700, True)
        # a worker moves a file away
        listener.files[0].unlink()
        assert store(listener.port, 300 * 1024).status == 0x0000
        # refusals spent no number
        assert [entry.sequence for entry in listener.entries] == [2, 3, 4]


def test_row_08_a_disk_without_inodes_refuses_and_recovers(tmp_path: Path) -> None:
    with on_small_disk(tmp_path, "size=10m,nr_inodes=12") as listener:
        statuses = [store(listener.port, 1024).status for _ in range(12)]
        stored = statuses.count(0x0000)
        assert 0 < stored < 12
        assert statuses == [0x0000] * stored + [0xA700] * (12 - stored)
        assert len(listener.entries) == stored
        assert listener.leftovers == []
        listener.files[0].unlink()
        assert store(listener.port, 1024).status == 0x0000
        # known before a file is begun, or met when it is
        assert {event["event"] for event in listener.events} & {"disk_below_watermark", "instance_not_stored"}


def test_row_08_a_disk_turned_read_only_refuses_and_recovers(tmp_path: Path) -> None:
    with on_small_disk(tmp_path, "size=10m") as listener:
        spool = listener.data / "spool"

        def remount(mode: str) -> None:
            enter = ["nsenter", "-t", str(listener.pid), "-m", "--", "mount", "-o", f"remount,{mode}", str(spool)]
            subprocess.run(enter, check=True)

        assert store(listener.port, 1024).status == 0x0000
        remount("ro")
        assert [store(listener.port, 1024).status for _ in range(2)] == [0xA700] * 2
        remount("rw")
        assert store(listener.port, 1024).status == 0x0000
        assert [entry.sequence for entry in listener.entries] == [1, 2]
        assert listener.leftovers == []


def test_row_08_below_the_watermark_nothing_is_begun_and_it_recovers(tmp_path: Path) -> None:
    with on_small_disk(tmp_path, "size=4m", free_space_bytes=MEGABYTE) as listener:
        filler = listener.seen(listener.data / "spool" / "other")
        assert store(listener.port, 1024).status == 0x0000
        filler.write_bytes(bytes(3 * MEGABYTE))
        refused = store(listener.port, 1024)
        assert (refused.status, "watermark" in refused.comment) == (0xA700, True)
        filler.unlink()
        assert store(listener.port, 1024).status == 0x0000
        assert [entry.sequence for entry in listener.entries] == [1, 2]


def test_row_08_below_the_watermark_not_a_byte_is_written(tmp_path: Path) -> None:
    """The rest of the message is taken and thrown away, and the association goes on."""
    with on_small_disk(tmp_path, "size=4m", free_space_bytes=MEGABYTE) as listener:
        filler = listener.seen(listener.data / "spool" / "other")
        filler.write_bytes(bytes(3 * MEGABYTE - 200 * 1024))
        instance = new_uid()
        data = data_set(instance, pixels=MEGABYTE)
        with RawPeer(listener.port) as peer:
            peer.associate()
            filler.write_bytes(bytes(3 * MEGABYTE))
            first, *rest = fragments(1, data, command=False)
            peer.send(message(store_command(instance)) + first)
            peer.send(b"".join(rest[:10]))
            assert listener.leftovers == []
            peer.send(b"".join(rest[10:]))
            assert peer.response().status == 0xA700
            filler.unlink()
            assert peer.store(instance, data).status == 0x0000
        assert listener.leftovers == []


def test_row_08_below_the_lower_mark_associations_are_rejected(tmp_path: Path) -> None:
    with on_small_disk(tmp_path, "size=4m", free_space_bytes=2 * MEGABYTE) as listener:
        filler = listener.seen(listener.data / "spool" / "other")
        filler.write_bytes(bytes(4 * MEGABYTE - 100 * 1024))
        with pytest.raises(Rejected) as rejection:
            store(listener.port, 1024)
        # transient, by the provider, temporary congestion: the sender keeps what it has and comes again
        assert rejection.value.why == (2, 3, 1)
        filler.unlink()
        assert store(listener.port, 1024).status == 0x0000


def test_row_08_the_watermark_is_a_share_of_the_disk_too(tmp_path: Path) -> None:
    with on_small_disk(tmp_path, "size=4m", free_space_fraction=0.5) as listener:
        assert store(listener.port, MEGABYTE).status == 0x0000
        assert store(listener.port, MEGABYTE + MEGABYTE // 2).status == 0xA700


def test_a_read_only_spool_refuses_to_start(tmp_path: Path) -> None:
    listener = on_small_disk(tmp_path, "size=1m,ro")
    super(ListenerProcess, listener).start()
    assert listener.wait() == 2
    assert "cannot be written" in listener.log
    assert "Read-only file system" in listener.log
    assert "Traceback" not in listener.log


def test_a_spool_that_is_a_file_refuses_to_start(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "spool").write_text("in the way")
    listener = ListenerProcess(tmp_path / "data")
    super(ListenerProcess, listener).start()
    assert listener.wait() == 2
    assert "cannot be written" in listener.log
