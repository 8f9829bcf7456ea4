"""Having the listener's port, or saying clearly why not; light enough for a check before anything starts."""

from __future__ import annotations

import errno
import os
import socket
from typing import Final

from core.errors import Misconfigured
from core.settings import Settings

_BACKLOG: Final = 128


def bind(settings: Settings) -> socket.socket:
    """Bind and listen; port 0 lets the system choose.

    Raises
    ------
    Misconfigured
        If the address cannot be had.
    """
    host, port = settings.listen_host, settings.listen_port
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except (OSError, OverflowError, UnicodeError) as error:
        # a port beyond 65535 overflows, a name no resolver can ask for cannot be encoded
        listening.close()
        raise Misconfigured(_refusal(f"{host} port {port}", getattr(error, "errno", None))) from None
    return listening


def _refusal(where: str, number: int | None) -> str:
    match number:
        case errno.EADDRINUSE:
            return f"{where} is already in use: stop what listens there or set LUNGWATCH_LISTEN_PORT to another"
        case errno.EACCES:
            return f"{where} may not be bound by this user: set LUNGWATCH_LISTEN_PORT above 1023"
        case _:
            # the resolver's own numbers are negative
            why = os.strerror(number) if number is not None and number > 0 else "no such address"
            return f"cannot listen on {where} ({why}): LUNGWATCH_LISTEN_HOST must be an address of this machine"
