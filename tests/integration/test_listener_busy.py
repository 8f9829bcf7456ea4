"""Rows 19 and 22: as many strangers as are let in, with the caps as they come, keep the processor busy."""

from __future__ import annotations

import contextlib
import select
import statistics
import struct
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from core.settings import Settings
from tests.peers.data_sets import CR_STORAGE, EXPLICIT, data_set, new_uid
from tests.peers.honest import LONGEST, HonestPeer
from tests.peers.listener import ListenerProcess
from tests.peers.raw import P_DATA, Context, RawPeer, associate_request, message, pdu, store_command, value
from tests.peers.scene import introduce

_DEFAULTS = Settings.model_fields
STRANGERS = _DEFAULTS["maximum_associations"].default - _DEFAULTS["reserved_associations"].default
STORES = 5

# two addresses: one alone may not hold as many
SOURCES = ("127.0.0.2", "127.0.0.3")
# data elements without a value
ELEMENTS = pdu(P_DATA, value(1, 0, struct.pack("<HH2sH", 0x0029, 0x1010, b"LO", 0) * (1 << 16)))
# as many presentation contexts and transfer syntaxes as anybody asks for
REQUEST = associate_request(
    [Context(CR_STORAGE, [EXPLICIT, *(f"1.2.840.10008.1.2.4.{number}" for number in range(50, 62))])] * 128,
    calling=b"EVIL",
)


@contextlib.contextmanager
def sending(peers: Sequence[RawPeer], content: bytes) -> Iterator[None]:
    """Send something over each connection, as fast as it is taken."""
    poll, stop = select.poll(), threading.Event()
    left = {peer.socket.fileno(): memoryview(content) for peer in peers}
    sockets = {peer.socket.fileno(): peer.socket for peer in peers}
    for connection in sockets.values():
        connection.setblocking(False)
        poll.register(connection, select.POLLOUT)

    def send() -> None:
        while not stop.is_set():
            for descriptor, _ in poll.poll(100):
                try:
                    left[descriptor] = left[descriptor][sockets[descriptor].send(left[descriptor]) :]
                except BlockingIOError:
                    continue
                except OSError:
                    left[descriptor] = memoryview(b"")
                if not left[descriptor]:
                    poll.unregister(descriptor)

    thread = threading.Thread(target=send, name="strangers")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[ListenerProcess]:
    """One of its own, which need not come to rest: what has arrived would keep it busy for a while."""
    introduce(tmp_path / "data")
    with ListenerProcess(tmp_path / "data") as started:
        yield started


@pytest.fixture
def strangers(listener: ListenerProcess) -> Iterator[list[RawPeer]]:
    with contextlib.ExitStack() as opened:
        yield [opened.enter_context(RawPeer(listener.port, source=SOURCES[number % 2])) for number in range(STRANGERS)]


def serves_in_time(listener: ListenerProcess) -> None:
    """Fail unless the known peer is served in time, for the most part: this machine may have other things to do."""
    honest = HonestPeer(listener.port)
    stores = [honest.store() for _ in range(STORES)]
    assert [store.trouble for store in stores if store.trouble] == []
    assert statistics.median(store.seconds for store in stores) < LONGEST


def test_row_19_requests_as_large_as_may_be_from_all_sides_delay_nobody(
    listener: ListenerProcess, strangers: list[RawPeer]
) -> None:
    with sending(strangers, REQUEST):
        serves_in_time(listener)


def test_row_22_data_sets_of_empty_elements_from_all_sides_delay_nobody(
    listener: ListenerProcess, strangers: list[RawPeer]
) -> None:
    for peer in strangers:
        peer.associate(calling=b"EVIL")
    instance = new_uid()
    with sending(strangers, message(store_command(instance)) + pdu(P_DATA, value(1, 0, data_set(instance))) + ELEMENTS):
        serves_in_time(listener)
