"""Row 21: what is done to the TLS port. Refused in time, and nobody else waits for it, on either port."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from tests.peers.certificates import Authority, Certificate
from tests.peers.data_sets import data_set, new_uid
from tests.peers.listener import REPOSITORY
from tests.peers.raw import RawPeer, associate_request
from tests.peers.scene import SLACK, TIGHT, Scene, closes_within

REQUEST = TIGHT["request_timeout"]


@dataclass
class Secured:
    """A listener on both ports that asks for client certificates, and who has which."""

    scene: Scene
    authority: Authority
    stranger: Authority
    client: Certificate

    @property
    def port(self) -> int:
        return self.scene.listener.tls_port

    def store(self, context: ssl.SSLContext | None = None) -> float:
        """Store over TLS as a peer with a good certificate; return how long it took."""
        began = time.monotonic()
        instance = new_uid()
        with RawPeer(self.port, timeout=10) as peer:
            peer.socket = (context or self.authority.client_context(self.client)).wrap_socket(
                peer.socket, server_hostname="localhost"
            )
            assert peer.associate(calling=b"SECURE").store(instance, data_set(instance)).status == 0x0000
            peer.release()
        return time.monotonic() - began

    def refuses(self, context: ssl.SSLContext) -> None:
        """Fail unless nothing can be stored with this."""
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=REQUEST + SLACK) as plain,
            contextlib.suppress(ssl.SSLError, ConnectionError),
            context.wrap_socket(plain, server_hostname="localhost") as secured,
        ):
            # with TLS 1.3 the client learns of it only when it reads
            secured.sendall(associate_request(calling=b"SECURE"))
            assert secured.recv(1) == b""


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    authority, stranger = Authority(folder / "ours", "ours"), Authority(folder / "theirs", "theirs")
    server, client = authority.issue("server"), authority.issue("client")
    settings = {
        "tls_port": 0,
        "tls_certificate_file": server.certificate,
        "tls_key_file": server.key,
        "tls_client_ca_file": authority.certificate,
    }
    with Scene.begin(folder / "data", **settings) as scene:
        yield Secured(scene, authority, stranger, client)


@pytest.fixture
def attacked(secured: Secured) -> Iterator[Secured]:
    """The known peer is served on the plain port throughout, and one with a certificate on the other."""
    secured.store()
    began = time.monotonic()
    yield secured
    secured.scene.close()
    assert secured.store() < 2
    secured.scene.served_since(began)


def connect(secured: Secured, count: int) -> list[RawPeer]:
    peers = [RawPeer(secured.port) for _ in range(count)]
    secured.scene.opened += peers
    return peers


def hello() -> bytes:
    """The ClientHello a good client would send."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


STALLS = {
    "nothing": b"",
    "a byte": hello()[:1],
    "half a hello": hello()[:100],
    "a hello": hello(),
    "no TLS": associate_request(),
    "an alert": b"\x15\x03\x03\x00\x02\x02\x28",
    "a record of 16 kB begun": b"\x16\x03\x01\x40\x00\x01",
    "garbage": b"\xff" * 500,
}


@pytest.mark.parametrize("name", STALLS)
def test_row_21_a_stalled_handshake_is_cut_and_stops_nobody(attacked: Secured, name: str) -> None:
    peers = connect(attacked, 20)
    for peer in peers:
        peer.send(STALLS[name])
    assert attacked.store() < 2
    for peer in peers:
        peer.socket.settimeout(REQUEST + SLACK)
        with contextlib.suppress(ConnectionError):
            while peer.socket.recv(4096):
                pass
        peer.socket.close()
    attacked.scene.nothing_is_left()


def test_row_21_a_handshake_byte_by_byte_is_cut(attacked: Secured) -> None:
    peers = connect(attacked, 8)
    content, stop = hello(), threading.Event()

    def trickle() -> None:
        for at in range(len(content)):
            for peer in peers:
                with contextlib.suppress(Exception):
                    peer.send(content[at : at + 1])
            if stop.wait(0.1):
                return

    thread = threading.Thread(target=trickle)
    thread.start()
    began = time.monotonic()
    try:
        for peer in peers:
            peer.socket.settimeout(REQUEST + SLACK)
            with contextlib.suppress(ConnectionError):
                while peer.socket.recv(4096):
                    pass
    finally:
        stop.set()
        thread.join()
    assert time.monotonic() - began < REQUEST + SLACK
    attacked.scene.nothing_is_left()


