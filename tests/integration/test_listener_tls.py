"""TLS at the real listener: who stalls stops nobody, who is not trusted gets nowhere, renewals need no restart."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cli.echo import echo
from core.settings import Settings
from tests.peers.certificates import Authority, Certificate
from tests.peers.data_sets import data_set, new_uid
from tests.peers.listener import REPOSITORY, ListenerProcess, data_set_of, environment
from tests.peers.raw import ABORT, P_DATA, RELEASE_RP, Closed, RawPeer, pdu, store_command
from tests.peers.scene import SLACK, TIGHT, Scene
from tests.peers.stalls import Stalls
from tests.waiting import wait_until

HOST = "127.0.0.1"
ELSEWHERE = "127.0.0.9"
LONGEST = 2.0
# A-ASSOCIATE-RJ: for good, by the service user, calling AE title not recognised (PS3.8 Table 9-21)
NOT_RECOGNISED = "result 1, source 1, reason 3"
REFUSED = (Closed, OSError)


class TlsPeer(RawPeer):
    """The scripted peer, over TLS."""

    def __init__(self, port: int, context: ssl.SSLContext, name: str = "localhost", **options: Any) -> None:
        super().__init__(port, **options)
        try:
            self.socket = self.secured = context.wrap_socket(self.socket, server_hostname=name)
        except BaseException:
            self.socket.close()
            raise

    @property
    def shown(self) -> bytes | None:
        """The listener's certificate."""
        return self.secured.getpeercert(binary_form=True)

    def behind_tls(self, content: bytes) -> None:
        """Send bytes that TLS has not wrapped."""
        socket.socket.send(self.socket, content)


@dataclass(frozen=True)
class Site:
    """A listener with certificates of its own."""

    authority: Authority
    server: Certificate
    listener: ListenerProcess

    def peer(self, own: Certificate | None = None, **options: Any) -> TlsPeer:
        return TlsPeer(self.listener.tls_port, self.authority.client_context(own), **options)

    def stores(self, own: Certificate | None = None, calling: bytes = b"PACS") -> int:
        """Store one instance over TLS and see that it is there; the status."""
        instance = new_uid()
        data = data_set(instance)
        with self.peer(own) as peer:
            status = peer.associate(calling=calling).store(instance, data).status
            peer.release()
        assert status != 0x0000 or any(data_set_of(path) == data for path in self.listener.files)
        return status

    def stores_plain(self, calling: bytes = b"PLAIN") -> int:
        instance = new_uid()
        with RawPeer(self.listener.port) as peer:
            status = peer.associate(calling=calling).store(instance, data_set(instance)).status
            peer.release()
        return status


def files_of(server: Certificate) -> dict[str, Any]:
    return {"tls_port": 0, "tls_certificate_file": server.certificate, "tls_key_file": server.key}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def open_site(tmp_path: Path, authority: Authority) -> Iterator[Callable[..., Site]]:
    with contextlib.ExitStack() as stack:

        def build(*, mutual: bool = False, peers: str | None = None, **settings: Any) -> Site:
            server = authority.issue("server")
            chosen = {
                **files_of(server),
                **({"tls_client_ca_file": authority.certificate} if mutual else {}),
                **settings,
            }
            data = tmp_path / "data"
            if peers is not None:
                data.mkdir()
                (data / "peers.toml").write_text(peers)
            listener = stack.enter_context(ListenerProcess(data, settings=chosen))
            return Site(authority, server, listener)

        yield build


