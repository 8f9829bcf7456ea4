"""The two processes of `lungwatch listen`: ``python -m dicom_listener server`` and ``… registrar``.

Apart, so that the association path loads neither database nor broker, and so
that either can die without the other.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import TYPE_CHECKING, Final

from core.clock import SystemClock
from core.errors import LungwatchError, Misconfigured
from core.files import write_durably
from core.logging import configure
from core.settings import Settings, load

if TYPE_CHECKING:
    from dicom_listener.server import Listener

_FINE, _FAILED, _MISCONFIGURED = 0, 3, 2
_USAGE: Final = "usage: python -m dicom_listener server|registrar"


def announce(settings: Settings, listener: Listener) -> None:
    """Write ``listener-<name>.json`` into the data directory, for whoever needs the real port.

    Raises
    ------
    Misconfigured
        If the data directory cannot be written.
    """
    facts = {
        "ae_title": settings.ae_title,
        "host": settings.listen_host,
        "port": listener.port,
        "pid": os.getpid(),
        "incarnation": listener.incarnation,
        "started_at": SystemClock().now().isoformat(),
    }
    path = settings.data_dir / f"listener-{settings.listener_name}.json"
    try:
        write_durably(path, json.dumps(facts, indent=2).encode() + b"\n")
    except OSError as error:
        message = f"{path} cannot be written ({error.strerror}): give the data directory to the listener's user"
        raise Misconfigured(message) from None


def _run(part: str) -> int:
    settings = load()
    configure(settings)
    if part == "server":
        from dicom_listener.server import serve  # noqa: PLC0415 - see above

        return serve(settings, lambda listener: announce(settings, listener))
    from dicom_listener.registrar import main  # noqa: PLC0415

    return main(settings)


def run(arguments: list[str]) -> int:
    """Run one of the two and return its exit code."""
    if arguments not in (["server"], ["registrar"]):
        sys.stderr.write(f"{_USAGE}\n")
        return _MISCONFIGURED
    try:
        return _run(arguments[0])
    except LungwatchError as error:
        sys.stderr.write(f"lungwatch: {error}\n")
        return _MISCONFIGURED if isinstance(error, Misconfigured) else _FAILED


if __name__ == "__main__":
    code = run(sys.argv[1:])
    logging.shutdown()
    sys.stderr.flush()
    # a peer that holds a thread of ours must not keep the process from ending
    os._exit(code)
