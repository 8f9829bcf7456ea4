"""Row 20: peers that take their time. Each is cut at its deadline, and known peers are served meanwhile."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.peers.data_sets import data_set, new_uid
from tests.peers.raw import (
    P_DATA,
    VERIFICATION,
    Closed,
    Context,
    RawPeer,
    associate_request,
    echo_command,
    fragments,
    message,
    pdu,
    store_command,
    value,
)
from tests.peers.scene import SLACK, TIGHT, Scene, closes_within

REQUEST, PDU, MESSAGE, IDLE = (TIGHT[f"{name}_timeout"] for name in ("request", "pdu", "message", "network"))
ASSOCIATE = associate_request(calling=b"EVIL")
STORE_DATA = data_set("1.2.3", pixels=64 * 1024)
STORE = message(store_command("1.2.3"), STORE_DATA)


@contextlib.contextmanager
def trickling(peers: list[RawPeer], parts: Callable[[], Iterator[bytes]], every: float) -> Iterator[None]:
    """Send part after part on each connection, slowly, until the block ends."""
    stop = threading.Event()

    def send() -> None:
        sources = [(peer, parts()) for peer in peers]
        while sources and not stop.wait(every):
            for source in list(sources):
                try:
                    source[0].send(next(source[1]))
                except (Closed, OSError, StopIteration):
                    sources.remove(source)

    thread = threading.Thread(target=send, name="trickle")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def byte_by_byte(content: bytes) -> Iterator[bytes]:
    return (content[at : at + 1] for at in range(len(content)))


@pytest.mark.parametrize(
    "start", [b"", ASSOCIATE[:3], ASSOCIATE[:100]], ids=["silence", "half a header", "half a request"]
)
def test_row_20_a_stall_before_the_association_is_cut(attacked: Scene, start: bytes) -> None:
    peers = attacked.connect(12)
    for peer in peers:
        peer.send(start)
    assert closes_within(peers, REQUEST + SLACK) >= 0.5
    attacked.nothing_is_left()


@pytest.mark.parametrize("content", [ASSOCIATE[:6] * 40, ASSOCIATE], ids=["headers", "one request"])
def test_row_20_a_request_byte_by_byte_is_cut(attacked: Scene, content: bytes) -> None:
    """Each byte is in time, the whole is not: the deadline is for the request, not for a byte of it."""
    peers = attacked.connect(12)
    with trickling(peers, lambda: byte_by_byte(content), every=0.2):
        closes_within(peers, REQUEST + SLACK)
    attacked.nothing_is_left()


@pytest.mark.parametrize("kept", [1, 6, 500], ids=["a byte", "a header", "half"])
def test_row_20_half_a_p_data_pdu_is_cut(attacked: Scene, kept: int) -> None:
    peers = attacked.associate(4)
    for peer in peers:
        peer.send(next(fragments(1, bytes(1000), command=False))[:kept])
    closes_within(peers, PDU + SLACK)
    attacked.nothing_is_left()


def test_row_20_a_slow_body_is_cut(attacked: Scene) -> None:
    """One byte at a time within a PDU of the data set."""
    peers = attacked.associate(4)
    with trickling(peers, lambda: byte_by_byte(STORE), every=0.2):
        closes_within(peers, PDU + SLACK)
    attacked.nothing_is_left()


def test_row_20_a_slow_message_of_quick_pdus_is_cut(attacked: Scene) -> None:
    """Every PDU is whole and in time, and there is no end to them: the message has a deadline of its own."""

    def parts() -> Iterator[bytes]:
        yield message(store_command("1.2.3"))
        for at in itertools.count(step=10):
            yield pdu(P_DATA, value(1, 0, STORE_DATA[at : at + 10]))

    peers = attacked.associate(4)
    began = time.monotonic()
    with trickling(peers, parts, every=0.3):
        closes_within(peers, MESSAGE + SLACK)
    assert time.monotonic() - began > PDU
    attacked.nothing_is_left()


def test_row_20_an_idle_association_is_ended(attacked: Scene) -> None:
    peers = attacked.associate(4)
    assert closes_within(peers, IDLE + SLACK) > IDLE / 2
    attacked.nothing_is_left()


def test_row_20_a_message_begun_and_left_is_ended(attacked: Scene) -> None:
    """Between two PDUs of one message: no PDU has begun, so that only idleness can end it."""
    peers = attacked.associate(4)
    for peer in peers:
        peer.send(message(store_command("1.2.3")))
        peer.send(next(fragments(1, bytes(20_000), command=False)))
    closes_within(peers, max(IDLE, MESSAGE) + SLACK)
    attacked.nothing_is_left()


def test_row_20_a_peer_that_reads_no_answer_is_cut(attacked: Scene) -> None:
    """Its window closes, and what sends to it must not wait for ever."""
    stop = threading.Event()

    def echo(peer: RawPeer) -> None:
        with contextlib.suppress(Closed, OSError):
            while not stop.is_set():
                peer.send(message(echo_command()))
                time.sleep(0.0005)

    peers = attacked.associate(3, Context(VERIFICATION))
    for peer in peers:
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        peer.socket.settimeout(2)
    threads = [threading.Thread(target=echo, args=(peer,)) for peer in peers]
    for thread in threads:
        thread.start()
    time.sleep(1)
    stop.set()
    for thread in threads:
        thread.join()
    # whatever they got so far is read now; after it the connection ends
    closes_within(peers, IDLE + PDU + SLACK)
    attacked.nothing_is_left()


def test_row_20_a_connection_closed_half_ways_is_let_go(attacked: Scene) -> None:
    """The sending side is shut, the receiving side stays open: nothing more can come."""
    peers = attacked.connect(6)
    for number, peer in enumerate(peers):
        if number % 2:
            peer.associate(calling=b"EVIL")
            peer.send(STORE[:1000])
        peer.socket.shutdown(socket.SHUT_WR)
    closes_within(peers, REQUEST + SLACK)
    attacked.nothing_is_left()


def test_row_20_slots_are_free_again(attacked: Scene) -> None:
    """After every place unknown peers may have was held by a stalled one, an unknown peer gets one."""
    places = TIGHT["maximum_associations"] - TIGHT["reserved_associations"]
    stalled = [attacked.connect(source=f"127.0.0.{2 + number % 2}")[0].associate() for number in range(places)]
    for peer in stalled:
        peer.send(STORE[:300])
    closes_within(stalled, PDU + SLACK)
    instance = new_uid()
    with RawPeer(attacked.port, source="127.0.0.2") as peer:
        assert peer.associate(calling=b"NEXT").store(instance, data_set(instance)).status == 0x0000
