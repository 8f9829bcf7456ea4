"""Large arrays made once, part by part, and kept on disk; making one goes on where it was interrupted.

What is kept is as good as what was made: each part has a checksum, and from the first part on whose
checksum does not fit everything is made anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import math
import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from core.files import make_directories, sync_directory, write_durably
from training.errors import FitFailed, NoRoom

_ROWS: Final = 256
# left free beside the array: for the epochs' weights and the bundle
_SPARE: Final = 256 << 20
_UNITS: Final = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
# what the number of blocks of a file is counted in, whatever the file system's own
_BLOCK: Final = 512

Make = Callable[[slice], NDArray[Any]]


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
    dtype: DTypeLike = np.float32,
) -> NDArray[Any]:
    """Return an array, made now or earlier.

    Parameters
    ----------
    folder : Path
        Where such arrays lie; each is one file named by its digest. Several processes may use it.
    digest : str
        Of everything the array depends on (`digest_of`): another digest is another array.
    shape : tuple of int
        Of the whole; its first axis is what `make` is asked for parts of.
    make : callable
        From a slice of rows to those rows; asked from some row on, part after part.
    advance : callable
        Told how many more rows there are.
    rows : int
        Of a part: what is in memory at a time.

    Returns
    -------
    ndarray of `dtype`
        Read-only, mapped from the file: what is looked at can be forgotten again whenever memory is short.

    Raises
    ------
    NoRoom
        If the disk has no room for it, said before anything is made.
    FitFailed
        If the disk refuses.
    """
    done, partial, sums = (folder / f"{digest}{ending}" for ending in (".npy", ".partial", ".sums"))
    layout = _Layout(shape, np.dtype(dtype), rows)
    with _alone(folder):
        known = _sums(sums)
        good = _good_parts(done if done.exists() else partial, layout, known)
        advance(min(good * rows, shape[0]))
        if not done.exists() or good < len(layout.parts):
            with _refusals_named(folder):
                if done.exists():
                    done.rename(partial)
                file = _opened(partial, layout, anew=good == 0)
            with file:
                for number, part in enumerate(layout.parts[good:], start=good):
                    content = np.ascontiguousarray(make(part), dtype).data
                    known = [*known[:number], zlib.crc32(content)]
                    with _refusals_named(folder):
                        file.seek(len(layout.head()) + part.start * layout.row)
                        file.write(content)
                        # first the rows, then the word that they are there
                        file.flush()
                        os.fsync(file.fileno())
                        write_durably(sums, json.dumps(known).encode())
                    advance(part.stop - part.start)
            partial.rename(done)
            sync_directory(folder)
        found: NDArray[Any] = np.load(done, mmap_mode="r")
        return found


@dataclass(frozen=True, slots=True)
class _Layout:
    """What of the file lies where; bytes."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    rows: int

    @property
    def parts(self) -> list[slice]:
        count = self.shape[0]
        return [slice(start, min(start + self.rows, count)) for start in range(0, count, self.rows)]

    @property
    def row(self) -> int:
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    def head(self) -> bytes:
        stream = io.BytesIO()
        descr = np.lib.format.dtype_to_descr(self.dtype)
        np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": self.shape})
        return stream.getvalue()


@contextmanager
def _refusals_named(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise FitFailed(f"{folder}: what is kept of the images could not be written: {why}") from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep other processes from making the same array meanwhile; they wait and find it made."""
    with _refusals_named(folder):
        make_directories(folder)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _opened(path: Path, layout: _Layout, *, anew: bool) -> BinaryIO:
    """Open the file with room for all rows, so that a full disk is met now and not after hours."""
    file = path.open("w+b" if anew else "r+b")
    try:
        head = layout.head()
        size = len(head) + layout.shape[0] * layout.row
        _refuse_full(path.parent, layout.shape[0], size, os.fstat(file.fileno()).st_blocks * _BLOCK)
        file.write(head)
        file.flush()
        os.posix_fallocate(file.fileno(), 0, size)
    except BaseException:
        file.close()
        if anew:
            path.unlink()
        raise
    return file


def _refuse_full(folder: Path, images: int, size: int, taken: int) -> None:
    free = shutil.disk_usage(folder).free
    if size - taken + _SPARE > free:
        raise NoRoom(
            f"{folder}: {images} images take {_readable(size)} there; {_readable(free)} are free, and "
            f"{_readable(_SPARE)} must stay so. Make room, or keep it on another disk"
        )


def _readable(size: int) -> str:
    """Return a number of bytes as people read it."""
    for unit, scale in _UNITS:
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} bytes"


def _sums(path: Path) -> list[int]:
    try:
        known = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return []
    return known if isinstance(known, list) else []


def _good_parts(path: Path, layout: _Layout, known: list[int]) -> int:
    """Return how many parts, from the first on, are as they were made."""
    try:
        with path.open("rb") as file:
            head = layout.head()
            if file.read(len(head)) != head:
                return 0
            for number, part in enumerate(layout.parts):
                # a file that is cut short has another sum, too
                content = file.read((part.stop - part.start) * layout.row)
                if number >= len(known) or zlib.crc32(content) != known[number]:
                    return number
    except OSError:
        return 0
    return len(layout.parts)
