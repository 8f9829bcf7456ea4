"""Writing files so that a crash leaves either the old content, the new content or a stray temporary."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable: a rename survives power loss only after this."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directories(directory: Path, mode: int = 0o750) -> None:
    """Create a directory and its parents, and make each new name durable."""
    missing = []
    while not directory.exists():
        missing.append(directory)
        directory = directory.parent
    for new in reversed(missing):
        new.mkdir(mode=mode, exist_ok=True)
        sync_directory(new.parent)


def write_durably(path: Path, content: bytes, mode: int = 0o640, owner: tuple[int, int] | None = None) -> None:
    """Write a whole file: temporary in the same directory, fsync, rename, fsync of the directory.

    Parameters
    ----------
    path : Path
    content : bytes
    mode : int
        Less what the umask takes away, unless an owner is given.
    owner : tuple of int, optional
        User and group the file shall belong to, as one that is replaced did; the mode is then taken literally.

    Raises
    ------
    OSError
        If any of it fails, naming the file; an older one is then as it was.
    """
    make_directories(path.parent)
    try:
        _replace(path, content, mode, owner)
    except OSError as error:
        # a full disk names none, and the temporary is none that anybody asked for
        error.filename, error.filename2 = str(path), None
        raise
    sync_directory(path.parent)


def _replace(path: Path, content: bytes, mode: int, owner: tuple[int, int] | None) -> None:
    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            if owner is not None:
                os.fchmod(stream.fileno(), mode)
                if owner != (os.geteuid(), os.getegid()):
                    os.fchown(stream.fileno(), *owner)
            os.fsync(stream.fileno())
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def move_durably(source: Path, destination: Path) -> None:
    """Rename within one file system and make both directories' names durable.

    Repeating it after a crash is safe: a source that is gone while the
    destination exists counts as moved.
    """
    make_directories(destination.parent)
    try:
        source.rename(destination)
    except FileNotFoundError:
        if not destination.exists():
            raise
    sync_directory(destination.parent)
    sync_directory(source.parent)
