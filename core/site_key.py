"""Keys that an installation makes once for itself and keeps in its data directory."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from core.errors import Misconfigured
from core.files import make_directories, sync_directory

_KEY_BYTES: Final = 32


def site_key(path: Path, what: str, setting: str) -> bytes:
    """Return the key in a file, made if there is none.

    Safe from many processes at once: they all get the one that was first.

    Parameters
    ----------
    what : str
        The key, in words, for messages.
    setting : str
        The environment variable that may give one instead, likewise.

    Raises
    ------
    Misconfigured
        If the file cannot be read or made, or holds no key.
    """
    try:
        try:
            text = path.read_text("ascii")
        except FileNotFoundError:
            _make_key(path)
            text = path.read_text("ascii")
        key = bytes.fromhex(text)
    except OSError as error:
        message = (
            f"the key of {what}, {path}, cannot be used ({error.strerror}): give it to the user that Lungwatch runs "
            f"as, or set {setting}"
        )
        raise Misconfigured(message) from None
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise Misconfigured(f"{path} holds no key of {what}: put it back from a backup, or delete it")
    return key


def _make_key(path: Path) -> None:
    """Write a new key under its name whole and only where there is none: a link, unlike a rename, replaces nothing."""
    make_directories(path.parent)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(secrets.token_hex(_KEY_BYTES) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        with suppress(FileExistsError):
            path.hardlink_to(temporary)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)
