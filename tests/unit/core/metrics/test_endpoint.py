"""The pause; how scrapers are served is shown with the listener's endpoint, in tests/unit/dicom_listener/metrics."""

from __future__ import annotations

import http.client
import threading
import time

from prometheus_client import CollectorRegistry, Gauge

from core.metrics import endpoint
from core.ports import listen_at

PAUSE_SECONDS = 0.2
ASKED = 5


def test_whoever_asks_without_end_gets_a_share() -> None:
    registry = CollectorRegistry()
    Gauge("answer", "", registry=registry).set(42)
    listening, stop = listen_at("127.0.0.1", 0, "", ""), threading.Event()
    server = threading.Thread(
        target=endpoint.serve,
        args=(listening, [registry], lambda: True, stop.wait),
        kwargs={"pause_seconds": PAUSE_SECONDS},
    )
    server.start()
    try:
        began = time.monotonic()
        for _ in range(ASKED):
            connection = http.client.HTTPConnection(*listening.getsockname(), timeout=30)
            connection.request("GET", "/metrics")
            assert b"answer 42.0" in connection.getresponse().read()
            connection.close()
        assert time.monotonic() - began > (ASKED - 1) * PAUSE_SECONDS
    finally:
        stop.set()
        server.join(10)
