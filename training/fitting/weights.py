"""Keras' weights files, written whole or not at all, also where a disk is full."""

from __future__ import annotations

import math
import os
import secrets
import tempfile
from pathlib import Path
from typing import Any, Final

from bundle.manifest import WEIGHTS
from core.files import move_durably

# what HDF5 adds: to each array, and in all
_EACH: Final = 4 << 10
_MORE: Final = 1 << 20
_UNFINISHED: Final = ".unfinished-"


def save_weights(model: Any, path: Path) -> None:
    """Write weights, and the optimiser's if the network has one.

    Parameters
    ----------
    path : Path
        Ends in ``.weights.h5``.

    Raises
    ------
    OSError
        If the disk refuses; an older file is then as it was.
    """
    # what was killed in the middle left them behind
    for left in path.parent.glob(f"{_UNFINISHED}*"):
        left.unlink(missing_ok=True)
    # Keras wants the ending; hidden, so that nothing takes it for an epoch; a name of its own, so that a process that
    # was stopped here and lost its place writes into no other's file
    temporary = path.with_name(f"{_UNFINISHED}{secrets.token_hex(4)}.weights.h5")
    try:
        with temporary.open("wb") as file:
            # HDF5 ends the process by a segmentation fault where it cannot write whole: see first that there is room
            os.posix_fallocate(file.fileno(), 0, _size(model))
        model.save_weights(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        move_durably(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def weights_of(model: Any) -> bytes:
    """Return the content of ``model.weights.h5``: weights alone, no optimiser and no code."""
    with tempfile.TemporaryDirectory(prefix="lungwatch-") as folder:
        path = Path(folder) / WEIGHTS
        save_weights(model, path)
        return path.read_bytes()


def _size(model: Any) -> int:
    optimizer = getattr(model, "optimizer", None)
    variables = [*model.variables, *(optimizer.variables if optimizer else ())]
    # none of them is wider than eight bytes, most are four
    return _MORE + sum(_EACH + 8 * int(math.prod(variable.shape)) for variable in variables)
