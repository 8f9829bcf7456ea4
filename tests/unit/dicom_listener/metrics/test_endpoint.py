from __future__ import annotations

import http.client
import itertools
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from core.errors import Misconfigured
from core.metrics.endpoint import DEADLINE_SECONDS, MOST_CONNECTIONS
from core.parent_death import die_with
from core.settings import Settings
from core.signals import StopSignals
from dicom_listener.binding import bind_metrics
from dicom_listener.metrics.counting import Metrics
from tests.unit.dicom_listener.forks import Children
from tests.waiting import wait_until

LOOPBACK = "127.0.0.1"
# only so that a test ends: how slow a machine may be is not what any of them shows
PATIENCE = 30


class Endpoint:
    """The endpoint as the listener runs it: in a process of its own, told to stop by SIGTERM."""

    def __init__(self, settings: Settings, log: Path, send_buffer: int | None = None) -> None:
        self.log = log
        self.metrics = Metrics(settings, datetime.now(UTC))
        listening = bind_metrics(settings)
        assert listening is not None
        if send_buffer is not None:
            # what it accepts inherits that
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        self.port: int = listening.getsockname()[1]
        parent = os.getpid()
        with listening:
            self.pid = os.fork()
            if not self.pid:
                try:
                    die_with(parent)
                    self._serve(listening)
                    os._exit(0)
                finally:
                    os._exit(1)

    def _serve(self, listening: socket.socket) -> None:
        from dicom_listener.metrics.endpoint import serve_metrics  # noqa: PLC0415 - as the listener does

        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        serve_metrics(listening, self.metrics, StopSignals().wait)

    def get(self, target: str = "/metrics", method: str = "GET", **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=PATIENCE)
        try:
            connection.request(method, target, headers=headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def connect(self, receive_buffer: int | None = None) -> socket.socket:
        connection = socket.socket()
        connection.settimeout(PATIENCE)
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.connect((LOOPBACK, self.port))
        return connection

    def held(self) -> tuple[int, int]:
        """Return how many descriptors and threads it has."""
        process = psutil.Process(self.pid)
        return process.num_fds(), process.num_threads()

    def idle(self) -> tuple[int, int]:
        """Return the same while it serves nobody, once it has answered somebody."""
        assert self.get()[0] == 200
        # the thread of that answer may not have ended yet; the main one and the one that accepts stay
        wait_until(lambda: self.held()[1] == 2, PATIENCE, "it is idle")
        return self.held()

    def stop(self) -> int:
        os.kill(self.pid, signal.SIGTERM)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def everything(connection: socket.socket) -> bytes:
    """Return what is sent until the connection ends."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.fixture
def endpoint(make_settings: Callable[..., Settings], tmp_path: Path) -> Iterator[Endpoint]:
    endpoint = Endpoint(make_settings(listener_metrics_port=0), tmp_path / "log")
    yield endpoint
    assert endpoint.stop() == 0
    assert endpoint.log.read_text() == ""


def test_a_scrape_parses_and_shows_what_other_processes_count(endpoint: Endpoint, children: Children) -> None:
    def count() -> None:
        endpoint.metrics.enter(0)
        endpoint.metrics.answered("C-STORE", 0, None, 0.1, 10)

    child = children.fork(count)
    status, body = endpoint.get()
    children.kill(child)
    assert status == 200
    found = {
        (one.name, one.labels.get("status")): one.value
        for family in text_string_to_metric_families(body)
        for one in family.samples
        if one.labels.get("service") == "C-STORE" and one.labels.get("peer") == "unknown"
    }
    assert found["lungwatch_listener_answers_total", "0x0000"] == 1
    assert found["lungwatch_listener_received_bytes_total", None] == 10


def test_openmetrics_compression_and_a_selection_are_prometheus_clients_own(endpoint: Endpoint) -> None:
    assert endpoint.get(accept="application/openmetrics-text; version=1.0.0")[1].endswith("# EOF\n")
    _, some = endpoint.get("/metrics?name[]=lungwatch_listener_processes")
    assert some.splitlines()[-1] == "lungwatch_listener_processes 0.0"
    assert len(some.splitlines()) == 3
    connection = http.client.HTTPConnection(LOOPBACK, endpoint.port, timeout=PATIENCE)
    connection.request("GET", "/metrics", headers={"Accept-Encoding": "gzip"})
    assert connection.getresponse().headers["Content-Encoding"] == "gzip"
    connection.close()


def test_healthy_is_who_has_all_its_processes(endpoint: Endpoint, children: Children) -> None:
    assert endpoint.get("/healthz")[0] == 503
    both = [children.fork(lambda process=process: endpoint.metrics.enter(process)) for process in (0, 1)]
    assert endpoint.get("/healthz")[0] == 200
    for process, child in enumerate(both):
        children.kill(child)
        endpoint.metrics.gone(process)
    assert endpoint.get("/healthz")[0] == 503


@pytest.mark.parametrize(
    ("target", "method", "status"),
    [("/", "GET", 404), ("/metrics/../etc/passwd", "GET", 404), ("/metrics", "POST", 405), ("/metrics", "DELETE", 405)],
)
def test_other_questions_are_refused(endpoint: Endpoint, target: str, method: str, status: int) -> None:
    assert endpoint.get(target, method)[0] == status


def test_who_answers_says_nothing_of_its_version(endpoint: Endpoint) -> None:
    with endpoint.connect() as connection:
        connection.sendall(b"GET /metrics?name[]=none HTTP/1.1\r\n\r\n")
        assert b"\r\nServer: lungwatch\r\n" in everything(connection)
    with endpoint.connect() as connection:
        connection.sendall(b"GET / HTTP/9.9\r\n\r\n")
        answer = everything(connection)
    assert b"505" in answer
    assert b"ython" not in answer


@pytest.mark.parametrize(
    "sent",
    [
        b"GET\r\n\r\n",
        b"GET /metrics HTTP/x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"GET /\x1b[31m{}\"' HTTP/1.1 x\r\n\r\n",
        b"GET /metrics HTTP/1.1 x\r\n\r\n",
        b"\xff" * 100 + b"\r\n\r\n",
    ],
)
def test_what_is_no_request_is_answered_400(endpoint: Endpoint, sent: bytes) -> None:
    with endpoint.connect() as connection:
        connection.sendall(sent)
        # no status line where no version was sent, as HTTP/0.9 has it
        assert b"400" in everything(connection)
    assert endpoint.get()[0] == 200


@pytest.mark.parametrize("line", [b"GET /", b"GET /metrics HTTP/1.1\r\nX: ", b"GET /metrics HTTP/1.1\r\n", b"\r\n"])
def test_a_request_without_end_is_cut_at_its_cap(endpoint: Endpoint, line: bytes) -> None:
    endless = {b"GET /": b"x", b"GET /metrics HTTP/1.1\r\nX: ": b"x"}.get(line, b"X: y\r\n")
    # reset or broken pipe, as the timing is
    with endpoint.connect() as connection, pytest.raises(OSError, match=r"Connection reset|Broken pipe"):
        connection.sendall(line + endless * ((64 << 20) // len(endless)))
    assert endpoint.get()[0] == 200


@pytest.mark.parametrize("sent", [b"", b"GET /metrics HT", b"GET /metrics HTTP/1.1\r\nX: y"])
def test_whoever_hangs_up_leaves_nothing_behind(endpoint: Endpoint, sent: bytes) -> None:
    idle = endpoint.idle()
    for _ in range(MOST_CONNECTIONS):
        with endpoint.connect() as connection:
            connection.sendall(sent)
    wait_until(lambda: endpoint.held() == idle, PATIENCE, "the connections are closed")


def test_scrapers_that_stall_hold_up_nobody_and_are_let_go(endpoint: Endpoint) -> None:
    idle = endpoint.idle()
    silent = [endpoint.connect() for _ in range(40)]
    slow = [endpoint.connect() for _ in range(5)]
    for one in slow:
        one.sendall(b"GET /metrics HT")
    began = time.monotonic()
    assert endpoint.get()[0] == 200
    # it waited for none of them, though all wait until the deadline
    assert time.monotonic() - began < DEADLINE_SECONDS
    descriptors, threads = endpoint.held()
    assert descriptors <= idle[0] + MOST_CONNECTIONS
    assert threads <= idle[1] + MOST_CONNECTIONS
    # those that were not pushed out are let go by the deadline
    wait_until(lambda: endpoint.held() == idle, DEADLINE_SECONDS + PATIENCE, "the connections are let go")
    for one in (*silent, *slow):
        one.close()


def test_scrapers_that_never_read_hold_up_nobody_and_are_let_go(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    # so small that an answer does not fit into what the kernel keeps for such a scraper
    endpoint = Endpoint(make_settings(listener_metrics_port=0), tmp_path / "log", send_buffer=2048)
    idle = endpoint.idle()
    deaf = [endpoint.connect(receive_buffer=2048) for _ in range(MOST_CONNECTIONS)]
    for one in deaf:
        one.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
    for one in deaf:
        assert one.recv(1) == b"H"
    assert endpoint.held()[1] == idle[1] + MOST_CONNECTIONS
    assert endpoint.get("/healthz")[0] == 503
    wait_until(lambda: endpoint.held() == idle, DEADLINE_SECONDS + PATIENCE, "the connections are let go")
    for one in deaf:
        one.close()
    assert endpoint.stop() == 0
    assert endpoint.log.read_text() == ""


def test_a_scraper_that_trickles_is_let_go_too(endpoint: Endpoint) -> None:
    endless = itertools.cycle(b"GET /metrics HTTP/1.1\r\nX: y\r\n")
    with endpoint.connect() as connection:

        def is_cut() -> bool:
            try:
                connection.sendall(bytes([next(endless)]))
            except OSError:
                return True
            return False

        wait_until(is_cut, DEADLINE_SECONDS + PATIENCE, "the connection is cut")


def test_many_scrapes_leave_nothing_behind(endpoint: Endpoint) -> None:
    idle = endpoint.idle()
    for _ in range(100):
        assert endpoint.get()[0] == 200
    wait_until(lambda: endpoint.held() == idle, PATIENCE, "the descriptors are closed")


def test_it_stops_at_once_whoever_is_connected(make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    endpoint = Endpoint(make_settings(listener_metrics_port=0), tmp_path / "log")
    idle = endpoint.idle()
    with endpoint.connect() as stalled:
        connected = time.monotonic()
        stalled.sendall(b"GET /met")
        wait_until(lambda: endpoint.held() > idle, PATIENCE, "it is connected")
        assert endpoint.stop() == 0
        # before the deadline would have ended the connection by itself
        assert time.monotonic() - connected < DEADLINE_SECONDS
    assert endpoint.log.read_text() == ""


def test_no_port_is_no_endpoint(make_settings: Callable[..., Settings]) -> None:
    assert bind_metrics(make_settings(listener_metrics_port=None)) is None


def test_a_taken_port_is_named_with_the_setting_to_change(make_settings: Callable[..., Settings]) -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Misconfigured, match=f"{port} is already in use.*LUNGWATCH_LISTENER_METRICS_PORT"):
            bind_metrics(make_settings(listener_metrics_port=port))
    with pytest.raises(Misconfigured, match="LUNGWATCH_METRICS_HOST must be an address of this machine"):
        bind_metrics(make_settings(listener_metrics_port=0, metrics_host="192.0.2.1"))
