"""Where a listener says it listens: a small file, because the port may have been the system's choice."""

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
    """Where a listener really listens, and under which name."""

    host: str
    port: int
    ae_title: str


def path(settings: Settings) -> Path:
    """Return the file of this machine's listener."""
    return settings.data_dir / f"listener-{settings.listener_name}.json"


def write(settings: Settings, address: Address, *, incarnation: str, started_at: datetime) -> None:
    """Say where we listen, with our process id and which run this is.

    Raises
    ------
    Misconfigured
        If the data directory cannot be written.
    """
    facts = {
        **asdict(address),
        "pid": os.getpid(),
        "incarnation": incarnation,
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
    """Return where the listener says it listens, or None while it has not said so."""
    try:
        said = json.loads(path(settings).read_bytes())
        return Address(str(said["host"]), int(said["port"]), str(said["ae_title"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
