from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import Misconfigured
from core.settings import Settings
from dicom_listener.binding import bind

REPOSITORY = Path(__file__).resolve().parents[3]
LOOPBACK = "127.0.0.1"


def test_a_free_port_is_had_and_a_taken_one_named(make_settings: Callable[..., Settings]) -> None:
    with bind(make_settings(listen_port=0)) as listening:
        port = listening.getsockname()[1]
        with socket.create_connection((LOOPBACK, port), timeout=5):
            pass
        with pytest.raises(Misconfigured, match=f"{LOOPBACK} port {port} is already in use.*LUNGWATCH_LISTEN_PORT"):
            bind(make_settings(listen_port=port))


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