def test_row_21_key_updates_without_end_are_cut(attacked: Secured) -> None:
    """OpenSSL reads on for as long as they come: nothing that waits for its read may be what ends it."""
    client = (attacked.client.certificate, attacked.client.key)
    arguments = [sys.executable, "-m", "tests.peers.key_updates", str(attacked.port), *map(str, client)]
    with subprocess.Popen(arguments, cwd=REPOSITORY, stderr=subprocess.DEVNULL) as endless:
        try:
            endless.wait(REQUEST + 2 * SLACK)
        finally:
            endless.kill()
    attacked.scene.nothing_is_left()


def test_row_21_silence_after_the_handshake_is_cut(attacked: Secured) -> None:
    context = attacked.authority.client_context(attacked.client)
    peers = connect(attacked, 6)
    for peer in peers:
        peer.socket = context.wrap_socket(peer.socket, server_hostname="localhost")
    closes_within(peers, REQUEST + SLACK)
    attacked.scene.nothing_is_left()


def test_row_21_a_connection_that_breaks_off_within_tls_leaves_nothing(attacked: Secured) -> None:
    context = attacked.authority.client_context(attacked.client)
    for reset in (True, False) * 5:
        (peer,) = connect(attacked, 1)
        peer.socket = context.wrap_socket(peer.socket, server_hostname="localhost")
        peer.associate(calling=b"SECURE")
        if reset:
            peer.reset()
        else:
            peer.socket.close()
    attacked.scene.nothing_is_left()


def test_row_21_no_certificate_is_refused(attacked: Secured) -> None:
    attacked.refuses(attacked.authority.client_context())


def test_row_21_an_unknown_certificate_is_refused(attacked: Secured) -> None:
    context = attacked.authority.client_context(attacked.stranger.issue("mallory"))
    attacked.refuses(context)


def test_row_21_an_expired_certificate_is_refused(attacked: Secured) -> None:
    day = timedelta(days=1)
    expired = attacked.authority.issue("expired", starts=-3 * day, ends=-day)
    attacked.refuses(attacked.authority.client_context(expired))


def test_row_21_one_that_is_not_valid_yet_is_refused(attacked: Secured) -> None:
    day = timedelta(days=1)
    attacked.refuses(attacked.authority.client_context(attacked.authority.issue("early", starts=day, ends=3 * day)))


@pytest.mark.requires("openssl")
@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_row_21_old_tls_is_refused(attacked: Secured, version: str) -> None:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{attacked.port}", version, "-cipher", "ALL:@SECLEVEL=0"]
    own = ["-cert", str(attacked.client.certificate), "-key", str(attacked.client.key)]
    done = subprocess.run([*command, *own], input=b"", capture_output=True, timeout=20, check=False)
    assert done.returncode != 0
    # the server's own word for it
    assert b"protocol version" in done.stderr
    # and not for want of anything else
    newer = [*command[:4], "-tls1_2", *own]
    assert subprocess.run(newer, input=b"", capture_output=True, timeout=20, check=False).returncode == 0


@pytest.mark.requires("openssl")
def test_row_21_weak_ciphers_are_refused(attacked: Secured) -> None:
    weak = "AES128-SHA:AES256-SHA:AES128-SHA256:ECDHE-ECDSA-AES128-SHA:NULL:aNULL:@SECLEVEL=0"
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{attacked.port}", "-tls1_2", "-cipher", weak]
    own = ["-cert", str(attacked.client.certificate), "-key", str(attacked.client.key)]
    done = subprocess.run([*command, *own], input=b"", capture_output=True, timeout=20, check=False)
    assert b"handshake failure" in done.stderr


def test_row_21_the_newest_version_is_preferred(attacked: Secured) -> None:
    context = attacked.authority.client_context(attacked.client)
    with (
        socket.create_connection(("127.0.0.1", attacked.port)) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        assert secured.version() == "TLSv1.3"
