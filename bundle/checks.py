"""The bundle's self-test: master images that are nobody's, and the scores they must give here as there."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bundle.errors import BundleRefused
from bundle.head import Head
from bundle.runtime import Runtime, Seen
from imaging.spec import PreprocessSpec

# Runtimes agree to 2e-7 on one machine; other processors and Pillow builds add rounding, a damaged model far more.
TOLERANCE: Final = 1e-4
_MOST: Final = 64
_LARGEST_SIDE: Final = 512


@dataclass(frozen=True)
class Checks:
    """Content of ``checks.npz``.

    Attributes
    ----------
    masters : ndarray of uint16, shape (n, rows, columns)
        Procedural patterns, no radiographs.
    scores : ndarray of float32, shape (n,)
        What the network gave when the bundle was made.
    """

    masters: NDArray[np.uint16]
    scores: NDArray[np.float32]

    def encode(self) -> bytes:
        """Return the content of ``checks.npz``."""
        stream = io.BytesIO()
        np.savez_compressed(stream, masters=self.masters, scores=self.scores)
        return stream.getvalue()


def decode(content: bytes) -> Checks:
    """Read verified ``checks.npz``; never unpickles.

    Raises
    ------
    BundleRefused
        If it does not hold what it should.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            masters, scores = arrays["masters"], arrays["scores"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise BundleRefused("the bundle's checks.npz cannot be read") from error
    sound = (
        masters.dtype == np.uint16
        and masters.ndim == 3  # noqa: PLR2004 - images, rows, columns
        and 1 <= len(masters) <= _MOST
        and max(masters.shape[1:]) <= _LARGEST_SIDE
        and scores.dtype == np.float32
        and scores.shape == (len(masters),)
        and bool(np.isfinite(scores).all())
    )
    if not sound:
        raise BundleRefused("the bundle's checks.npz does not hold masters and their scores")
    return Checks(masters, scores)


def compare(checks: Checks, spec: PreprocessSpec, runtime: Runtime, head: Head | None = None) -> float:
    """Score the patterns here and return the largest difference.

    Parameters
    ----------
    head : Head or None
        Must explain the scores by the runtime's features, where the bundle has one.

    Raises
    ------
    BundleRefused
        If a score is not finite or differs by more than the tolerance: pixels or network compute something else;
        or if the features are missing, or not those that the scores were made from.
    """
    inputs = np.stack([spec.apply(master) for master in checks.masters])
    try:
        seen = Seen(runtime.predict(inputs), None) if head is None else runtime.look(inputs)
    except ValueError as error:
        raise BundleRefused(f"the bundle's preprocessing does not fit its network: {error}") from error
    difference = float(np.max(np.abs(seen.scores - checks.scores)))
    if not difference <= TOLERANCE:  # also refuses NaN
        raise BundleRefused(
            f"the bundle does not give its expected scores with {runtime.name} here (off by {difference:.2g}); "
            "the model, the preprocessing or a library differs from when it was made"
        )
    if head is not None and not head.explains(seen):
        raise BundleRefused(
            f"the bundle's {runtime.name} model does not give the features that its head.npz belongs to"
        )
    return difference
