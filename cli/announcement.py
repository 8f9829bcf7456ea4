"""Where a listener says it listens: a small file, because the port may have been the system's choice."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from core.settings import Settings


@dataclass(frozen=True, slots=True)
class Address:
    """Where the listener really listens."""

    host: str
    port: int
    ae_title: str


def announcement_path(settings: Settings) -> Path:
    """Return the file of this machine's listener."""
    return settings.data_dir / f"listener-{settings.listener_name}.json"


def read_announcement(path: Path, settings: Settings) -> Address | None:
    """Return where the listener says it listens, or None while it has not said so."""
    try:
        said = json.loads(path.read_bytes())
        return Address(str(said.get("host", settings.listen_host)), int(said["port"]), settings.ae_title)
    except (FileNotFoundError, ValueError, KeyError):
        return None
