"""Ed25519 over the manifest's bytes: who may make a bundle that we run.

The site's private key lies only where training runs. The release key's public
half is pinned beside this file, for the starter bundle alone to need nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from core.errors import Misconfigured
from core.settings import Settings

RELEASE_KEY: Final = Path(__file__).with_name("release_key.pem")
# a signature of ours over anything else must never pass for one over a manifest
_CONTEXT: Final = b"lungwatch bundle manifest 1\n"
_LARGEST_KEY: Final = 16 << 10


def sign(manifest: bytes, key: Ed25519PrivateKey) -> bytes:
    """Return the 64-byte signature of a manifest."""
    return key.sign(_CONTEXT + manifest)


def is_signed(manifest: bytes, signature: bytes, trusted: Sequence[Ed25519PublicKey]) -> bool:
    """Whether one of the trusted keys signed exactly these bytes."""
    for key in trusted:
        try:
            key.verify(signature, _CONTEXT + manifest)
        except InvalidSignature:
            continue
        return True
    return False


def private_key(settings: Settings) -> Ed25519PrivateKey:
    """Read the key that signs new bundles.

    Raises
    ------
    Misconfigured
        If none is set, or it is no unencrypted Ed25519 private key in PEM.
    """
    path = settings.signing_key_file
    if path is None:
        raise Misconfigured(
            "LUNGWATCH_SIGNING_KEY_FILE is not set; a new bundle must be signed. "
            "Make a key with: openssl genpkey -algorithm ed25519 -out signing_key.pem"
        )
    try:
        key = load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise Misconfigured(f"{path} (LUNGWATCH_SIGNING_KEY_FILE) is no unencrypted Ed25519 private key in PEM")
    return key


def public_key(path: Path) -> Ed25519PublicKey:
    """Read a public key.

    Raises
    ------
    Misconfigured
        If the file is no Ed25519 public key in PEM.
    """
    try:
        key = load_pem_public_key(_read(path))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise Misconfigured(f"{path} is no Ed25519 public key in PEM")
    return key


def trusted_keys(settings: Settings) -> tuple[Ed25519PublicKey, ...]:
    """Return every key whose bundles we run: the release key, the trusted directory's, and our own signing key's.

    Raises
    ------
    Misconfigured
        If a key that is configured cannot be read.
    """
    keys = [public_key(RELEASE_KEY)]
    if settings.trusted_keys_dir is not None:
        try:
            # not glob, which takes a directory that may not be read for an empty one
            found = sorted(path for path in settings.trusted_keys_dir.iterdir() if path.suffix == ".pem")
        except OSError as error:
            message = f"LUNGWATCH_TRUSTED_KEYS_DIR cannot be read: {settings.trusted_keys_dir} ({error.strerror})"
            raise Misconfigured(message) from None
        keys += [public_key(path) for path in found]
    if settings.signing_key_file is not None:
        keys.append(private_key(settings).public_key())
    return tuple(keys)


def refuse_untrusted_self(settings: Settings) -> None:
    """Refuse to make bundles that workers on other machines would not run: their trusted directory must have our key.

    Raises
    ------
    Misconfigured
        If a trusted directory is set, and the public half of the signing key is not in it.
    """
    if settings.trusted_keys_dir is None:
        return
    ours = private_key(settings).public_key()
    others = trusted_keys(settings.model_copy(update={"signing_key_file": None}))
    if ours not in others:
        raise Misconfigured(
            f"{settings.trusted_keys_dir} (LUNGWATCH_TRUSTED_KEYS_DIR) lacks the public half of "
            f"{settings.signing_key_file}, so other workers would refuse what is trained here. Put it there with: "
            "openssl pkey -in SIGNING_KEY -pubout -out TRUSTED/site.pem"
        )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(_LARGEST_KEY)
    except OSError as error:
        raise Misconfigured(f"the key {path} cannot be read: {error.strerror}") from None
