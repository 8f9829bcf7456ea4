"""Having the listener's ports, or saying clearly why not; light enough for a check before anything starts."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import ExitStack
from typing import Final

from core.errors import Misconfigured
from core.settings import Settings

_BACKLOG: Final = 128


def check_ports(settings: Settings) -> None:
    """Have each port that the listener is to serve, and let them go again.

    Raises
    ------
    Misconfigured
        If one cannot be had, naming it.
    """
    with ExitStack() as held:
        for had in (bind, bind_tls, bind_metrics):
            listening = had(settings)
            if listening is not None:
                held.enter_context(listening)


def bind(settings: Settings) -> socket.socket | None:
    """Bind and listen for associations without TLS; None where none are wanted. Port 0 lets the system choose.

    Raises
    ------
    Misconfigured
        If the address cannot be had.
    """
    if not settings.listen_plain:
        return None
    return listen_at(settings.listen_host, settings.listen_port, "LUNGWATCH_LISTEN_HOST", "LUNGWATCH_LISTEN_PORT")


def bind_tls(settings: Settings) -> socket.socket | None:
    """Bind and listen for associations over TLS; None where none are wanted.

    Raises
    ------
    Misconfigured
        If the address cannot be had.
    """
    if settings.tls_port is None:
        return None
    return listen_at(settings.listen_host, settings.tls_port, "LUNGWATCH_LISTEN_HOST", "LUNGWATCH_TLS_PORT")


def bind_metrics(settings: Settings) -> socket.socket | None:
    """Bind and listen for the Prometheus endpoint; None where none is wanted.

    Raises
    ------
    Misconfigured
        If the address cannot be had.
    """
    port = settings.listener_metrics_port
    if port is None:
        return None
    return listen_at(settings.metrics_host, port, "LUNGWATCH_METRICS_HOST", "LUNGWATCH_LISTENER_METRICS_PORT")


def listen_at(host: str, port: int, host_setting: str, port_setting: str) -> socket.socket:
    """Bind and listen at an address that two settings gave.

    Raises
    ------
    Misconfigured
        If the address cannot be had, naming the setting to change.
    """
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except (OSError, OverflowError, UnicodeError) as error:
        # a port beyond 65535 overflows, a name no resolver can ask for cannot be encoded
        listening.close()
        number = getattr(error, "errno", None)
        raise Misconfigured(_refusal(f"{host} port {port}", number, host_setting, port_setting)) from None
    return listening


def _refusal(where: str, number: int | None, host_setting: str, port_setting: str) -> str:
    match number:
        case errno.EADDRINUSE:
            return f"{where} is already in use: stop what listens there or set {port_setting} to another"
        case errno.EACCES:
            return f"{where} may not be bound by this user: set {port_setting} above 1023"
        case _:
            # the resolver's own numbers are negative
            why = os.strerror(number) if number is not None and number > 0 else "no such address"
            return f"cannot listen on {where} ({why}): {host_setting} must be an address of this machine"
