"""The two processes of `lungwatch listen`: ``python -m dicom_listener server`` and ``… registrar``.

Apart, so that the association path loads neither database nor broker, and so
that either can die without the other.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Final

from core.clock import SystemClock
from core.errors import ExitCode, LungwatchError, Misconfigured
from core.logging import configure
from core.settings import Settings, load
from dicom_listener import announcement
from dicom_listener.heap import keep_one_heap

if TYPE_CHECKING:
    from dicom_listener.server import Ports

_USAGE: Final = "usage: python -m dicom_listener server|registrar"


def _announce(settings: Settings, ports: Ports) -> None:
    address = announcement.Address(settings.listen_host, ports.plain, settings.ae_title, ports.tls, ports.metrics)
    announcement.write(settings, address, started_at=SystemClock().now())


def _run(part: str) -> int:
    settings = load()
    configure(settings)
    if part == "server":
        from dicom_listener.server import serve  # noqa: PLC0415 - see above

        keep_one_heap()
        return serve(settings, lambda ports: _announce(settings, ports))
    from dicom_listener.registrar.registrar import main  # noqa: PLC0415

    return main(settings)


def run(arguments: list[str]) -> int:
    """Run one of the two and return its exit code."""
    if arguments not in (["server"], ["registrar"]):
        sys.stderr.write(f"{_USAGE}\n")
        return ExitCode.MISCONFIGURED
    try:
        return _run(arguments[0])
    except LungwatchError as error:
        sys.stderr.write(f"lungwatch: {error}\n")
        return ExitCode.MISCONFIGURED if isinstance(error, Misconfigured) else ExitCode.OUTSIDE


if __name__ == "__main__":
    code = run(sys.argv[1:])
    logging.shutdown()
    sys.stderr.flush()
    # a peer that holds a thread of ours must not keep the process from ending
    os._exit(code)
