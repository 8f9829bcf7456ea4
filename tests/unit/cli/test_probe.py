"""How far a C-ECHO came, against real peers and against sockets that misbehave."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage, Verification  # type: ignore[attr-defined]

from cli.probe import Outcome, Probe, Step, ask, client_context
from core.errors import Misconfigured
from core.settings import Settings
from tests.peers.certificates import Authority

SHORT = 0.5


def probe(port: int, **changes: Any) -> Probe:
    return Probe(**{"host": "127.0.0.1", "port": port, "called_ae_title": "PEER", "calling_ae_title": "US"} | changes)


@contextmanager
def peer(
    *, answer: int = 0x0000, address: str = "127.0.0.1", tls: ssl.SSLContext | None = None, **ways: Any
) -> Iterator[int]:
    """A pynetdicom SCP; gives its port."""
    entity = AE(ae_title="PEER")
    entity.add_supported_context(ways.pop("context", Verification))
    for name, value in ways.items():
        setattr(entity, name, value)
    server = entity.start_server(
        (address, 0), block=False, evt_handlers=[(evt.EVT_C_ECHO, lambda _: answer)], ssl_context=tls
    )
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()


@contextmanager
def socket_that(does: Callable[[socket.socket], None]) -> Iterator[int]:
    """A peer below DICOM; gives its port."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                does(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield int(listening.getsockname()[1])
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


def stays_silent(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def says(*words: bytes) -> Callable[[socket.socket], None]:
    def answer(connection: socket.socket) -> None:
        if connection.recv(65536):
            for word in words:
                connection.sendall(word)

    return answer


ABORT = bytes((7, 0, 0, 0, 0, 4, 0, 0, 2, 0))


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_answered(address: str) -> None:
    with peer(address=address) as port:
        outcome = ask(probe(port, host=address))
    assert outcome.step is Step.ANSWERED
    assert outcome.milliseconds is not None
    assert outcome.words == f"answered C-ECHO in {outcome.milliseconds:.0f} ms"


@pytest.mark.parametrize(
    ("ways", "expected"),
    [
        ({"require_called_aet": True}, "called-AE-title-not-recognized (1/1/7); it is not called OTHER"),
        ({"require_calling_aet": ["SOMEBODY"]}, "calling-AE-title-not-recognized (1/1/3); register US and"),
        ({"maximum_associations": 0}, "local-limit-exceeded (2/3/2); it is busy"),
    ],
)
def test_rejected_with_the_reason_in_words(ways: dict[str, object], expected: str) -> None:
    with peer(**ways) as port:
        outcome = ask(probe(port, called_ae_title="OTHER"))
    assert outcome.step is Step.ASSOCIATION
    assert expected in outcome.words
    assert f"({'/'.join(map(str, outcome.rejected or ()))})" in outcome.words


def test_verification_not_accepted() -> None:
    with peer(context=CTImageStorage) as port:
        assert ask(probe(port)) == Outcome(
            Step.ASSOCIATION, "accepted the association, but not the Verification service"
        )


def test_an_answer_that_is_no_success() -> None:
    with peer(answer=0x0122) as port:
        outcome = ask(probe(port))
    assert (outcome.step, outcome.words) == (Step.ECHO, "answered C-ECHO with status 0x0122")


def test_nothing_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    outcome = ask(probe(port))
    assert outcome.step is Step.CONNECTION
    assert "refused the connection" in outcome.words


def test_nothing_answers() -> None:
    with socket.socket() as full:
        # a full queue: further connections get no answer, as behind a firewall that drops
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        where = full.getsockname()
        with socket.create_connection(where), socket.socket() as another:
            another.setblocking(False)
            another.connect_ex(where)
            outcome = ask(probe(where[1], seconds=SHORT))
    assert outcome.step is Step.CONNECTION
    assert "no answer from 127.0.0.1" in outcome.words
    assert "within 0.5 s" in outcome.words


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70])
def test_no_such_name(host: str) -> None:
    outcome = ask(probe(104, host=host, seconds=SHORT))
    assert outcome.step is Step.NAME
    assert host in outcome.words


@pytest.mark.parametrize(
    ("does", "expected"),
    [
        (stays_silent, "did not answer the association request within 0.5 s"),
        (says(ABORT), "aborted the association"),
        (says(), "closed the connection"),
        (says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "did not answer the association request as a DICOM peer does"),
    ],
)
def test_what_is_no_dicom_peer(does: Callable[[socket.socket], None], expected: str) -> None:
    with socket_that(does) as port:
        outcome = ask(probe(port, seconds=SHORT))
    assert outcome.step is Step.ASSOCIATION
    assert expected in outcome.words


def server_context(authority: Authority) -> ssl.SSLContext:
    issued = authority.issue("peer")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.key)
    return context


def test_over_tls(tmp_path: Path, settings: Settings) -> None:
    authority, stranger = Authority(tmp_path), Authority(tmp_path, "stranger")
    with peer(tls=server_context(authority)) as port:
        outcome = ask(probe(port, tls=client_context(settings, authority.certificate)))
        assert outcome.step is Step.ANSWERED, outcome.words
        distrusted = ask(probe(port, tls=client_context(settings, stranger.certificate)))
        assert distrusted.step is Step.TLS
        assert "is not trusted" in distrusted.words


def test_with_our_certificate_where_one_is_demanded(tmp_path: Path, make_settings: Callable[..., Settings]) -> None:
    authority = Authority(tmp_path)
    ours = authority.issue("ours")
    context = server_context(authority)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.certificate)
    settings = make_settings(
        tls_port=0,
        tls_certificate_file=ours.certificate,
        tls_key_file=ours.key,
        tls_client_ca_file=authority.certificate,
    )
    with peer(tls=context) as port:
        assert ask(probe(port, tls=client_context(settings, None))).step is Step.ANSWERED
        bare = ask(probe(port, tls=client_context(make_settings(), authority.certificate), seconds=SHORT))
        assert bare.step is Step.ASSOCIATION
        assert "client certificate" in bare.words


def test_plain_dicom_behind_the_port(settings: Settings) -> None:
    with socket_that(stays_silent) as port:
        outcome = ask(probe(port, tls=client_context(settings, None), seconds=SHORT))
    assert (outcome.step, "plain DICOM" in outcome.words) == (Step.TLS, True)


def test_certificates_that_cannot_be_used(tmp_path: Path, settings: Settings) -> None:
    wrong = tmp_path / "wrong.pem"
    for content in (b"", b"no certificate"):
        wrong.write_bytes(content)
        with pytest.raises(Misconfigured, match=r"wrong\.pem"):
            client_context(settings, wrong)
    with pytest.raises(Misconfigured, match="No such file"):
        client_context(settings, tmp_path / "none.pem")
