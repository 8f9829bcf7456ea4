from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import Misconfigured
from core.settings import Settings
from dicom_listener.binding import bind, check_ports

REPOSITORY = Path(__file__).resolve().parents[3]
LOOPBACK = "127.0.0.1"


def test_a_free_port_is_had_and_a_taken_one_named(make_settings: Callable[..., Settings]) -> None:
    listening = bind(make_settings(listen_port=0))
    assert listening is not None
    with listening:
        port = listening.getsockname()[1]
        with socket.create_connection((LOOPBACK, port), timeout=5):
            pass
        with pytest.raises(Misconfigured, match=f"{LOOPBACK} port {port} is already in use.*LUNGWATCH_LISTEN_PORT"):
            bind(make_settings(listen_port=port))


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server((LOOPBACK, 0)) as listening:
        yield listening.getsockname()[1]


# no file is opened to check a port
TLS = {"tls_certificate_file": "tls.crt", "tls_key_file": "tls.key", "tls_port": 0}


@pytest.mark.parametrize("name", ["listen_port", "tls_port", "listener_metrics_port"])
def test_whichever_port_is_taken_is_named(make_settings: Callable[..., Settings], taken: int, name: str) -> None:
    settings = make_settings(**{**TLS, "listener_metrics_port": 0, name: taken})
    with pytest.raises(Misconfigured, match=f"port {taken} is already in use.*LUNGWATCH_{name.upper()} "):
        check_ports(settings)


@pytest.mark.parametrize(
    "wanted",
    [
        {"listener_metrics_port": 0},
        {"listener_metrics_port": None, **TLS},
        # the port is another's, and not wanted
        {"listener_metrics_port": None, **TLS, "listen_plain": False, "listen_port": "taken"},
    ],
)
def test_what_is_free_is_let_go_and_what_is_not_wanted_not_asked_for(
    make_settings: Callable[..., Settings], taken: int, wanted: dict[str, Any]
) -> None:
    given = {name: taken if name == "listen_port" else value for name, value in wanted.items()}
    check_ports(make_settings(**given))
    check_ports(make_settings(**given))


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid", "x" * 64 + ".example", "::ffff:0:0:0:1"])
def test_an_address_that_is_not_ours_is_named(make_settings: Callable[..., Settings], host: str) -> None:
    with pytest.raises(Misconfigured, match=f"cannot listen on {host} port 0 .*LUNGWATCH_LISTEN_HOST"):
        bind(make_settings(listen_host=host))


def test_a_port_that_does_not_exist_is_no_traceback(settings: Settings) -> None:
    with pytest.raises(Misconfigured, match="port 70000"):
        bind(settings.model_copy(update={"listen_port": 70000}))


def test_the_check_loads_no_dicom_library() -> None:
    code = "import sys, dicom_listener.binding; sys.exit('pynetdicom' in sys.modules or 'pydicom' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)
