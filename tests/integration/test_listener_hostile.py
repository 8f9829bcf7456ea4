"""Peers that send too much, too slowly or nonsense: bounded, cut, and no hindrance to honest ones."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.peers.data_sets import data_set, new_uid
from tests.peers.listener import ListenerProcess
from tests.peers.raw import (
    ASSOCIATE_RQ,
    P_DATA,
    Closed,
    Context,
    RawPeer,
    associate_request,
    command_set,
    fragments,
    pdu,
    store_command,
)
from tests.waiting import wait_until

LIMIT = 1 << 20
# A-ASSOCIATE-RJ: transient, presentation related, local limit exceeded (PS3.8 9.3.4)
LOCAL_LIMIT = "PDU type 3, 00020302"


@dataclass
class Quiet:
    """What an idle listener holds."""

    threads: int
    descriptors: int


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ListenerProcess]:
    settings = {"maximum_message_size": LIMIT, "network_timeout": 2, "maximum_associations": 4}
    with ListenerProcess(tmp_path_factory.mktemp("hostile") / "data", settings=settings) as process:
        yield process


@pytest.fixture(scope="module")
def quiet(listener: ListenerProcess) -> Quiet:
    process = psutil.Process(listener.pid)
    return Quiet(process.num_threads(), process.num_fds())


@pytest.fixture(autouse=True)
def honest(listener: ListenerProcess, quiet: Quiet) -> Iterator[None]:
    """After each attack an honest peer is served and no memory, thread or descriptor is kept."""
    yield
    instance = new_uid()

    def served() -> bool:
        try:
            with RawPeer(listener.port, timeout=5) as peer:
                return peer.associate().store(instance, data_set(instance)).status == 0x0000
        except Closed:
            return False

    wait_until(served, 10, "an honest peer is served")
    process = psutil.Process(listener.pid)
    assert process.memory_info().rss < 250 << 20
    wait_until(lambda: process.num_threads() <= quiet.threads, 10, "threads end")
    assert process.num_fds() <= quiet.descriptors
    assert listener.leftovers == []


def test_a_message_above_the_limit_is_cut(listener: ListenerProcess) -> None:
    instance = new_uid()
    with RawPeer(listener.port) as peer:
        peer.associate()
        with pytest.raises(Closed):
            peer.store(instance, data_set(instance, pixels=2 * LIMIT))
    assert listener.wait_for("message_too_long")["limit"] == LIMIT


def test_a_message_at_the_limit_is_stored(listener: ListenerProcess) -> None:
    instance = new_uid()
    with RawPeer(listener.port) as peer:
        assert peer.associate().store(instance, data_set(instance, pixels=LIMIT - 4096)).status == 0x0000


@pytest.mark.parametrize("kind", [ASSOCIATE_RQ, P_DATA])
def test_a_pdu_of_4_gib_is_cut_at_its_header(listener: ListenerProcess, kind: int) -> None:
    with RawPeer(listener.port) as peer:
        if kind == P_DATA:
            peer.associate()
        peer.send(pdu(kind, b"", length=0xFFFFFFFF))
        assert peer.wait_closed(10) < 5


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"\x01\x00\x00",
        associate_request([Context()], called=b"A", calling=b"B")[:100],
    ],
    ids=["silence", "half a header", "half a request"],
)
def test_peers_that_stall_before_the_association_are_cut(listener: ListenerProcess, start: bytes) -> None:
    peers = [RawPeer(listener.port) for _ in range(12)]
    for peer in peers:
        peer.send(start)
    for peer in peers:
        assert peer.wait_closed(12) < 10
        peer.socket.close()


def test_half_a_p_data_pdu_is_cut(listener: ListenerProcess) -> None:
    peers = [RawPeer(listener.port).associate() for _ in range(3)]
    for peer in peers:
        peer.send(next(fragments(1, bytes(1000), command=False))[:500])
    for peer in peers:
        assert peer.wait_closed(10) < 8
        peer.socket.close()


def test_an_idle_association_ends(listener: ListenerProcess) -> None:
    with RawPeer(listener.port) as peer:
        peer.associate()
        assert peer.wait_closed(10) < 8


def test_requests_without_waiting_for_the_answer_are_cut(listener: ListenerProcess) -> None:
    instance = new_uid()
    one = b"".join(fragments(1, store_command(instance), command=True))
    one += b"".join(fragments(1, data_set(instance, pixels=LIMIT // 2), command=False))
    with RawPeer(listener.port) as peer:
        peer.associate()
        with contextlib.suppress(Closed):
            peer.send(one * 20)
        peer.wait_closed(10)
    listener.wait_for("message_pipelined")


@pytest.mark.parametrize(
    "command",
    [
        b"",
        b"\xff" * 50,
        command_set({0x0100: b"\x34\x12", 0x0800: b"\x01\x01"}),
        command_set({0x0002: b"1.2", 0x0800: b"\x01\x01"}),
        command_set({0x0100: struct.pack("<H", 0x8001), 0x0120: b"\x01\x00", 0x0800: b"\x01\x01", 0x0900: b"\0\0"}),
        command_set({0x0100: struct.pack("<H", 0x0020), 0x0110: b"\x01\x00", 0x0800: b"\x01\x01"}),
        store_command(None)[:30],
    ],
    ids=["empty", "garbage", "unknown command", "no command", "a response", "C-FIND", "cut short"],
)
def test_malformed_commands_cost_the_sender_its_association(listener: ListenerProcess, command: bytes) -> None:
    with RawPeer(listener.port) as peer:
        peer.associate().request(command)
        assert peer.wait_closed(10) < 8


def test_associations_above_the_limit_are_refused(listener: ListenerProcess) -> None:
    peers = [RawPeer(listener.port) for _ in range(6)]
    outcomes = [outcome(peer) for peer in peers]
    for peer in peers:
        peer.socket.close()
    assert outcomes == ["accepted"] * 4 + [LOCAL_LIMIT] * 2


def outcome(peer: RawPeer) -> str:
    try:
        peer.associate()
    except Closed as refusal:
        return str(refusal)
    return "accepted"


def test_one_address_cannot_take_every_association(tmp_path: Path) -> None:
    settings = {"maximum_associations": 4, "maximum_associations_per_peer": 2}
    with ListenerProcess(tmp_path / "data", settings=settings) as crowded, contextlib.ExitStack() as opened:

        def peers(count: int, source: str) -> list[RawPeer]:
            return [opened.enter_context(RawPeer(crowded.port, source=source)) for _ in range(count)]

        # one address asks for more than there is and besides holds connections that say nothing
        greedy = [outcome(peer) for peer in peers(6, "127.0.0.2")]
        assert greedy == ["accepted"] * 2 + [LOCAL_LIMIT] * 4
        silent = peers(40, "127.0.0.2")
        # others are served up to what there is in all
        others = [outcome(peer) for peer in peers(1, "127.0.0.3") + peers(2, "127.0.0.4")]
        assert others == ["accepted"] * 2 + [LOCAL_LIMIT]
        for peer in silent:
            peer.socket.close()
        # and the first address again when it has let go
        opened.close()
        wait_until(lambda: outcome(peers(1, "127.0.0.2")[0]) == "accepted", 10, "a place is free again")


def test_no_traceback_reaches_the_log(listener: ListenerProcess) -> None:
    assert "Traceback" not in listener.log
    assert len(listener.events) == len(listener.log.splitlines())
