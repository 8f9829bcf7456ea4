"""One run at a time in a working folder; a lock that ends with its process, however that ended."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from core.files import make_directories
from training.errors import FitFailed

# a file of its own: the folder itself may be locked by those who keep arrays in it (`training.datasets.cache`)
_LOCK: Final = ".lock"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep every other run out of a working folder for as long as the block lasts.

    Parameters
    ----------
    folder : Path
        Made if it is not there.

    Raises
    ------
    FitFailed
        If another run is at work there, or the operating system refuses.
    """
    descriptor = _locked(folder)
    try:
        yield
    finally:
        with suppress(OSError):
            if [found.name for found in folder.iterdir()] == [_LOCK]:
                # nothing was done: then nothing is left
                (folder / _LOCK).unlink()
                folder.rmdir()
        os.close(descriptor)


def _locked(folder: Path) -> int:
    """Return a descriptor whose closing unlocks the folder."""
    path = folder / _LOCK
    try:
        make_directories(folder)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # whoever was here may have removed it between our two calls, and a third have made another
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError as error:
        raise FitFailed(f"{folder} cannot be worked in: {error.strerror}; choose another --out") from error
    raise FitFailed(f"{folder}: another run of it is at work there; wait until it has ended, or choose another --out")
