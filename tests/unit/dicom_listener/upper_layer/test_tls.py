"""Handshakes over real sockets, with OpenSSL's own client and Python's."""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from structlog.testing import capture_logs

from core.errors import Misconfigured
from core.settings import Settings
from dicom_listener.upper_layer.stream import TooSlow, Woken
from dicom_listener.upper_layer.tls import Tls, client_certificate_digest, reason
from tests.peers.certificates import DAY, Authority, Certificate

HOST = "127.0.0.1"
REPOSITORY = Path(__file__).resolve().parents[4]
WEAK_SUITES = {
    "CBC": "ECDHE-ECDSA-AES128-SHA256",
    "CBC with SHA-1": "ECDHE-ECDSA-AES256-SHA",
    "RSA key exchange": "AES128-GCM-SHA256",
    "finite-field DHE": "DHE-RSA-AES128-GCM-SHA256",
    "anonymous": "ADH-AES128-GCM-SHA256",
    "NULL": "ECDHE-ECDSA-NULL-SHA",
}
STRONG_SUITES = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-RSA-CHACHA20-POLY1305",
]


@dataclass
class MovedClock:
    """A clock that stands still until moved."""

    time: float = 1000.0
    date: datetime = field(default_factory=lambda: datetime.now(UTC))

    def now(self) -> datetime:
        return self.date

    def monotonic(self) -> float:
        return self.time


@dataclass(frozen=True)
class Agreed:
    """What a handshake led to, as the server saw it."""

    version: str | None = None
    suite: str | None = None
    compression: str | None = None
    resumed: bool | None = None
    digest: str | None = None
    error: str | None = None
    took: float = 0.0


class Door:
    """Accepts connections and shakes hands, each in a thread of its own."""

    def __init__(self, tls: Tls, seconds: float = 10) -> None:
        self._tls, self._seconds = tls, seconds
        self._listening = socket.create_server((HOST, 0))
        self.port: int = self._listening.getsockname()[1]
        self._outcomes: queue.Queue[Agreed] = queue.Queue()
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def next(self) -> Agreed:
        return self._outcomes.get(timeout=20)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()

    def _accept(self) -> None:
        threads = []
        with contextlib.suppress(OSError):
            while True:
                threads.append(threading.Thread(target=self._serve, args=(self._listening.accept()[0],)))
                threads[-1].start()
        for thread in threads:
            thread.join()

    def _serve(self, connection: socket.socket) -> None:
        began = time.monotonic()
        try:
            secured = self._tls.handshake(connection, self._seconds)
        except (OSError, TooSlow, Woken) as error:
            assert connection.fileno() == -1
            self._outcomes.put(Agreed(error=reason(error), took=time.monotonic() - began))
            return
        with secured:
            assert not secured.getblocking()
            secured.settimeout(10)
            cipher = secured.cipher()
            self._outcomes.put(
                Agreed(
                    secured.version(),
                    cipher and cipher[0],
                    secured.compression(),
                    secured.session_reused,
                    client_certificate_digest(secured),
                    took=time.monotonic() - began,
                )
            )
            # until the client has enough: what it says comes back
            with contextlib.suppress(OSError):
                while said := secured.recv(1024):
                    secured.sendall(said)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def server(authority: Authority) -> Certificate:
    return authority.issue("server")


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def make_tls(make_settings: Callable[..., Settings], server: Certificate, clock: MovedClock) -> Callable[..., Tls]:
    def build(**overrides: object) -> Tls:
        files = {"tls_certificate_file": server.certificate, "tls_key_file": server.key, **overrides}
        tls = Tls.from_settings(make_settings(tls_port=0, **files), clock)
        assert tls is not None
        return tls

    return build


@pytest.fixture
def open_door() -> Iterator[Callable[..., Door]]:
    with contextlib.ExitStack() as stack:

        def build(tls: Tls, seconds: float = 10) -> Door:
            door = Door(tls, seconds)
            stack.callback(door.close)
            return door

        yield build


@pytest.fixture
def door(open_door: Callable[..., Door], make_tls: Callable[..., Tls]) -> Door:
    return open_door(make_tls())


@pytest.fixture
def mutual_door(open_door: Callable[..., Door], make_tls: Callable[..., Tls], authority: Authority) -> Door:
    return open_door(make_tls(tls_client_ca_file=authority.certificate))


