"""Having the listener's ports, or saying clearly why not; light enough for a check before anything starts."""

from __future__ import annotations

import socket
from contextlib import ExitStack

from core.ports import listen_at
from core.settings import Settings


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
