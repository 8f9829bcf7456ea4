"""Killed at any step of a store: what was acknowledged is there, what was not is worthless or merely received twice."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

import pytest

from tests.peers.data_sets import data_set, new_uid
from tests.peers.listener import ListenerProcess, data_set_of
from tests.peers.raw import Closed, RawPeer, fragments, store_command

# in the order they are passed; from "renamed" on the entry is in new/
STEPS = ["received", "checked", "created", "written", "synced", "renamed", "named", "answered"]


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_a_step_of_the_second_store(tmp_path: Path, step: str) -> None:
    listener = ListenerProcess(tmp_path / "data").start(LUNGWATCH_FAILPOINT=f"store.{step}:2")
    first, second = new_uid(), new_uid()
    acknowledged = [data_set(first)]
    with RawPeer(listener.port) as peer:
        assert peer.associate().store(first, data_set(first)).status == 0x0000
        with contextlib.suppress(Closed):
            assert peer.store(second, data_set(second)).status == 0x0000
            acknowledged.append(data_set(second))
    assert listener.wait() == -signal.SIGKILL
    kept = [data_set_of(path) for path in listener.files]
    assert kept[: len(acknowledged)] == acknowledged
    assert [entry.sequence for entry in listener.entries] == list(range(1, len(kept) + 1))
    assert len(kept) == (2 if STEPS.index(step) >= STEPS.index("renamed") else 1)
    # only a file that was begun and not renamed is left, and never more than one
    assert len(listener.leftovers) == int(step in {"created", "written", "synced"})

    with listener.start(), RawPeer(listener.port) as peer:
        assert peer.associate().store(second, data_set(second)).status == 0x0000
        assert [data_set_of(path) for path in listener.files] == [*kept, data_set(second)]
        # a new run counts from one again
        assert listener.entries[-1].sequence == 1


def test_a_sender_that_vanishes_leaves_nothing(tmp_path: Path) -> None:
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
        assert listener.leftovers == []
