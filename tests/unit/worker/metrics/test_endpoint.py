from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from http.client import HTTPConnection

import pytest
from sqlalchemy import Engine

from core.ports import listen_at
from core.settings import Settings
from db.base import make_readers
from tests.waiting import wait_until
from worker.metrics.endpoint import PORTS, bind, start
from worker.metrics.figures import Figures

MakeSettings = Callable[..., Settings]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port: int = unused.getsockname()[1]
        return port


def get(port: int, path: str) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_workers_of_one_host_take_one_free_port_after_another(make_settings: MakeSettings) -> None:
    first = free_port()
    settings = make_settings(worker_metrics_port=first)
    ports = []
    held = []
    for _ in range(3):
        listening = bind(settings)
        assert listening is not None
        held.append(listening)
        ports.append(listening.getsockname()[1])
    assert ports[0] >= first
    assert ports == sorted(set(ports))
    assert ports[-1] < first + PORTS
    for listening in held:
        listening.close()


@pytest.mark.parametrize("changes", [{"worker_metrics_port": None}, {"metrics_host": "192.0.2.1"}])
def test_no_port_or_one_that_cannot_be_had_is_no_endpoint_and_no_fault(
    make_settings: MakeSettings, changes: dict[str, object]
) -> None:
    assert bind(make_settings(**changes)) is None


def test_an_address_that_cannot_be_had_is_tried_once(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def listen(host: str, port: int, *names: str) -> socket.socket:
        tried.append(port)
        return listen_at(host, port, *names)

    monkeypatch.setattr("worker.metrics.endpoint.listen_at", listen)
    assert bind(make_settings(metrics_host="192.0.2.1")) is None
    assert len(tried) == 1


def test_the_listeners_ports_are_left_to_it(make_settings: MakeSettings) -> None:
    first = free_port()
    named = {"listen_port": first, "listener_metrics_port": first + 1}
    listening = bind(make_settings(worker_metrics_port=first, **named))
    assert listening is not None
    assert listening.getsockname()[1] > first + 1
    listening.close()


def test_when_all_are_taken_there_is_none(make_settings: MakeSettings) -> None:
    with socket.create_server(("127.0.0.1", 65535)):
        assert bind(make_settings(worker_metrics_port=65535)) is None


def test_it_shows_the_workers_figures_and_the_ledgers(make_settings: MakeSettings, sqlite_engine: Engine) -> None:
    figures, stopping = Figures(), threading.Event()
    port = start(make_settings(worker_metrics_port=0), figures, make_readers(sqlite_engine), stopping)
    assert port is not None
    assert get(port, "/healthz")[0] == 503
    figures.able(well=True)
    assert get(port, "/healthz")[0] == 200
    figures.attempt_started()
    status, body = get(port, "/metrics")
    assert status == 200
    assert "lungwatch_worker_attempts_total 1.0" in body
    assert "lungwatch_ledger_up 1.0" in body
    assert get(port, "/metrics?name[]=lungwatch_ledger_up")[1].splitlines()[-1] == "lungwatch_ledger_up 1.0"
    stopping.set()
    wait_until(
        lambda: all(thread.name != "metrics" for thread in threading.enumerate()), 30, "nothing waits for a scraper"
    )