def test_row_21_others_are_served_while_handshakes_stall(tmp_path: Path, authority: Authority) -> None:
    """Silent, half a ClientHello, one that trickles: more of them than there is room for."""
    server = authority.issue("server")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = authority.client_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()
    # the scene's honest peer stores without TLS all the while, and its end sees that nothing is left behind
    with Scene.begin(tmp_path / "data", **files_of(server)) as scene:
        site = Site(authority, server, scene.listener)
        assert site.stores() == 0x0000
        began = time.monotonic()
        stalled = [RawPeer(site.listener.tls_port, source=ELSEWHERE) for _ in range(40)]
        scene.opened += stalled
        for peer in stalled[20:]:
            peer.send(hello[: len(hello) // 2])
        trickling = stalled[-1]
        sent = len(hello) // 2
        while time.monotonic() - began < TIGHT["request_timeout"]:
            at = time.monotonic()
            assert site.stores() == 0x0000
            seconds = time.monotonic() - at
            assert seconds - scene.stalls.within(at, seconds) < LONGEST
            with contextlib.suppress(Closed):
                trickling.send(hello[sent : sent + 1])
                sent += 1
        for peer in stalled:
            peer.wait_closed(TIGHT["request_timeout"] + SLACK)
        assert time.monotonic() - began < TIGHT["request_timeout"] + SLACK
        scene.served_since(began)


def test_row_21_a_stalled_handshake_is_cut_at_its_deadline_and_said(open_site: Callable[..., Site]) -> None:
    site = open_site(request_timeout=1)
    with RawPeer(site.listener.tls_port) as silent:
        assert 1 <= silent.wait_closed(10) + 0.1 < 1 + SLACK
    assert site.listener.wait_for("tls_handshake_failed")["level"] == "warning"


@pytest.mark.requires("openssl")
@pytest.mark.parametrize(
    ("options", "alert"),
    [
        (["-tls1"], "protocol version"),
        (["-tls1_1"], "protocol version"),
        (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256:@SECLEVEL=0"], "handshake failure"),
        (["-tls1_2", "-cipher", "ADH:@SECLEVEL=0"], "handshake failure"),
    ],
    ids=["TLS 1.0", "TLS 1.1", "CBC", "anonymous"],
)
def test_row_21_what_is_too_old_or_too_weak_is_refused(
    open_site: Callable[..., Site], options: list[str], alert: str
) -> None:
    site = open_site()
    if "-cipher" not in options:
        options = [*options, "-cipher", "ALL:@SECLEVEL=0"]
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"{HOST}:{site.listener.tls_port}", *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode != 0
    assert alert in done.stdout + done.stderr
    site.listener.wait_for("tls_handshake_failed")
    assert site.stores() == 0x0000


def test_row_21_a_client_that_is_not_trusted_stores_nothing(
    open_site: Callable[..., Site], authority: Authority, tmp_path: Path
) -> None:
    site = open_site(mutual=True)
    refused = {
        "none": None,
        "expired": authority.issue("lapsed", ends=-timedelta(hours=1)),
        "unknown authority": Authority(tmp_path / "stranger", "stranger").issue("client"),
    }
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        for own in refused.values():
            context = authority.client_context(own)
            context.minimum_version = context.maximum_version = version
            with pytest.raises(REFUSED), TlsPeer(site.listener.tls_port, context) as peer:
                peer.associate()
    assert site.listener.entries == []
    assert site.stores(authority.issue("client")) == 0x0000
    # the port without TLS is another matter: who may use it says the peers file
    assert site.stores_plain() == 0x0000
    # the log says why in OpenSSL's words, and nothing out of a certificate
    for certificate in ("lapsed", "stranger", "BEGIN"):
        assert certificate not in site.listener.log


@pytest.mark.requires("echoscu")
def test_row_21_dcmtks_client_without_a_certificate_is_refused(
    open_site: Callable[..., Site], authority: Authority
) -> None:
    site = open_site(mutual=True)
    client = authority.issue("client")
    ways = {("+tla",): 1, ("+tls", str(client.key), str(client.certificate)): 0}
    for options, code in ways.items():
        where = ["-aec", "LUNGWATCH", HOST, str(site.listener.tls_port)]
        echo = ["echoscu", *options, "+cf", str(authority.certificate), *where]
        assert subprocess.run(echo, capture_output=True, timeout=20, check=False).returncode == code


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_end_is_said_over_tls_too(open_site: Callable[..., Site], version: ssl.TLSVersion) -> None:
    """A close_notify (RFC 8446 6.1): without it the end of a connection is what an attacker can forge."""
    site = open_site()
    context = site.authority.client_context()
    context.minimum_version = context.maximum_version = version
    for last in (b"", bytes(200_000)):
        with TlsPeer(site.listener.tls_port, context) as peer:
            # else the end of the stream would look the same with and without
            peer.secured.suppress_ragged_eofs = False
            peer.associate()
            # what comes behind an error is never read, and must not cost the peer our last word
            peer.send(pdu(0x05, bytes(4)) if not last else pdu(0x09, bytes(4)) + last)
            kind, _ = peer.read()
            assert kind == (RELEASE_RP if not last else ABORT)
            assert peer.secured.recv(1) == b""


def test_plain_beside_tls(open_site: Callable[..., Site]) -> None:
    site = open_site()
    assert (site.stores(), site.stores_plain()) == (0x0000, 0x0000)
    # and neither speaks the other's language
    with pytest.raises(REFUSED), RawPeer(site.listener.tls_port) as plain:
        plain.associate()
    with pytest.raises(REFUSED):
        TlsPeer(site.listener.port, site.authority.client_context())


def test_tls_instead_of_plain(open_site: Callable[..., Site]) -> None:
    site = open_site(listen_plain="false")
    assert site.listener.port == 0
    assert site.stores() == 0x0000
    # who asks goes by what it announced, whatever his own settings
    assert echo(Settings(data_dir=site.listener.data)) is None
    with pytest.raises(REFUSED), RawPeer(site.listener.tls_port) as plain:
        plain.associate()


def bound(certificate: Certificate, unknown: str = "accept") -> str:
    return (
        f'unknown = "{unknown}"\n\n[[peer]]\nae_title = "PACS"\naddresses = ["127.0.0.1"]\n'
        f'certificate = "{certificate.digest}"\n'
    )


def test_a_certificate_is_bound_to_its_ae_title(open_site: Callable[..., Site], authority: Authority) -> None:
    """One vouched for by the same authority is not enough, nor is the right name without TLS."""
    own, other = authority.issue("pacs"), authority.issue("modality")
    site = open_site(mutual=True, peers=bound(own))
    assert site.stores(own, b"PACS") == 0x0000
    with pytest.raises(Closed, match=NOT_RECOGNISED):
        site.stores(other, b"PACS")
    with pytest.raises(Closed, match=NOT_RECOGNISED):
        site.stores_plain(b"PACS")
    # it is the name that is bound: whoever may come without one may show any certificate
    assert site.stores(other, b"MODALITY") == 0x0000
    assert len(site.listener.entries) == 2
    site.listener.wait_for("association_rejected_certificate")


def test_a_binding_changes_without_restart(open_site: Callable[..., Site], authority: Authority) -> None:
    own, renewed = authority.issue("pacs"), authority.issue("pacs-renewed")
    site = open_site(mutual=True, peers=bound(own, "refuse"))
    assert site.stores(own) == 0x0000
    (site.listener.data / "peers.toml").write_text(bound(renewed, "refuse"))
    with pytest.raises(Closed, match=NOT_RECOGNISED):
        site.stores(own)
    assert site.stores(renewed) == 0x0000


def shows(site: Site, certificate: Certificate) -> bool:
    """Say whether each of the processes shows this certificate: as many connections as would meet all of them."""
    expected = ssl.PEM_cert_to_DER_cert(certificate.certificate.read_text())
    shown = set()
    for _ in range(12):
        with site.peer() as peer:
            shown.add(peer.shown)
    return shown == {expected}


def test_certificates_are_replaced_while_an_association_is_open(
    open_site: Callable[..., Site], authority: Authority
) -> None:
    site = open_site(listener_processes=2)
    renewed = authority.issue("renewed")
    assert shows(site, site.server)
    first, second = new_uid(), new_uid()
    with site.peer() as peer:
        assert peer.associate().store(first, data_set(first)).status == 0x0000
        site.server.replace(renewed)
        assert shows(site, renewed)
        assert peer.store(second, data_set(second)).status == 0x0000
        peer.release()
    site.listener.wait_for("tls_files_read")
    assert "process_died" not in site.listener.log


def test_a_renewal_that_went_wrong_keeps_the_old_certificate(
    open_site: Callable[..., Site], authority: Authority
) -> None:
    site = open_site()
    original = site.server.certificate.read_bytes(), site.server.key.read_bytes()
    before = authority.issue("before")
    before.certificate.write_bytes(original[0])
    renewed = authority.issue("renewed")
    site.server.certificate.write_bytes(renewed.certificate.read_bytes())
    assert shows(site, before)
    said = site.listener.wait_for("tls_files_wrong")
    assert "does not belong to the certificate" in said["message"]
    assert "BEGIN" not in site.listener.log
    site.server.key.write_bytes(renewed.key.read_bytes())
    assert shows(site, renewed)


def test_an_authority_that_is_no_longer_trusted_is_out_at_once(
    open_site: Callable[..., Site], authority: Authority, tmp_path: Path
) -> None:
    successor = Authority(tmp_path / "successor", "successor")
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(authority.pem)
    site = open_site(tls_client_ca_file=trusted)
    ours, theirs = authority.issue("client"), successor.issue("client")
    assert site.stores(ours) == 0x0000
    trusted.write_bytes(successor.pem)
    with pytest.raises(REFUSED):
        site.stores(ours)
    assert site.stores(theirs) == 0x0000


def test_a_process_started_later_has_the_certificate_that_was_last_good(
    open_site: Callable[..., Site], authority: Authority
) -> None:
    site = open_site(listener_processes=2)
    renewed = authority.issue("renewed")
    shown = Certificate(renewed.certificate.with_name("shown.crt"), renewed.key)
    shown.certificate.write_bytes(renewed.certificate.read_bytes())
    # seen by the parent before anybody connects
    site.server.replace(renewed)
    site.listener.wait_for("tls_files_read")
    site.server.key.write_text("")
    before = site.listener.association_processes
    for process in before:
        process.kill()
    wait_until(
        lambda: len(set(site.listener.association_processes) - set(before)) == len(before), 20, "others take over"
    )
    assert shows(site, shown)


@pytest.mark.parametrize("stopped", ["inside a PDU", "inside a TLS record"])
def test_who_stops_halfway_is_cut_over_tls_too(open_site: Callable[..., Site], stopped: str) -> None:
    site = open_site(pdu_timeout=1, network_timeout=2)
    with site.peer() as peer:
        peer.associate()
        if stopped == "inside a PDU":
            peer.send(pdu(P_DATA, store_command(new_uid()), length=60_000))
        else:
            # the header of a record of application data, and one byte of it
            peer.behind_tls(b"\x17\x03\x03\x40\0\0")
        assert peer.wait_closed(10) < 2 + SLACK
    assert site.stores() == 0x0000


def test_garbage_within_tls_ends_one_association_alone(open_site: Callable[..., Site]) -> None:
    site = open_site()
    with site.peer() as other, site.peer() as peer:
        other.associate(calling=b"OTHER")
        peer.associate()
        peer.behind_tls(b"this was never encrypted, whatever it says")
        with contextlib.suppress(ssl.SSLError):
            peer.wait_closed(10)
        instance = new_uid()
        assert other.store(instance, data_set(instance)).status == 0x0000
        other.release()


def test_sigterm_waits_for_no_handshake(open_site: Callable[..., Site]) -> None:
    site = open_site(request_timeout=60, drain_timeout=60)
    listener = site.listener
    with site.peer() as idle, RawPeer(listener.tls_port), RawPeer(listener.tls_port) as half:
        idle.associate()
        half.send(b"\x16\x03\x01\x02\0\x01")
        began = time.monotonic()
        assert listener.terminate(30) == 0
        assert time.monotonic() - began < 5


def test_a_message_in_flight_over_tls_is_finished_after_sigterm(open_site: Callable[..., Site]) -> None:
    site = open_site()
    instance = new_uid()
    data = data_set(instance, pixels=1 << 20)
    with site.peer() as peer:
        peer.associate()
        peer.request(store_command(instance))
        peer.send(pdu(P_DATA, (6).to_bytes(4, "big") + b"\1\0" + data[:4]))
        assert site.listener.process is not None
        site.listener.process.terminate()
        site.listener.wait_for("listener_draining")
        for start in range(4, len(data), 16000):
            piece = data[start : start + 16000]
            last = 2 if start + 16000 >= len(data) else 0
            peer.send(pdu(P_DATA, (len(piece) + 2).to_bytes(4, "big") + bytes([1, last]) + piece))
        assert peer.response().status == 0x0000
    assert site.listener.wait() == 0
    assert [data_set_of(path) for path in site.listener.files] == [data]


def test_wrong_files_are_refused_at_start(tmp_path: Path, authority: Authority) -> None:
    server, stranger = authority.issue("server"), authority.issue("stranger")
    settings = {**files_of(server), "tls_key_file": stranger.key}
    done = subprocess.run(
        [sys.executable, "-m", "dicom_listener", "server"],
        env=environment(tmp_path / "data", **settings),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert f"LUNGWATCH_TLS_KEY_FILE: {stranger.key} does not belong to the certificate in" in done.stderr
    assert "BEGIN" not in done.stderr


@pytest.mark.requires("openssl")
def test_the_runbooks_commands_make_certificates_that_serve(tmp_path: Path) -> None:
    runbook = (REPOSITORY / "docs" / "runbook.md").read_text().partition("\n## TLS\n")[2]
    commands = runbook.partition("```bash\n")[2].partition("```")[0]
    subprocess.run(["bash", "-e"], input=commands, text=True, cwd=tmp_path, capture_output=True, check=True, timeout=20)
    server, client = (Certificate(tmp_path / f"{name}.crt", tmp_path / f"{name}.key") for name in ("tls", "pacs"))
    assert server.key.stat().st_mode & 0o077 == 0
    data = tmp_path / "data"
    data.mkdir()
    (data / "peers.toml").write_text(bound(client, "refuse"))
    settings = {**files_of(server), "tls_client_ca_file": tmp_path / "ca.crt"}
    with ListenerProcess(data, settings=settings) as listener:
        context = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
        context.load_cert_chain(client.certificate, client.key)
        with TlsPeer(listener.tls_port, context, name="lungwatch.hospital.example") as peer:
            instance = new_uid()
            assert peer.associate(calling=b"PACS").store(instance, data_set(instance)).status == 0x0000


def test_a_known_peer_over_tls_is_served_in_a_crowd_without_it(tmp_path: Path, authority: Authority) -> None:
    """All places that strangers may have are taken on the plain port; the known peer stores."""
    own = authority.issue("pacs")
    server = authority.issue("server")
    data = tmp_path / "data"
    data.mkdir()
    (data / "peers.toml").write_text(bound(own))
    settings = {**TIGHT, "network_timeout": 30, **files_of(server), "tls_client_ca_file": authority.certificate}
    with ListenerProcess(data, settings=settings) as listener, contextlib.ExitStack() as stack:
        stalls = stack.enter_context(Stalls(tmp_path))
        for _ in range(TIGHT["maximum_associations"]):
            stranger = stack.enter_context(RawPeer(listener.port, source=ELSEWHERE))
            with contextlib.suppress(Closed):
                stranger.associate(calling=b"STRANGER")
        began = time.monotonic()
        assert Site(authority, server, listener).stores(own) == 0x0000
        seconds = time.monotonic() - began
        assert seconds - stalls.within(began, seconds) < LONGEST
