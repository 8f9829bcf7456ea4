from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from cli.listener_now import in_words, listener_now
from core.peers import Peer
from core.settings import Settings
from core.spool import Entry, Spool
from dicom_listener import announcement
from dicom_listener.announcement import Address
from dicom_listener.binding import bind_metrics
from dicom_listener.metrics.counting import Metrics, Outcome
from dicom_listener.metrics.endpoint import serve_metrics
from dicom_listener.rejections import Rejection
from tests.unit.cli.conftest import Lungwatch

STARTED = datetime(2026, 11, 23, tzinfo=UTC)
PACS = Peer("PACS", ())


@pytest.fixture
def metrics(make_settings: Callable[..., Settings]) -> Iterator[Metrics]:
    """A listener's, served and announced."""
    settings = make_settings(listener_metrics_port=0)
    metrics = Metrics(settings, STARTED)
    metrics.enter(0)
    listening, stop = bind_metrics(settings), threading.Event()
    assert listening is not None
    where = Address("127.0.0.1", 1, "OURS", metrics_port=listening.getsockname()[1])
    announcement.write(settings, where, started_at=STARTED)
    server = threading.Thread(target=serve_metrics, args=(listening, metrics, stop.wait))
    server.start()
    yield metrics
    stop.set()
    server.join(10)
    assert not server.is_alive()


def test_what_the_listener_says_is_read(metrics: Metrics) -> None:
    spool = Spool(metrics.settings.data_dir, metrics.settings.listener_name)
    spool.new.mkdir(parents=True)
    spool.path(Entry("0" * 20, 1, "0" * 64)).touch()
    metrics.answered("C-STORE", 0, PACS, 0.1, 10)
    metrics.answered("C-STORE", 0, None, 0.1, 10)
    metrics.answered("C-STORE", 0xA700, PACS, 0.1, 10)
    metrics.answered("C-ECHO", 0, PACS, 0.1, 0)
    metrics.association(Outcome.ACCEPTED, PACS)
    metrics.association(Rejection.CALLING_AE_TITLE, None)
    metrics.association(Rejection.LIMIT, PACS)
    with metrics.open_association(PACS):
        now = listener_now(metrics.settings)
    assert now is not None
    assert (now.started_at, now.processes, now.associations) == (STARTED, 1, 1)
    assert (now.stored, now.refused, now.rejected, now.spooled) == (2, 1, 2, 1)
    assert now.oldest_seconds is not None
    assert now.oldest_seconds < 60
    assert now.free is not None
    assert (now.watermark, now.refusing) == (0, False)


def test_a_listener_whose_spool_cannot_be_asked_says_the_rest(metrics: Metrics) -> None:
    now = listener_now(metrics.settings)
    assert now is not None
    assert (now.spooled, now.oldest_seconds, now.free, now.watermark, now.refusing) == (None,) * 5
    assert in_words(now).startswith("0 associations now; 0 instances stored, 0 refused, 0 associations rejected since")


def test_the_line_says_what_matters(metrics: Metrics) -> None:
    now = listener_now(metrics.settings)
    assert now is not None
    full = replace(now, spooled=3, oldest_seconds=70.4, free=3 << 30, watermark=5 << 30, refusing=True)
    words = in_words(full)
    assert "; 3 in its spool, the oldest for 70 s; 3 GiB free, 5 must stay; it refuses everything" in words
    assert "oldest" not in in_words(replace(full, spooled=0, oldest_seconds=0.0))


def test_who_has_announced_nothing_or_no_endpoint_is_not_asked(settings: Settings) -> None:
    assert listener_now(settings) is None
    announcement.write(settings, Address("127.0.0.1", 1, "OURS"), started_at=STARTED)
    assert listener_now(settings) is None
    assert "not on this host" in in_words(None)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nup 1",
        b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nup{a="\xff"}',
    ],
)
def test_another_program_at_an_announced_port_is_not_the_listener(settings: Settings, said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        where = Address("127.0.0.1", 1, "OURS", metrics_port=other.getsockname()[1])
        announcement.write(settings, where, started_at=STARTED)

        def answer() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(said)

        server = threading.Thread(target=answer)
        server.start()
        assert listener_now(settings) is None
        server.join(10)
    # and now nobody is there
    assert listener_now(settings) is None


def test_the_screen_has_its_line(lungwatch: Lungwatch) -> None:
    assert "not on this host" in lungwatch("status").out
    assert json.loads(lungwatch("status", "--json").out)["listener"] is None
