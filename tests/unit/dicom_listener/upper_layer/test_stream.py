from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator

import pytest

from dicom_listener.upper_layer.stream import BUFFER_BYTES, Ended, PeerStream, TooSlow, Woken
from tests.waiting import wait_until


@pytest.fixture
def bell() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, ring = socket.socketpair()
    yield ours, ring
    ours.close()
    ring.close()


@pytest.fixture
def connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        peer = socket.create_connection(listening.getsockname())
        ours, _ = listening.accept()
    yield ours, peer
    peer.close()


@pytest.fixture
def ends(
    bell: tuple[socket.socket, socket.socket], connection: tuple[socket.socket, socket.socket]
) -> Iterator[tuple[PeerStream, socket.socket]]:
    ours, peer = connection
    stream = PeerStream(ours, bell[0].fileno())
    yield stream, peer
    stream.close()


def soon(seconds: float = 5.0) -> float:
    return time.monotonic() + seconds


def test_takes_exactly_what_is_asked_for(ends: tuple[PeerStream, socket.socket]) -> None:
    stream, peer = ends
    peer.sendall(b"abcdefghij")
    assert stream.take(4, soon()) == b"abcd"
    assert stream.take(6, soon()) == b"efghij"


def test_a_piece_that_spans_the_end_of_the_buffer_arrives_whole(ends: tuple[PeerStream, socket.socket]) -> None:
    stream, peer = ends
    content = bytes(range(256)) * (3 * BUFFER_BYTES // 256)
    sender = threading.Thread(target=peer.sendall, args=(content,))
    sender.start()
    taken = b""
    # 251 is prime: it meets every position in the buffer
    while len(taken) + 251 <= len(content):
        taken += stream.take(251, soon())
    taken += stream.take(len(content) - len(taken), soon())
    sender.join()
    assert taken == content


def test_pieces_come_as_they_arrive_and_add_up(ends: tuple[PeerStream, socket.socket]) -> None:
    stream, peer = ends
    pieces = stream.pieces(10, soon())
    peer.sendall(b"abc")
    assert bytes(next(pieces)) == b"abc"
    peer.sendall(b"defghijKLM")
    assert b"".join(bytes(piece) for piece in pieces) == b"defghij"
    assert stream.take(3, soon()) == b"KLM"


def test_a_peer_that_says_nothing_is_too_slow(ends: tuple[PeerStream, socket.socket]) -> None:
    stream, _ = ends
    with pytest.raises(TooSlow):
        stream.more(soon(0.05), wakeable=False)


def test_a_peer_that_trickles_does_not_move_the_deadline(ends: tuple[PeerStream, socket.socket]) -> None:
    stream, peer = ends
    done = threading.Event()

    def trickle() -> None:
        while not done.wait(0.005):
            peer.sendall(b".")

    sender = threading.Thread(target=trickle)
    sender.start()
    try:
        began = time.monotonic()
        with pytest.raises(TooSlow):
            stream.take(100_000, soon(0.2))
        assert time.monotonic() - began < 2
    finally:
        done.set()
        sender.join()


def test_a_closed_connection_has_ended(ends: tuple[PeerStream, socket.socket]) -> None:
    stream, peer = ends
    peer.sendall(b"half")
    peer.close()
    with pytest.raises(Ended):
        stream.take(6, soon())


def test_a_reset_connection_has_ended(ends: tuple[PeerStream, socket.socket]) -> None:
    stream, peer = ends
    # zero linger: close sends RST
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    peer.close()
    with pytest.raises(Ended):
        stream.take(6, soon())


def test_the_bell_ends_an_idle_wait(
    ends: tuple[PeerStream, socket.socket], bell: tuple[socket.socket, socket.socket]
) -> None:
    stream, _ = ends
    bell[1].close()
    with pytest.raises(Woken):
        stream.more(soon(), wakeable=True)


def test_the_bell_does_not_hide_what_has_arrived(
    ends: tuple[PeerStream, socket.socket], bell: tuple[socket.socket, socket.socket]
) -> None:
    stream, peer = ends
    bell[1].close()
    peer.sendall(b"x")
    stream.more(soon(), wakeable=False)
    stream.more(soon(), wakeable=True)
    assert stream.take(1, soon()) == b"x"


def test_another_thread_can_cut(
    ends: tuple[PeerStream, socket.socket], connection: tuple[socket.socket, socket.socket]
) -> None:
    stream, peer = ends
    threading.Timer(0.05, lambda: connection[0].shutdown(socket.SHUT_RDWR)).start()
    with pytest.raises(Ended):
        stream.take(6, soon())
    assert peer.recv(1) == b""


def test_a_peek_takes_nothing_and_waits_for_nothing(ends: tuple[PeerStream, socket.socket]) -> None:
    stream, peer = ends
    assert stream.peek() is None
    peer.sendall(b"\x04rest")
    stream.more(soon(), wakeable=False)
    assert stream.peek() == 0x04
    assert stream.take(5, soon()) == b"\x04rest"


def test_a_peek_sees_what_comes_after_a_full_buffer(ends: tuple[PeerStream, socket.socket]) -> None:
    stream, peer = ends
    sender = threading.Thread(target=peer.sendall, args=(bytes(BUFFER_BYTES),))
    sender.start()
    stream.take(BUFFER_BYTES, soon())
    sender.join()
    peer.sendall(b"\x04")
    wait_until(lambda: stream.peek() == 0x04, 5, "the byte after the buffer's end")


def test_sending_to_a_peer_that_does_not_read_has_a_deadline(ends: tuple[PeerStream, socket.socket]) -> None:
    stream, _ = ends
    with pytest.raises(TooSlow):
        stream.send(bytes(32 * 1024 * 1024), soon(0.2))


def test_the_last_word_reaches_a_peer_that_was_still_sending(ends: tuple[PeerStream, socket.socket]) -> None:
    stream, peer = ends
    peer.sendall(bytes(100_000))
    stream.send(b"bye", soon())
    threading.Timer(0.05, lambda: peer.shutdown(socket.SHUT_WR)).start()
    stream.finish(soon())
    stream.close()
    assert peer.recv(10) == b"bye"
    assert peer.recv(10) == b""


def test_a_peer_that_never_stops_sending_is_left(ends: tuple[PeerStream, socket.socket]) -> None:
    stream, peer = ends
    peer.setblocking(False)
    done = threading.Event()

    def flood() -> None:
        while not done.is_set():
            try:
                peer.send(bytes(100_000))
            except BlockingIOError:
                continue
            except OSError:
                return

    sender = threading.Thread(target=flood)
    sender.start()
    try:
        stream.finish(soon(10))
    finally:
        done.set()
        sender.join()


def test_a_peek_at_a_closed_connection_sees_nothing(ends: tuple[PeerStream, socket.socket]) -> None:
    stream, peer = ends
    peer.close()
    assert stream.peek() is None


class _Answering(socket.socket):
    """Wants to write before it can read, as TLS does that has to answer the peer by itself."""

    asked = 0

    def recv_into(self, *_: object) -> int:
        self.asked += 1
        raise ssl.SSLWantWriteError


def test_tls_that_has_to_answer_a_peer_that_does_not_read_is_waited_for_and_not_asked_in_vain(
    bell: tuple[socket.socket, socket.socket], connection: tuple[socket.socket, socket.socket]
) -> None:
    ours, peer = connection
    # what arrives must not end the wait for room to write
    peer.sendall(b"more")
    ours.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            ours.send(bytes(1 << 20))
    answering = _Answering(fileno=ours.detach())
    stream = PeerStream(answering, bell[0].fileno())
    with pytest.raises(TooSlow):
        stream.more(soon(0.2), wakeable=False)
    stream.close()
    assert answering.asked < 5


def test_another_thread_sees_when_a_read_must_have_ended(ends: tuple[PeerStream, socket.socket]) -> None:
    stream, peer = ends
    assert stream.due is None
    until = soon()
    reading = threading.Thread(target=stream.take, args=(2, until))
    reading.start()
    wait_until(lambda: stream.due == until, 5, "the read begins")
    peer.sendall(b"ab")
    reading.join()
    assert stream.due is None
