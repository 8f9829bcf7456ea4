"""`lungwatch listen`: the DICOM listener and its registrar, two processes under one supervisor."""

from __future__ import annotations

import os
import sys
from typing import Final

import typer

from cli.data_directory import prepare_data
from cli.supervisor import Plan, Supervisor
from core.errors import ExitCode
from core.logging import configure, get
from core.settings import Settings, load
from dicom_listener import announcement

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
    orderly = supervise(settings)
    raise typer.Exit(ExitCode.FINE if orderly else ExitCode.FINDING)


def plans(settings: Settings) -> list[Plan]:
    """Plan the two children: the registrar stops last, so that it registers what the drain has finished."""
    us = (sys.executable, "-m", "dicom_listener")
    return [
        Plan("server", (*us, "server"), settings.drain_timeout + _GRACE_SECONDS, stage=0),
        Plan("registrar", (*us, "registrar"), _GRACE_SECONDS, stage=1),
    ]


def supervise(settings: Settings) -> bool:
    """Keep both running until told to stop; return whether both stopped by themselves.

    Raises
    ------
    Misconfigured
        If one of them cannot start.
    """
    prepare_data(settings)
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
            supervisor.amend(LUNGWATCH_LISTEN_PORT=str(address.port))
            _log.info("listening", port=address.port, ae_title=settings.ae_title)

    supervisor = Supervisor(plans(settings), os.environ)
    try:
        return supervisor.run(attend)
    finally:
        path.unlink(missing_ok=True)
