"""A bundle on disk: written whole or not at all, and verified before anything parses it.

Verified means, in this order: only the expected plain files lie in the
directory; the manifest's SHA-256 is the one the registry knows (where it
knows one); a trusted key signed the manifest's bytes; and only then is the
manifest parsed, and every file it lists read once, whole, and compared with
its SHA-256. Parsers get those same bytes from memory, never the path again,
so a file exchanged after the check is not seen.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import stat
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bundle.errors import BundleRefused
from bundle.manifest import MANIFEST, SIGNATURE, Manifest, parse
from bundle.signing import is_signed, sign
from core import failpoints
from core.files import make_directories, sync_directory, write_durably

_LARGEST_MANIFEST: Final = 1 << 20
_LARGEST_FILE: Final = 256 << 20
_SIGNATURE_BYTES: Final = 64
_MOST_FILES: Final = 64
_OLD_SECONDS: Final = 24 * 3600.0


@dataclass(frozen=True)
class VerifiedBundle:
    """A bundle whose every byte is accounted for.

    Attributes
    ----------
    digest : str
        SHA-256 of ``manifest.json``; what the registry knows the bundle by.
    files : mapping of str to bytes
        Content of every file the manifest lists.
    """

    directory: Path
    digest: str
    manifest: Manifest
    files: Mapping[str, bytes]


def verify(directory: Path, expected_digest: str | None, trusted_keys: Sequence[Ed25519PublicKey]) -> VerifiedBundle:
    """Verify a bundle; nothing in it is parsed before its signature holds.

    Parameters
    ----------
    directory : Path
        The bundle.
    expected_digest : str or None
        The registry row's digest; None only where there is no row, as for the starter in a fresh clone.
    trusted_keys : sequence of Ed25519PublicKey
        From `bundle.signing.trusted_keys`.

    Raises
    ------
    BundleRefused
        Saying what does not fit.
    """
    present = _names(directory)
    for name in (MANIFEST, SIGNATURE):
        if name not in present:
            raise BundleRefused(f"bundle {directory} has no {name}; it is incomplete or unsigned")
    manifest_bytes = _read(directory, MANIFEST, _LARGEST_MANIFEST)
    signature = _read(directory, SIGNATURE, _SIGNATURE_BYTES)
    digest = hashlib.sha256(manifest_bytes).hexdigest()
    if expected_digest is not None and digest != expected_digest:
        raise BundleRefused(f"bundle {directory} is not the one that was registered: its manifest has another SHA-256")
    if not is_signed(manifest_bytes, signature, trusted_keys):
        raise BundleRefused(
            f"bundle {directory} carries no signature of a trusted key; "
            "put its maker's public key into LUNGWATCH_TRUSTED_KEYS_DIR if you trust it"
        )
    manifest = parse(manifest_bytes)
    listed = set(manifest.files)
    if extra := present - listed - {MANIFEST, SIGNATURE}:
        raise BundleRefused(f"bundle {directory} holds what its manifest does not list: {min(extra)!r}")
    if missing := listed - present:
        raise BundleRefused(f"bundle {directory} lacks {min(missing)}; install it again")
    files = {}
    for name, known in manifest.files.items():
        content = _read(directory, name, _LARGEST_FILE)
        if hashlib.sha256(content).hexdigest() != known:
            raise BundleRefused(f"bundle {directory}: {name} is damaged or was altered; install the bundle again")
        files[name] = content
    return VerifiedBundle(directory, digest, manifest, files)


def write(directory: Path, manifest: Manifest, files: Mapping[str, bytes], key: Ed25519PrivateKey) -> str:
    """Write and sign a bundle; it appears under its name complete or not at all.

    Parameters
    ----------
    manifest : Manifest
        Its `files` must list exactly `files` with their digests.

    Returns
    -------
    str
        The bundle's digest.

    Raises
    ------
    BundleRefused
        If `directory` exists, the disk refuses, or manifest and files disagree.
    """
    if manifest.files != digests(files):
        raise BundleRefused("the manifest does not list exactly the files of the bundle")
    if directory.exists():
        raise BundleRefused(f"{directory} exists already; choose another name, bundles are never overwritten")
    content = manifest.encode()
    # never half a bundle: whatever interrupts this leaves a hidden folder that nothing reads, and a later try removes
    _clear_old(directory)
    staging = directory.parent / f".{directory.name}.{secrets.token_hex(4)}.tmp"
    try:
        make_directories(staging, mode=0o755)
        for name, data in files.items():
            write_durably(staging / name, data, mode=0o644)
        failpoints.reach("bundle.half_written")
        write_durably(staging / SIGNATURE, sign(content, key), mode=0o644)
        write_durably(staging / MANIFEST, content, mode=0o644)
        failpoints.reach("bundle.staged")
        # one that was stopped for long may find its folder removed, and made anew with what it wrote since
        if _names(staging) != {*files, SIGNATURE, MANIFEST}:
            raise BundleRefused(f"{staging} was removed while it was written; try again")
        staging.rename(directory)
        sync_directory(directory.parent)
        failpoints.reach("bundle.written")
    except OSError as error:
        raise BundleRefused(f"the bundle {directory} could not be written: {error.strerror}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return hashlib.sha256(content).hexdigest()


def _clear_old(directory: Path) -> None:
    """Remove what killed writers of this bundle left; a younger folder may be another's who is at it."""
    for left in directory.parent.glob(f".{escape(directory.name)}.*.tmp"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _OLD_SECONDS:
                shutil.rmtree(left, ignore_errors=True)


def digests(files: Mapping[str, bytes]) -> dict[str, str]:
    """Return the SHA-256 of each file, by name, as a manifest lists them."""
    return {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}


def _names(directory: Path) -> set[str]:
    names: set[str] = set()
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if not entry.is_file(follow_symlinks=False):
                    raise BundleRefused(f"bundle {directory} holds something that is no plain file: {entry.name!r}")
                names.add(entry.name)
                if len(names) > _MOST_FILES:
                    raise BundleRefused(f"bundle {directory} holds more than {_MOST_FILES} files")
    except FileNotFoundError:
        raise BundleRefused(f"there is no bundle at {directory}") from None
    except OSError as error:
        raise BundleRefused(f"bundle {directory} cannot be read: {error.strerror}") from None
    return names


def _read(directory: Path, name: str, limit: int) -> bytes:
    try:
        descriptor = os.open(directory / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
                raise BundleRefused(f"bundle {directory}: {name} is no plain file or larger than it may be")
            content = stream.read(limit + 1)
    except OSError as error:
        raise BundleRefused(f"bundle {directory}: {name} cannot be read: {error.strerror}") from None
    if len(content) > limit:
        raise BundleRefused(f"bundle {directory}: {name} is larger than it may be")
    return content
