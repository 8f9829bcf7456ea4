"""Small random changes of the training images: what differs between hospitals, not between sick and well.

Sharpness, grey scale, framing and burnt-in letters tell the classes of the
public collection apart, so they are what is shaken: a network that leans on
them reads other patients' normals as ill.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from training.fitting.affine import around_middle

_BILINEAR: Final = Image.Resampling.BILINEAR
_COIN: Final = 0.5
_WIDEST_FRAME: Final = 0.15


def augment(plane: NDArray[np.float32], other: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Change one image at random.

    Parameters
    ----------
    plane : ndarray of float32, shape (size, size)
        0 to 1.
    other : ndarray of float32, shape (size, size)
        Any other training image, of either class; half the time it lends its frame.
    rng : numpy.random.Generator
        The only source of chance.

    Returns
    -------
    ndarray of float32, shape (size, size)
        0 to 1. Never mirrored: the heart lies on one side.
    """
    plane = _warp(plane, rng)
    plane = _frame(plane, other, rng)
    plane = _letters(plane, rng)
    plane = _sharpness(plane, rng)
    plane = np.clip(plane, 0, 1) ** np.float32(rng.uniform(0.65, 1.5))
    middle = plane.mean()
    plane = (plane - middle) * np.float32(rng.uniform(0.75, 1.25)) + middle + np.float32(rng.uniform(-0.1, 0.1))
    if rng.random() < _COIN:
        plane = plane + rng.normal(0, rng.uniform(0, 0.03), plane.shape).astype(np.float32)
    return np.clip(plane, 0, 1).astype(np.float32)


def _warp(plane: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Scale by up to 12 %, rotate by up to 8 degrees, shift by up to 5 %; outside is the image's mean."""
    size = plane.shape[0]
    angle = np.deg2rad(rng.uniform(-8, 8))
    wide, high = rng.uniform(0.88, 1.12, 2)
    right, down = rng.uniform(-0.05, 0.05, 2) * size
    cosine, sine = np.cos(angle), np.sin(angle)
    matrix = around_middle(size, (cosine * wide, -sine * wide), (sine * high, cosine * high), (right, down))
    image = Image.fromarray(plane)
    warped = image.transform((size, size), Image.Transform.AFFINE, matrix, _BILINEAR, fillcolor=float(plane.mean()))
    return np.asarray(warped, np.float32)


def _frame(plane: NDArray[np.float32], other: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Half the time, put another image's outer 0 to 15 % in place of this one's."""
    if rng.random() < _COIN:
        return plane
    size = plane.shape[0]
    top, bottom, left, right = (round(size * share) for share in rng.uniform(0, _WIDEST_FRAME, 4))
    framed = other.copy()
    framed[top : size - bottom, left : size - right] = plane[top : size - bottom, left : size - right]
    return framed


def _letters(plane: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Half the time, write one or two side markers somewhere, as films of either class may carry."""
    if rng.random() < _COIN:
        return plane
    image = Image.fromarray(np.ascontiguousarray(plane))
    draw = ImageDraw.Draw(image)
    size = plane.shape[0]
    for _ in range(int(rng.integers(1, 3))):
        letter = str(rng.choice(("R", "L", "A", "P", "+", "RA", "AP")))
        font = ImageFont.load_default(size=float(rng.uniform(0.05, 0.14)) * size)
        place = (float(rng.uniform(0, 0.9)) * size, float(rng.uniform(0, 0.9)) * size)
        draw.text(place, letter, fill=float(rng.uniform(0.7, 1.0)), font=font)
    return np.asarray(image, np.float32)


def _sharpness(plane: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Blur by resampling to 50 to 100 % and back, or add that share of the lost detail once more; half stay as is."""
    size = plane.shape[0]
    if rng.random() < _COIN:
        return plane
    smaller = max(1, round(size * rng.uniform(0.5, 1.0)))
    small = Image.fromarray(np.ascontiguousarray(plane)).resize((smaller, smaller), _BILINEAR)
    blurred = np.asarray(small.resize((size, size), _BILINEAR), np.float32)
    if rng.random() < _COIN:
        return blurred
    return plane + np.float32(rng.uniform(0, 0.8)) * (plane - blurred)
