"""Bundles to tamper with: the shipped network under another manifest and another key, made without TensorFlow."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from numpy.typing import NDArray

from bundle.checks import Checks
from bundle.checks import decode as decode_checks
from bundle.familiarity import Familiarity
from bundle.load import STARTER
from bundle.manifest import CHECKS, FAMILIARITY, REQUIRED_FILES, Manifest
from bundle.signing import RELEASE_KEY, public_key
from bundle.store import VerifiedBundle, digests, verify, write
from imaging.spec import PreprocessSpec
from training.datasets.pixels import Examples
from training.familiarity.learning import fit, of_examples


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
    lacking: Iterable[str] = (),
    **overrides: Any,
) -> str:
    """Write a sound bundle and return its digest.

    `files` replaces or adds files, `lacking` leaves some out; keywords override manifest fields.
    """
    content = {**starter().files, **(files or {})}
    for name in lacking:
        del content[name]
    fields = {**starter().manifest.model_dump(), "name": "test", "version": "1", **overrides}
    manifest = Manifest.model_validate({**fields, "files": digests(content)})
    return write(directory, manifest, content, key or make_key())


def bare() -> dict[str, Any]:
    """Return what `make_bundle` takes to make one with nothing that a bundle may lack."""
    return {
        "lacking": set(starter().files) - REQUIRED_FILES,
        "familiarity": None,
        "predictive_values": {},
        "subgroups": {},
    }


def noise(count: int, seed: int = 0) -> NDArray[np.float32]:
    """Return inputs of the shape that the starter's network takes."""
    spec = PreprocessSpec.from_dict(starter().manifest.preprocess)
    return np.random.default_rng(seed).random((count, spec.input_size, spec.input_size, spec.channels), np.float32)


def chest(rng: np.random.Generator) -> NDArray[np.uint16]:
    """Return a master that is always much the same: two dark fields, high up on a bright ground, and some noise."""
    rows, columns = np.mgrid[-1:1:64j, -1:1:64j]
    grey = np.full((64, 64), rng.uniform(0.6, 0.7))
    for side in (-1, 1):
        middle = side * rng.uniform(0.38, 0.42)
        inside = ((columns - middle) / 0.28) ** 2 + ((rows + rng.uniform(0.2, 0.3)) / 0.6) ** 2
        grey -= rng.uniform(0.3, 0.4) / (1 + np.exp(10 * (inside - 1)))
    grey += rng.normal(0, 0.02, grey.shape)
    return np.rint(np.clip(grey, 0, 1) * 65535).astype(np.uint16)


@cache
def familiarity() -> Familiarity:
    """Return what knows `chest`, at the starter's preprocessing, and nothing else."""
    spec = PreprocessSpec.from_dict(starter().manifest.preprocess)
    rng = np.random.default_rng(0)
    planes = np.stack([spec.apply(chest(rng))[:, :, 0] for _ in range(160)])
    numbers = np.arange(160)
    fitted, held_out = (
        Examples(planes[which], numbers[which] % 2, numbers[which], (None,) * len(numbers[which]), 1)  # type: ignore[arg-type] # only their number counts
        for which in (slice(120), slice(120, None))
    )
    return fit(of_examples(fitted), of_examples(held_out))


def knowing(threshold: float = 1.5) -> dict[str, Any]:
    """Return what `make_bundle` takes to make a bundle that knows `chest`."""
    found = {
        "threshold": threshold,
        "allowed_false_alarms": 0.01,
        "images": 40,
        "patients": 40,
        "chosen_how": "by hand",
        "false_alarms": {"validation": {"value": 0.0, "low": 0.0, "high": 0.0}},
        "noticed": {"noise": {"n": 60, "unfamiliar": 60}, "frontal chests (drawn)": {"n": 60, "unfamiliar": 20}},
    }
    return {"files": {FAMILIARITY: familiarity().encode()}, "familiarity": found}


def contrary() -> dict[str, Any]:
    """Return what `make_bundle` takes to make a bundle whose scores are 1 less the starter's."""
    checks = decode_checks(starter().files[CHECKS])
    return {
        **bare(),
        "labels": tuple(reversed(starter().manifest.labels)),
        "files": {CHECKS: Checks(checks.masters, 1 - checks.scores).encode()},
    }
