"""Having a port, or saying clearly why not."""

from __future__ import annotations

import errno
import os
import socket
from typing import Final

from core.errors import Misconfigured

_BACKLOG: Final = 128


class PortTaken(Misconfigured):
    """Somebody else listens there."""


def listen_at(host: str, port: int, host_setting: str, port_setting: str) -> socket.socket:
    """Bind and listen at an address that two settings gave.

    Raises
    ------
    Misconfigured
        If the address cannot be had, naming the setting to change; `PortTaken` if another port may do.
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
        refused = PortTaken if number == errno.EADDRINUSE else Misconfigured
        raise refused(_refusal(f"{host} port {port}", number, host_setting, port_setting)) from None
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
