"""Large arrays made once, row by row, and kept on disk; making one goes on where it was interrupted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.files import make_directories, sync_directory, write_durably

_ROWS: Final = 256

Make = Callable[[slice], NDArray[np.float32]]


def digest_of(*parts: object) -> str:
    """Return one SHA-256 over what an array is made of, 64 hexadecimal digits; parts must be JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def cached(  # noqa: PLR0917 - where, what, how
    folder: Path,
    digest: str,
    shape: tuple[int, ...],
    make: Make,
    advance: Callable[[int], None] = lambda _: None,
    rows: int = _ROWS,
) -> NDArray[np.float32]:
    """Return an array, made now or earlier.

    Parameters
    ----------
    folder : Path
        Where such arrays lie; each is one file named by its digest.
    digest : str
        Of everything the array depends on (`digest_of`): another digest is another array.
    shape : tuple of int
        Of the whole; its first axis is what `make` is asked for parts of.
    make : callable
        From a slice of rows to those rows, float32.
    advance : callable
        Told how many more rows there are.

    Returns
    -------
    ndarray of float32
        Read-only, mapped from the file: what is not looked at takes no memory.
    """
    done, partial, count = (folder / f"{digest}{ending}" for ending in (".npy", ".partial", ".rows"))
    if not done.exists():
        make_directories(folder)
        begun = _rows_made(partial, count, shape)
        # the header says the shape, so a file of another is never gone on with
        array = np.lib.format.open_memmap(partial, mode="r+" if begun else "w+", dtype=np.float32, shape=shape)
        advance(begun)
        for start in range(begun, shape[0], rows):
            part = slice(start, min(start + rows, shape[0]))
            array[part] = make(part)
            # first the rows, then the word that they are there
            array.flush()
            write_durably(count, str(part.stop).encode())
            advance(part.stop - part.start)
        del array
        partial.rename(done)
        sync_directory(folder)
        count.unlink(missing_ok=True)
    else:
        advance(shape[0])
    found: NDArray[np.float32] = np.load(done, mmap_mode="r")
    return found


def _rows_made(partial: Path, count: Path, shape: tuple[int, ...]) -> int:
    try:
        made = int(count.read_text())
        found = np.load(partial, mmap_mode="r")
    except (OSError, ValueError):
        return 0
    return made if found.shape == shape and found.dtype == np.float32 and 0 <= made <= shape[0] else 0
