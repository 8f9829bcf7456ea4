"""Where a listener says it listens: a small file, because ports may have been the system's choice."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from core.errors import Misconfigured
from core.files import write_durably
from core.settings import Settings


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener really listens, and under which name.

    Attributes
    ----------
    host : str
        For associations.
    port : int or None
        Where it takes associations without TLS; None where it takes none.
    ae_title : str
    tls_port : int or None
        Where it takes associations over TLS; None where it takes none.
    metrics_port : int or None
        Of its Prometheus endpoint, at ``LUNGWATCH_METRICS_HOST``; None where there is none.
    """

    host: str
    port: int | None
    ae_title: str
    tls_port: int | None = None
    metrics_port: int | None = None


def path(settings: Settings) -> Path:
    """Return the file of this machine's listener."""
    return settings.data_dir / f"listener-{settings.listener_name}.json"


def write(settings: Settings, address: Address, *, started_at: datetime) -> None:
    """Say where we listen, with our process id and since when.

    Raises
    ------
    Misconfigured
        If the data directory cannot be written.
    """
    facts = {
        **asdict(address),
        "pid": os.getpid(),
        "started_at": started_at.isoformat(),
    }
    try:
        write_durably(path(settings), json.dumps(facts, indent=2).encode() + b"\n")
    except OSError as error:
        message = (
            f"{path(settings)} cannot be written ({error.strerror}): give the data directory to the listener's user"
        )
        raise Misconfigured(message) from None


def read(settings: Settings) -> Address | None:
    """Return where the listener says it listens, or None while it has not said so.

    One of an earlier version says nothing of the later ports.
    """
    try:
        said = json.loads(path(settings).read_bytes())
        return Address(
            str(said["host"]),
            None if said["port"] is None else int(said["port"]),
            str(said["ae_title"]),
            _port(said.get("tls_port")),
            _port(said.get("metrics_port")),
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _port(said: object) -> int | None:
    return said if isinstance(said, int) else None
