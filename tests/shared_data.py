"""The public radiographs, where they are at hand; they are never part of the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_BESIDE_CHECKOUT = Path(__file__).resolve().parents[2] / "shared" / "data"


def shared_data(name: str) -> Path:
    """Return the path of a data file, or skip the test naming what is missing."""
    root = Path(os.environ.get("LUNGWATCH_SHARED_DATA", _BESIDE_CHECKOUT))
    path = root / name
    if not path.is_file():
        pytest.skip(f"{name} is not at hand; point LUNGWATCH_SHARED_DATA at the folder that holds it")
    return path
