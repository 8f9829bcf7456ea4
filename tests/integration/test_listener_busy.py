"""Rows 19 and 22: as many strangers as are let in, with the caps as they come, keep the processor busy."""

from __future__ import annotations

import contextlib
import select
import struct
import threading
from collections.abc import Iterator, Sequence

from core.settings import Settings
from tests.peers.data_sets import CR_STORAGE, EXPLICIT, data_set, new_uid
from tests.peers.honest import LONGEST
from tests.peers.raw import P_DATA, Context, RawPeer, associate_request, message, pdu, store_command, value
from tests.peers.scene import Scene

_DEFAULTS = Settings.model_fields
# unlike in other tests: two dozen threads a process are what makes it hard
SETTINGS = {
    name: _DEFAULTS[name].default
    for name in (
        "maximum_associations",
        "maximum_associations_per_peer",
        "reserved_associations",
        "message_timeout",
        "request_timeout",
    )
}
STRANGERS = SETTINGS["maximum_associations"] - SETTINGS["reserved_associations"]
STORES = 8

# two addresses: one alone may not hold as many
SOURCES = ("127.0.0.2", "127.0.0.3")
# data elements without a value; no more of them, for what has arrived at the end is still looked at
ELEMENTS = pdu(P_DATA, value(1, 0, struct.pack("<HH2sH", 0x0029, 0x1010, b"LO", 0) * (1 << 15)))
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


def strangers(scene: Scene) -> list[RawPeer]:
    return [scene.connect(source=SOURCES[number % 2])[0] for number in range(STRANGERS)]


def serves_in_time(scene: Scene) -> None:
    """Fail unless the known peer is served in time, again and again."""
    scene.honest.rest()
    for _ in range(STORES):
        store = scene.honest.store()
        assert store.trouble is None
        assert store.seconds < LONGEST


def comes_to_rest(scene: Scene) -> None:
    """Let it look at what has arrived, which the next test would have to wait for."""
    scene.close()
    scene.nothing_is_left(60)


def test_row_19_requests_as_large_as_may_be_from_all_sides_delay_nobody(attacked: Scene) -> None:
    with sending(strangers(attacked), REQUEST):
        serves_in_time(attacked)
    comes_to_rest(attacked)


def test_row_22_data_sets_of_empty_elements_from_all_sides_delay_nobody(attacked: Scene) -> None:
    peers = [peer.associate(calling=b"EVIL") for peer in strangers(attacked)]
    instance = new_uid()
    begun = message(store_command(instance)) + pdu(P_DATA, value(1, 0, data_set(instance)))
    with sending(peers, begun + ELEMENTS):
        serves_in_time(attacked)
    comes_to_rest(attacked)
