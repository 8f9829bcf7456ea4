"""What is remembered of a data set's pictures between runs, so that one that goes on decodes nothing to find copies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from core.files import make_directories, write_durably
from training.datasets.assignment import Digests

_NAME: Final = "pictures.json"


def remembered(folder: Path) -> dict[str, str]:
    """Return digests of pictures by those of their files; empty where nothing, or nothing readable, lies there."""
    try:
        known = json.loads((folder / _NAME).read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def remember(folder: Path, digests: Mapping[str, Digests]) -> None:
    """Add digests to those that are remembered.

    Raises
    ------
    OSError
        Naming the file, if the disk refuses.
    """
    known = remembered(folder)
    # what is kept as a master is its own picture, and is not decoded in any case
    more = {found.file: found.picture for found in digests.values() if found.file != found.picture}
    if not more.items() <= known.items():
        make_directories(folder)
        write_durably(folder / _NAME, json.dumps(known | more).encode())
