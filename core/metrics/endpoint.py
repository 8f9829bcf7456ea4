"""A Prometheus endpoint that no scraper can turn against the process that answers.

The standard library speaks HTTP and prometheus_client answers. Ours is only
what neither has: one deadline for the whole of a connection, however little
its scraper reads or writes at a time, and a handful of connections at most, of
which the oldest goes when one more comes. A scraper that stalls costs nobody
anything, and one that asks without end is made to wait where the process has
other work (`serve`, `pause_seconds`).
"""

from __future__ import annotations

import contextlib
import io
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import IO, TYPE_CHECKING, Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.registry import Collector

from core.logging import get, safe_error

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

# an answer is some tens of kilobytes, a scraper gives up after ten seconds
DEADLINE_SECONDS: Final = 5.0
MOST_CONNECTIONS: Final = 8
# a request is a few hundred bytes
_LONGEST_REQUEST: Final = 8192
_LOOK_SECONDS: Final = 0.5
_TEXT: Final = ("Content-Type", "text/plain; charset=utf-8")

_log = get(__name__)


def serve(
    listening: socket.socket,
    collectors: Iterable[Collector],
    healthy: Callable[[], bool],
    stop: Callable[[float], bool],
    *,
    pause_seconds: float = 0.0,
) -> None:
    """Answer GET /metrics, and GET /healthz (200 or 503), until told to stop.

    Returns at once then, whoever is connected: the process is to end with it.

    Parameters
    ----------
    listening : socket.socket
        Bound and listening; may be shared with processes that never accept from it.
    collectors : iterable of Collector
        What there is to show.
    healthy : callable
        Whether all is well.
    stop : callable
        Waits as many seconds for the wish to stop and says whether it came, as
        `core.signals.StopSignals.wait` and `threading.Event.wait` do.
    pause_seconds : float
        Between two connections, so that whoever asks without end gets no more than a share of this process.
    """
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    server = _Server(listening, _Application(make_wsgi_app(registry), healthy), pause_seconds)
    serving = threading.Thread(target=server.serve_forever, name="scrapes", args=(_LOOK_SECONDS,), daemon=True)
    serving.start()
    # should the thread die, so does the process where it has no other work, and is started again then
    while serving.is_alive() and not stop(_LOOK_SECONDS):
        pass


class _Application:
    """What is served (PEP 3333): prometheus_client's application at one path, our health at another."""

    def __init__(self, metrics: Callable[..., Iterable[bytes]], healthy: Callable[[], bool]) -> None:
        self._metrics = metrics
        self._healthy = healthy

    def __call__(self, environment: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]]) -> None:
            # who answers is nobody's business, least of all its version
            start_response(status, [*headers, ("Server", "lungwatch")])

        match environment["PATH_INFO"]:
            case "/metrics":
                try:
                    return self._metrics(environment, start)
                except Exception as error:  # noqa: BLE001 - the edge: a scrape that fails must not end the endpoint
                    _log.error("scrape_failed", **safe_error(error))
                status, body = "500 Internal Server Error", ""
            case "/healthz":
                status = body = "200 OK" if self._healthy() else "503 Service Unavailable"
            case _:
                status, body = "404 Not Found", "see /metrics"
        start(status, [_TEXT])
        return [f"{body}\n".encode()]


class _Capped(io.RawIOBase):
    """A stream that ends after so many bytes: http.server alone would keep 6 MB of header fields."""

    def __init__(self, stream: Any) -> None:
        self._stream: io.RawIOBase = stream
        self._left = _LONGEST_REQUEST

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count: int = self._stream.readinto(memoryview(buffer)[: self._left])
        self._left -= count
        return count

    def close(self) -> None:
        self._stream.close()
        super().close()


class _Handler(WSGIRequestHandler):
    """One request: the standard library's, which answers one a connection, made silent."""

    server_version = "lungwatch"
    sys_version = ""
    # reads pass `_Capped` before they are buffered
    rbufsize = 0

    def setup(self) -> None:
        super().setup()
        self.rfile = io.BufferedReader(_Capped(self.rfile))

    def get_stderr(self) -> IO[str]:
        # tracebacks quote what was received; what matters is logged by `_Application` and `_Server`
        return io.StringIO()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        """Log nothing: it is received text."""


class _Server(ThreadingMixIn, WSGIServer):
    """Accepts, a thread a connection; see this module."""

    daemon_threads = True

    def __init__(self, listening: socket.socket, application: _Application, pause_seconds: float) -> None:
        super().__init__(listening.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment] # text, since it is IP
        self.setup_environ()
        self.set_app(application)
        self._lock = threading.Lock()
        # in the order they came, with the time they must have ended by
        self._open: dict[Any, float] = {}
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._pause_seconds = pause_seconds

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread; if there are too many, in place of the oldest."""
        with self._lock:
            if len(self._open) >= MOST_CONNECTIONS:
                _cut(next(iter(self._open)))
        # at once: all that its thread can do with a connection that is cut is to end
        self._free.acquire()
        with self._lock:
            self._open[request] = time.monotonic() + DEADLINE_SECONDS
        super().process_request(request, client_address)
        time.sleep(self._pause_seconds)

    def service_actions(self) -> None:
        """Cut who has had his time; called every now and then by `serve_forever`."""
        with self._lock:
            for request, deadline in self._open.items():
                if time.monotonic() > deadline:
                    _cut(request)

    def close_request(self, request: Any) -> None:
        """Close a connection; all of them end here."""
        with self._lock:
            del self._open[request]
        super().close_request(request)
        self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the standard library's
        """Log what is not the scraper's fault."""
        error = sys.exception()
        if error is not None and not isinstance(error, OSError):
            _log.error("scrape_failed", **safe_error(error))


def _cut(connection: socket.socket) -> None:
    # wakes the thread that reads or writes; it closes
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
