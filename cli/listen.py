"""`lungwatch listen`: the DICOM listener and its registrar, two processes under one supervisor."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import typer

from cli.data_directory import prepare_data
from cli.supervisor import Plan, Supervisor
from core.errors import ExitCode
from core.logging import configure, get
from core.settings import Settings, load
from dicom_listener import announcement
from dicom_listener.announcement import Address
from dicom_listener.binding import check_ports

# beyond what the listener grants its associations; a registrar whose database hangs is killed, which loses nothing
_GRACE_SECONDS: Final = 5.0

_log = get(__name__)


def listen() -> None:
    """Receive studies by DICOM, store them in the spool and register them in the ledger.

    C-ECHO and C-STORE for every storage class. Success is answered once an instance is safe on disk; neither database
    nor broker is needed for that. The real port, also where LUNGWATCH_LISTEN_PORT is 0, stands in
    listener-NAME.json in the data directory. SIGTERM or Ctrl-C stops accepting at once, finishes what is in
    flight and leaves with 0. Exit code 2: a setting, the port or the spool is wrong.
    """
    settings = load()
    configure(settings)
    prepare_data(settings)
    check_ports(settings)

    def listening(address: Address) -> None:
        _log.info("listening", port=address.port, ae_title=address.ae_title)

    orderly = supervise(settings, plans(settings), os.environ, listening)
    raise typer.Exit(ExitCode.FINE if orderly else ExitCode.FINDING)


def plans(settings: Settings) -> list[Plan]:
    """Plan the two children: the registrar stops last, so that it registers what the drain has finished."""
    us = (sys.executable, "-m", "dicom_listener")
    return [
        Plan("server", (*us, "server"), settings.drain_timeout + _GRACE_SECONDS, stage=0),
        Plan("registrar", (*us, "registrar"), _GRACE_SECONDS, stage=1),
    ]


def supervise(
    settings: Settings,
    planned: Sequence[Plan],
    environment: Mapping[str, str],
    listening: Callable[[Address], None],
    changed: Callable[[Mapping[str, int]], None] = lambda _: None,
) -> bool:
    """Keep a listener, and what is planned beside it, running until told to stop.

    Parameters
    ----------
    settings : Settings
        Say where the server announces itself.
    planned : sequence of Plan
        `plans` and perhaps more.
    environment : mapping
        What children inherit.
    listening : callable
        Called once, when the server first says where it listens.
    changed : callable
        Called with names and process ids of those that run, whenever they have changed.

    Returns
    -------
    bool
        Whether all stopped by themselves.

    Raises
    ------
    Misconfigured
        If one of them cannot start.
    """
    path = announcement.path(settings)
    path.unlink(missing_ok=True)
    announced = False

    def attend() -> None:
        nonlocal announced
        if announced:
            return
        address = announcement.read(settings)
        if address is not None:
            announced = True
            # a server that is started again must come back where the PACS expects it
            ports = {
                "LUNGWATCH_LISTEN_PORT": address.port,
                "LUNGWATCH_TLS_PORT": address.tls_port,
                "LUNGWATCH_LISTENER_METRICS_PORT": address.metrics_port,
            }
            supervisor.amend(**{name: str(port) for name, port in ports.items() if port is not None})
            listening(address)

    supervisor = Supervisor(planned, environment, changed=lambda: changed(supervisor.processes))
    try:
        return supervisor.run(attend)
    finally:
        path.unlink(missing_ok=True)
