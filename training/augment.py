"""Small random changes of the training images: what differs between hospitals, not between sick and well.

Sharpness, grey scale and framing tell the classes of the public collection
apart, so they are what is shaken: a network that leans on them reads other
patients' normals as ill.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_BILINEAR = Image.Resampling.BILINEAR


def augment(plane: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Change one image at random.

    Parameters
    ----------
    plane : ndarray of float32, shape (size, size)
        0 to 1.
    rng : numpy.random.Generator
        The only source of chance.

    Returns
    -------
    ndarray of float32, shape (size, size)
        0 to 1. Never mirrored: the heart lies on one side.
    """
    plane = _warp(plane, rng)
    plane = _sharpness(plane, rng)
    plane = np.clip(plane, 0, 1) ** np.float32(rng.uniform(0.7, 1.4))
    middle = plane.mean()
    plane = (plane - middle) * np.float32(rng.uniform(0.8, 1.2)) + middle + np.float32(rng.uniform(-0.08, 0.08))
    return np.clip(plane, 0, 1).astype(np.float32)


def _warp(plane: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Scale by up to 12 %, rotate by up to 8 degrees, shift by up to 5 %; outside is the image's mean."""
    size = plane.shape[0]
    angle = np.deg2rad(rng.uniform(-8, 8))
    wide, high = rng.uniform(0.88, 1.12, 2)
    right, down = rng.uniform(-0.05, 0.05, 2) * size
    cosine, sine, centre = np.cos(angle), np.sin(angle), (size - 1) / 2
    a, b, d, e = cosine * wide, -sine * wide, sine * high, cosine * high
    matrix = (
        a, b, centre + right - a * centre - b * centre,
        d, e, centre + down - d * centre - e * centre,
    )  # fmt: skip
    image = Image.fromarray(plane)
    warped = image.transform((size, size), Image.Transform.AFFINE, matrix, _BILINEAR, fillcolor=float(plane.mean()))
    return np.asarray(warped, np.float32)


def _sharpness(plane: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Blur by resampling to 50 to 100 % and back, or add that share of the lost detail once more; half stay as is."""
    size = plane.shape[0]
    if rng.random() < 0.5:  # noqa: PLR2004 - a coin
        return plane
    smaller = max(1, round(size * rng.uniform(0.5, 1.0)))
    small = Image.fromarray(np.ascontiguousarray(plane)).resize((smaller, smaller), _BILINEAR)
    blurred = np.asarray(small.resize((size, size), _BILINEAR), np.float32)
    if rng.random() < 0.5:  # noqa: PLR2004 - a coin
        return blurred
    return plane + np.float32(rng.uniform(0, 0.8)) * (plane - blurred)
