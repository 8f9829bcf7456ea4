"""Bundles to tamper with: the shipped network under another manifest and another key, made without TensorFlow."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from bundle.load import STARTER
from bundle.manifest import Manifest
from bundle.signing import RELEASE_KEY, public_key
from bundle.store import VerifiedBundle, digests, verify, write


@cache
def starter() -> VerifiedBundle:
    return verify(STARTER, None, [public_key(RELEASE_KEY)])


def make_key(seed: int = 1) -> Ed25519PrivateKey:
    """Return a key that is the same in every run."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(str(seed).encode()).digest())


def write_private(key: Ed25519PrivateKey, path: Path) -> Path:
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


def write_public(key: Ed25519PrivateKey, path: Path) -> Path:
    path.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


def make_bundle(
    directory: Path,
    key: Ed25519PrivateKey | None = None,
    *,
    files: dict[str, bytes] | None = None,
    **overrides: Any,
) -> str:
    """Write a sound bundle and return its digest.

    `files` replaces or adds files; keywords override manifest fields.
    """
    content = {**starter().files, **(files or {})}
    fields = {**starter().manifest.model_dump(), "name": "test", "version": "1", **overrides}
    manifest = Manifest.model_validate({**fields, "files": digests(content)})
    return write(directory, manifest, content, key or make_key())