def s_client(door: Door, *options: str | Path, said: str = "") -> str:
    """OpenSSL's client, which says `said` and hangs up; what it printed."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"{HOST}:{door.port}", *options],
        input=said,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return done.stdout + done.stderr


def shake(door: Door, context: ssl.SSLContext) -> Agreed:
    """Python's client: greet, and wait for the echo, so that a refusal by the server after our last word shows."""
    with (
        contextlib.suppress(OSError),
        socket.create_connection((HOST, door.port), timeout=10) as connection,
        context.wrap_socket(connection, server_hostname="localhost") as secured,
    ):
        secured.sendall(b"DICOM")
        secured.recv(5)
    return door.next()


def served_digest(door: Door) -> str:
    """SHA-256 of the certificate that the server shows just now."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((HOST, door.port), timeout=10) as connection,
        context.wrap_socket(connection, server_hostname="localhost") as secured,
    ):
        # a hash of the DER, whichever side's certificate it is
        shown = client_certificate_digest(secured)
    assert door.next().error is None
    assert shown is not None
    return shown


def test_without_a_tls_port_there_is_none(settings: Settings) -> None:
    assert Tls.from_settings(settings) is None


def test_a_listener_without_tls_loads_no_certificate_library() -> None:
    code = "import sys, dicom_listener.upper_layer.tls; sys.exit('cryptography' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)


def test_tls_1_3_is_preferred_and_1_2_accepted(door: Door, authority: Authority) -> None:
    context = authority.client_context()
    agreed = shake(door, context)
    assert (agreed.version, agreed.compression, agreed.digest) == ("TLSv1.3", None, None)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    agreed = shake(door, context)
    assert (agreed.version, agreed.compression) == ("TLSv1.2", None)
    assert agreed.suite == "ECDHE-ECDSA-AES256-GCM-SHA384"


@pytest.mark.requires("openssl")
@pytest.mark.parametrize(("option", "version"), [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")])
def test_openssls_client_is_served(door: Door, authority: Authority, option: str, version: str) -> None:
    printed = s_client(door, option, "-CAfile", authority.certificate, "-verify_return_error", said="Q\n")
    assert "Verification: OK" in printed
    assert door.next().version == version


@pytest.mark.requires("openssl")
@pytest.mark.parametrize("option", ["-tls1", "-tls1_1"])
def test_older_versions_are_refused_by_us(door: Door, option: str) -> None:
    # SECLEVEL 0: the client itself would not offer them otherwise
    printed = s_client(door, option, "-cipher", "ALL:@SECLEVEL=0")
    assert door.next().error == "unsupported protocol"
    assert "protocol version" in printed


@pytest.mark.requires("openssl")
@pytest.mark.parametrize("suite", STRONG_SUITES)
def test_each_suite_of_the_profile_is_served(
    open_door: Callable[..., Door], make_tls: Callable[..., Tls], authority: Authority, suite: str
) -> None:
    key = rsa.generate_private_key(65537, 2048) if "RSA" in suite else ec.generate_private_key(ec.SECP384R1())
    own = authority.issue("chosen", key=key)
    door = open_door(make_tls(tls_certificate_file=own.certificate, tls_key_file=own.key))
    s_client(door, "-tls1_2", "-cipher", suite)
    assert door.next().suite == suite


@pytest.mark.requires("openssl")
@pytest.mark.parametrize("case", WEAK_SUITES)
def test_weak_suites_are_refused(
    open_door: Callable[..., Door], make_tls: Callable[..., Tls], authority: Authority, case: str
) -> None:
    suite = WEAK_SUITES[case]
    needs_rsa = "ECDSA" not in suite
    own = authority.issue("chosen", key=rsa.generate_private_key(65537, 2048) if needs_rsa else None)
    door = open_door(make_tls(tls_certificate_file=own.certificate, tls_key_file=own.key))
    printed = s_client(door, "-tls1_2", "-cipher", f"{suite}:@SECLEVEL=0")
    assert door.next().error == "no shared cipher"
    assert "handshake failure" in printed


@pytest.mark.requires("openssl")
def test_the_server_picks_the_suite(door: Door) -> None:
    s_client(door, "-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384")
    assert door.next().suite == "ECDHE-ECDSA-AES256-GCM-SHA384"


@pytest.mark.requires("openssl")
def test_renegotiation_is_refused_and_sessions_are_not_resumed(door: Door, tmp_path: Path) -> None:
    with subprocess.Popen(
        ["openssl", "s_client", "-connect", f"{HOST}:{door.port}", "-tls1_2"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as client:
        assert door.next().version == "TLSv1.2"
        # its command, which it takes once it is connected; an end of input would close first
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write("R\n")
        client.stdin.flush()
        printed = client.stdout.read()
    assert "RENEGOTIATING" in printed
    assert "no renegotiation" in printed
    for version in ("-tls1_2", "-tls1_3"):
        session = tmp_path / f"session{version}"
        s_client(door, version, "-sess_out", session, said="Q\n")
        assert door.next().resumed is False
        if session.exists():
            s_client(door, version, "-sess_in", session, said="Q\n")
            assert door.next().resumed is False


def test_a_client_certificate_is_asked_for_only_where_authorities_are_given(door: Door, authority: Authority) -> None:
    assert shake(door, authority.client_context(authority.issue("client"))).digest is None


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_mutual_authentication(
    mutual_door: Door, authority: Authority, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    good = authority.issue("client")
    shown = {
        "good": good,
        "none": None,
        "unknown authority": Authority(tmp_path / "stranger", "stranger").issue("client"),
        "authority of the same name": Authority(tmp_path / "copy", "authority").issue("client"),
        "expired": authority.issue("expired", ends=-timedelta(hours=1)),
        "not yet valid": authority.issue("early", starts=timedelta(hours=1)),
        "server only": authority.issue("server-only", usage=ExtendedKeyUsageOID.SERVER_AUTH),
    }
    outcomes = {}
    for case, certificate in shown.items():
        context = authority.client_context(certificate)
        context.minimum_version = context.maximum_version = version
        outcomes[case] = shake(mutual_door, context)
    assert outcomes.pop("good").digest == good.digest
    assert {case: outcome.error for case, outcome in outcomes.items()} == {
        "none": "peer did not return a certificate",
        "unknown authority": "unable to get local issuer certificate",
        "authority of the same name": "certificate signature failure",
        "expired": "certificate has expired",
        "not yet valid": "certificate is not yet valid",
        "server only": "unsuitable certificate purpose",
    }


def test_a_refused_client_can_read_why(mutual_door: Door, authority: Authority, tmp_path: Path) -> None:
    """Even over TLS 1.3, where it has sent its first PDU by the time its certificate is looked at."""
    stranger = Authority(tmp_path / "stranger", "stranger").issue("client")
    for certificate, alert in ((None, "certificate required"), (stranger, "unknown ca")):
        with (
            socket.create_connection((HOST, mutual_door.port), timeout=10) as connection,
            authority.client_context(certificate).wrap_socket(connection, server_hostname="localhost") as secured,
        ):
            secured.sendall(bytes(4096))
            with pytest.raises(ssl.SSLError, match=f"alert {alert}"):
                secured.recv(1)
        assert mutual_door.next().error is not None


def test_what_stands_in_the_file_of_authorities_is_trusted_as_it_stands(
    open_door: Callable[..., Door], make_tls: Callable[..., Tls], authority: Authority, tmp_path: Path
) -> None:
    root = Authority(tmp_path / "root", "root")
    issuing = Authority(tmp_path / "issuing", "issuing", root)
    device = Authority(tmp_path / "vendor", "vendor").issue("device")
    # as openssl's -text writes it, in whatever language
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes("# Prüfstelle für Geräte\n".encode() + issuing.pem + device.certificate.read_bytes())
    door = open_door(make_tls(tls_client_ca_file=trusted))
    for accepted in (issuing.issue("client"), device):
        assert shake(door, authority.client_context(accepted)).digest == accepted.digest
    for refused in (root.issue("client"), authority.issue("client")):
        assert shake(door, authority.client_context(refused)).error in {
            "unable to get local issuer certificate",
            "self-signed certificate in certificate chain",
        }


def test_the_chain_is_sent_with_the_certificate(
    open_door: Callable[..., Door], make_tls: Callable[..., Tls], tmp_path: Path
) -> None:
    root = Authority(tmp_path / "root", "root")
    own = Authority(tmp_path / "issuing", "issuing", root).issue("chained", chain=True)
    door = open_door(make_tls(tls_certificate_file=own.certificate, tls_key_file=own.key))
    # which knows the root alone
    assert shake(door, root.client_context()).error is None


@pytest.mark.requires("openssl")
def test_the_digest_is_what_openssl_prints(authority: Authority, mutual_door: Door) -> None:
    client = authority.issue("client")
    printed = subprocess.run(
        ["openssl", "x509", "-in", client.certificate, "-noout", "-fingerprint", "-sha256"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    digest = printed.strip().partition("=")[2].replace(":", "").lower()
    assert shake(mutual_door, authority.client_context(client)).digest == digest


def test_a_connection_without_tls_has_no_certificate() -> None:
    with socket.socket() as plain:
        assert client_certificate_digest(plain) is None


def test_a_peer_that_says_nothing_is_cut_at_the_deadline_and_stops_nobody(
    open_door: Callable[..., Door], make_tls: Callable[..., Tls], authority: Authority
) -> None:
    door = open_door(make_tls(), 1.0)
    with socket.create_connection((HOST, door.port), timeout=10) as silent:
        assert shake(door, authority.client_context()).error is None
        assert silent.recv(1) == b""
    outcome = door.next()
    assert outcome.error == "timed out"
    assert 1.0 <= outcome.took < 3.0


def test_the_bell_ends_a_handshake(make_tls: Callable[..., Tls]) -> None:
    bell, ring = socket.socketpair()
    with bell, ring, socket.create_server((HOST, 0)) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        threading.Timer(0.1, ring.send, (b"!",)).start()
        with pytest.raises(Woken) as caught:
            make_tls().handshake(accepted, 60, bell.fileno())
        assert reason(caught.value) == "we are stopping"
        assert accepted.fileno() == -1


@pytest.mark.parametrize("step", ["client hello", "client's last word"])
def test_a_peer_that_trickles_is_cut_at_the_deadline(
    open_door: Callable[..., Door], make_tls: Callable[..., Tls], authority: Authority, step: str
) -> None:
    seconds = 1.0
    door = open_door(make_tls(), seconds)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = authority.client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection((HOST, door.port), timeout=10) as connection:
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        if step != "client hello":
            connection.sendall(outgoing.read())
            while outgoing.pending == 0:
                incoming.write(connection.recv(4096))
                with contextlib.suppress(ssl.SSLWantReadError):
                    client.do_handshake()
        said = outgoing.read()
        # one byte twenty times a second would take far longer than the deadline
        with contextlib.suppress(OSError):
            connection.settimeout(0.05)
            for byte in said[:-1]:
                connection.send(bytes([byte]))
                with contextlib.suppress(TimeoutError):
                    if connection.recv(4096) == b"":
                        break
    outcome = door.next()
    assert outcome.error == "timed out"
    assert seconds <= outcome.took < seconds + 2


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"\x01\0\0\0\0\xcd\0\1\0\0" + bytes(200), "wrong version number"),
        (b"GET / HTTP/1.1\r\n\r\n", "http request"),
        (b"\x16\x03\x01\xff\xff" + bytes(600), "packet length too long"),
        (b"", "connection lost"),
    ],
    ids=["plain DICOM", "HTTP", "oversized record", "hangs up"],
)
def test_what_is_no_handshake_is_an_ordinary_error(door: Door, said: bytes, error: str) -> None:
    # the server may hang up before we do
    with contextlib.suppress(OSError), socket.create_connection((HOST, door.port), timeout=10) as connection:
        connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass
    outcome = door.next()
    # an end of file has no reason of its own in every version of OpenSSL
    assert outcome.error in {error, "unexpected eof while reading"}


def test_a_connection_that_was_reset_is_an_ordinary_error(make_tls: Callable[..., Tls]) -> None:
    tls = make_tls()
    with socket.create_server((HOST, 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        accepted, _ = listening.accept()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        with pytest.raises(OSError, match=r".") as caught:
            tls.handshake(accepted, 5)
        assert reason(caught.value)
        assert accepted.fileno() == -1


def test_new_files_serve_the_next_handshake_and_leave_open_connections_alone(
    door: Door, authority: Authority, server: Certificate
) -> None:
    before = server.digest
    renewed = authority.issue("renewed")
    with (
        socket.create_connection((HOST, door.port), timeout=10) as connection,
        authority.client_context().wrap_socket(connection, server_hostname="localhost") as secured,
    ):
        assert door.next().error is None
        with capture_logs() as logs:
            server.replace(renewed)
            assert served_digest(door) == renewed.digest != before
            assert served_digest(door) == renewed.digest
        assert [line["event"] for line in logs] == ["tls_files_read"]
        secured.sendall(b"DICOM")
        assert secured.recv(5) == b"DICOM"


def test_a_renewal_is_noticed_behind_links_too(
    open_door: Callable[..., Door], make_tls: Callable[..., Tls], authority: Authority, tmp_path: Path
) -> None:
    """As certbot and Kubernetes do it: the name is a link, and the link is moved."""
    link = tmp_path / "live"
    for name in ("first", "second"):
        authority.issue(name)
        (tmp_path / f"of-{name}").mkdir()
        for suffix in ("crt", "key"):
            (tmp_path / "authority" / f"{name}.{suffix}").rename(tmp_path / f"of-{name}" / f"tls.{suffix}")
    link.symlink_to(tmp_path / "of-first")
    door = open_door(make_tls(tls_certificate_file=link / "tls.crt", tls_key_file=link / "tls.key"))
    first = served_digest(door)
    (tmp_path / "moved").symlink_to(tmp_path / "of-second")
    (tmp_path / "moved").rename(link)
    assert served_digest(door) != first


def test_authorities_are_read_again_too(
    open_door: Callable[..., Door], make_tls: Callable[..., Tls], authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path / "other", "other")
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(authority.pem)
    door = open_door(make_tls(tls_client_ca_file=trusted))
    ours, theirs = authority.issue("client"), other.issue("client")
    assert shake(door, authority.client_context(ours)).error is None
    trusted.write_bytes(other.pem)
    assert shake(door, authority.client_context(ours)).error is not None
    assert shake(door, authority.client_context(theirs)).digest == theirs.digest


def break_by_missing(server: Certificate, _: Certificate) -> None:
    server.key.unlink()


def break_by_emptying(server: Certificate, _: Certificate) -> None:
    server.certificate.write_bytes(b"")


def break_by_half(server: Certificate, other: Certificate) -> None:
    server.certificate.write_bytes(other.certificate.read_bytes())


@pytest.mark.parametrize(
    "wrong",
    [
        (break_by_missing, "No such file or directory"),
        (break_by_emptying, "holds no certificate in PEM"),
        (break_by_half, "does not belong to the certificate"),
    ],
)
def test_a_wrong_new_set_keeps_the_old_one_and_is_said_once_a_minute(
    door: Door,
    authority: Authority,
    server: Certificate,
    clock: MovedClock,
    wrong: tuple[Callable[[Certificate, Certificate], None], str],
) -> None:
    (damage, says), old = wrong, server.digest
    renewed = authority.issue("renewed")
    with capture_logs() as logs:
        damage(server, renewed)
        for _ in range(3):
            assert served_digest(door) == old
        (line,) = logs
        assert (line["event"], line["log_level"]) == ("tls_files_wrong", "warning")
        assert says in line["message"]
        clock.time += 61
        assert served_digest(door) == old
        assert [line["event"] for line in logs] == ["tls_files_wrong"] * 2
        # and recovers without a restart
        server.replace(renewed)
        assert served_digest(door) == renewed.digest
        assert logs[-1]["event"] == "tls_files_read"
    assert all("PRIVATE KEY" not in str(line) and "BEGIN" not in str(line) for line in logs)


def test_a_certificate_changed_before_its_key_serves_once_both_are_there(
    door: Door, authority: Authority, server: Certificate
) -> None:
    old, renewed = server.digest, authority.issue("renewed")
    server.certificate.write_bytes(renewed.certificate.read_bytes())
    assert served_digest(door) == old
    server.key.write_bytes(renewed.key.read_bytes())
    assert served_digest(door) == renewed.digest


def wrong_sets(authority: Authority, server: Certificate, folder: Path) -> dict[str, tuple[dict[str, Path], str]]:
    stranger, encrypted = authority.issue("stranger"), authority.issue("encrypted", password=b"hunter2")
    weak = authority.issue("weak", key=rsa.generate_private_key(65537, 1024))  # noqa: S505 - the point
    text, half, pipe, large = folder / "text.pem", folder / "half.pem", folder / "pipe", folder / "large"
    text.write_text("no certificate\n")
    half.write_bytes(server.certificate.read_bytes()[:200])
    os.mkfifo(pipe)
    with large.open("wb") as stream:
        stream.truncate(1 << 30)
    certificate, key, authorities = "tls_certificate_file", "tls_key_file", "tls_client_ca_file"
    return {
        "missing certificate": ({certificate: folder / "none.crt"}, "FILE: .*none.crt cannot be read .No such file"),
        "missing key": ({key: folder / "none.key"}, "KEY_FILE: .*none.key cannot be read .No such file"),
        "missing authorities": ({authorities: folder / "none.pem"}, "CLIENT_CA_FILE: .*none.pem cannot be read"),
        "folder": ({certificate: folder}, "CERTIFICATE_FILE: .* cannot be read .Is a directory"),
        "pipe": ({key: pipe}, "KEY_FILE: .* is no regular file"),
        "large": ({authorities: large}, "CLIENT_CA_FILE: .* is too large"),
        "no certificate": ({certificate: text}, "CERTIFICATE_FILE: .* holds no certificate in PEM"),
        "half a certificate": ({certificate: half}, "CERTIFICATE_FILE: .* holds no certificate in PEM"),
        "no key": ({key: text}, "KEY_FILE: .* holds no private key in PEM"),
        "no authorities": ({authorities: text}, "CLIENT_CA_FILE: .* holds no certificate in PEM"),
        "half an authority": ({authorities: half}, "CLIENT_CA_FILE: .* holds no certificate in PEM"),
        "key of another": ({key: stranger.key}, "KEY_FILE: .* does not belong to the certificate in .*server.crt"),
        "encrypted key": ({certificate: encrypted.certificate, key: encrypted.key}, "KEY_FILE: .* is encrypted"),
        "weak key": ({certificate: weak.certificate, key: weak.key}, "CERTIFICATE_FILE: .* is too weak"),
        "swapped": ({certificate: server.key, key: server.certificate}, "CERTIFICATE_FILE: .* holds no certificate"),
    }


CASES = [
    *("missing certificate", "missing key", "missing authorities", "folder", "pipe", "large", "no certificate"),
    *("half a certificate", "no key", "no authorities", "half an authority", "key of another", "encrypted key"),
    *("weak key", "swapped"),
]


@pytest.mark.parametrize("case", CASES)
def test_wrong_files_at_start_are_named(
    make_tls: Callable[..., Tls], authority: Authority, server: Certificate, tmp_path: Path, case: str
) -> None:
    overrides, says = wrong_sets(authority, server, tmp_path)[case]
    with pytest.raises(Misconfigured, match=f"^LUNGWATCH_TLS_.*{says}") as caught:
        make_tls(**overrides)
    assert "BEGIN" not in str(caught.value)


def test_certificate_and_key_may_share_a_file(
    open_door: Callable[..., Door], make_tls: Callable[..., Tls], server: Certificate, authority: Authority
) -> None:
    server.key.write_bytes(server.key.read_bytes() + server.certificate.read_bytes())
    door = open_door(make_tls(tls_certificate_file=server.key, tls_key_file=server.key))
    assert shake(door, authority.client_context()).error is None


@pytest.mark.parametrize(
    "aged",
    [
        (-timedelta(hours=1), "tls_certificate_expired"),
        (13 * DAY, "tls_certificate_expires_soon"),
        (15 * DAY, None),
    ],
)
def test_an_old_certificate_is_served_and_said_once_a_day(
    open_door: Callable[..., Door],
    make_tls: Callable[..., Tls],
    authority: Authority,
    clock: MovedClock,
    aged: tuple[timedelta, str | None],
) -> None:
    ends, event = aged
    own = authority.issue("old", starts=-3 * DAY, ends=ends)
    with capture_logs() as logs:
        door = open_door(make_tls(tls_certificate_file=own.certificate, tls_key_file=own.key))
        assert served_digest(door) == own.digest
        assert [line["event"] for line in logs] == ([event] if event else [])
        clock.time += 86_401
        assert served_digest(door) == own.digest
        assert [line["event"] for line in logs] == ([event] * 2 if event else [])


def test_it_can_be_made_before_a_fork(make_tls: Callable[..., Tls], authority: Authority) -> None:
    """A parent makes it, children shake hands with it."""
    tls = make_tls()
    with socket.create_server((HOST, 0)) as listening:
        child = os.fork()
        if child == 0:
            status = 1
            with contextlib.suppress(BaseException):
                secured = tls.handshake(listening.accept()[0], 10)
                secured.settimeout(10)
                secured.sendall(secured.recv(5))
                status = 0
            os._exit(status)
        with (
            socket.create_connection(listening.getsockname(), timeout=10) as connection,
            authority.client_context().wrap_socket(connection, server_hostname="localhost") as secured,
        ):
            secured.sendall(b"DICOM")
            assert secured.recv(5) == b"DICOM"
        assert os.waitpid(child, 0)[1] == 0
