"""Row 1: killed at any step of a store. What was acknowledged is there, what was not is worthless or merely twice."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import psutil
import pytest

from tests.peers.data_sets import data_set, new_uid
from tests.peers.listener import ListenerProcess, data_set_of
from tests.peers.raw import Closed, RawPeer, fragments, store_command
from tests.waiting import wait_until

# in the order they are passed; from "renamed" on the entry is in new/
STEPS = ["received", "checked", "created", "written", "synced", "renamed", "named", "answered"]


@pytest.mark.parametrize("step", STEPS)
def test_row_01_killed_at_a_step_of_the_second_store(tmp_path: Path, step: str) -> None:
    listener = ListenerProcess(tmp_path / "data", settings={"listener_processes": 1})
    listener.start(LUNGWATCH_FAILPOINT=f"store.{step}:2")
    (victim,) = listener.association_processes
    first, second = new_uid(), new_uid()
    acknowledged = [data_set(first)]
    with RawPeer(listener.port) as peer:
        assert peer.associate().store(first, data_set(first)).status == 0x0000
        with contextlib.suppress(Closed):
            assert peer.store(second, data_set(second)).status == 0x0000
            acknowledged.append(data_set(second))
    victim.wait(20)
    assert listener.terminate() == 0
    kept = [data_set_of(path) for path in listener.files]
    assert kept[: len(acknowledged)] == acknowledged
    assert listener.is_gapless
    assert len(kept) == (2 if STEPS.index(step) >= STEPS.index("renamed") else 1)
    # only a file that was begun and not renamed is left, and never more than one
    assert len(listener.leftovers) == int(step in {"created", "written", "synced"})

    # the sender sends again
    with listener.start(), RawPeer(listener.port) as peer:
        assert peer.associate().store(second, data_set(second)).status == 0x0000
        assert [data_set_of(path) for path in listener.files] == [*kept, data_set(second)]
        # a new run counts from one again
        assert listener.entries[-1].sequence == 1
        assert listener.is_gapless


def test_row_01_everything_killed_under_load_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    acknowledged: list[bytes] = []

    def send(port: int) -> None:
        with contextlib.suppress(Closed, OSError), RawPeer(port) as peer:
            peer.associate()
            while True:
                instance = new_uid()
                data = data_set(instance)
                if peer.store(instance, data).status == 0x0000:
                    acknowledged.append(data)

    listener = ListenerProcess(tmp_path / "data").start()
    threads = [threading.Thread(target=send, args=(listener.port,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(acknowledged) >= 60, 30, "some are acknowledged")
    family = psutil.Process(listener.pid).children()
    listener.kill()
    for thread in threads:
        thread.join()
    # nobody of it stays behind and holds the port
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
    kept = {data_set_of(path) for path in listener.files}
    assert kept.issuperset(acknowledged)
    # acknowledged one moment later than this, by a sender that never learnt of it
    assert len(listener.entries) <= len(acknowledged) + len(threads)
    assert listener.is_gapless


def test_row_01_a_killed_association_process_costs_its_own_associations_alone(tmp_path: Path) -> None:
    with ListenerProcess(tmp_path / "data", settings={"listener_processes": 2}) as listener:
        assert len(listener.association_processes) == 2
        peers = [RawPeer(listener.port).associate() for _ in range(12)]
        victim = listener.association_processes[0]
        victim.kill()
        served = []
        for peer in peers:
            instance = new_uid()
            with contextlib.suppress(Closed):
                served.append(peer.store(instance, data_set(instance)).status)
            peer.socket.close()
        assert set(served) <= {0x0000}
        listener.wait_for("process_died")
        wait_until(lambda: len(listener.association_processes) == 2, 10, "another one is started")
        assert victim.pid not in {process.pid for process in listener.association_processes}
        # what it served is counted out again: all places are there
        peers = [RawPeer(listener.port).associate() for _ in range(32)]
        for peer in peers:
            peer.socket.close()
        assert len(listener.entries) == len(served)
        assert listener.is_gapless


def test_row_09_a_sender_that_vanishes_leaves_nothing(tmp_path: Path) -> None:
    with ListenerProcess(tmp_path / "data") as listener:
        instance = new_uid()
        for cut in (10, 300, 3_000):
            with RawPeer(listener.port) as peer:
                peer.associate()
                parts = b"".join(fragments(1, store_command(instance), command=True))
                parts += b"".join(fragments(1, data_set(instance, pixels=4096), command=False))
                peer.send(parts[:-cut])
        with RawPeer(listener.port) as peer:
            assert peer.associate().store(instance, data_set(instance)).status == 0x0000
        assert len(listener.entries) == 1
        wait_until(lambda: listener.leftovers == [], 10, "what was begun is removed")


def test_row_09_a_sender_that_vanishes_after_its_last_byte_leaves_nothing(tmp_path: Path) -> None:
    """Nobody waits for the answer any more: the instance may be kept, but nothing half done."""
    with ListenerProcess(tmp_path / "data") as listener:
        for close in (RawPeer.reset, lambda peer: peer.socket.close()) * 5:
            instance = new_uid()
            peer = RawPeer(listener.port).associate()
            peer.request(store_command(instance), data_set(instance))
            close(peer)
        wait_until(lambda: listener.leftovers == [], 10, "what was begun is finished or removed")
        assert listener.is_gapless
