"""Strong random changes of the training images: whatever gives a class away without the lungs is exchanged.

In the public collection frame, letters, sharpness, grey scale and compression
tell the classes apart better than the disease does, and another hospital has
others. So each is taken from another image, or drawn at random, in both
classes alike (`training.fitting.augment` is the gentler set of the notebook's network).
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from imaging.master import FULL_SCALE

_BILINEAR: Final = Image.Resampling.BILINEAR
_COIN: Final = 0.5
_DEGREES: Final = 12.0
_SCALES: Final = (0.7, 1.2)
_ASPECTS: Final = (0.8, 1.25)
_SHIFT: Final = 0.06
_WIDEST_FRAME: Final = 0.15
# Probabilities of each change.
_SWAP_FRAME: Final = 0.5
_PLAIN_FRAME: Final = 0.15
_LETTERS: Final = 0.5
_QUALITY: Final = 0.7
_SPECTRUM: Final = 0.3
_RAMP: Final = 0.3
_NOISE: Final = 0.3
_SATURATION: Final = 0.2
_GAMMAS: Final = (0.6, 1.6)
_JPEG: Final = (30, 96)
# Below this many cycles an image lies the anatomy, which stays its own.
_COARSE: Final = 6
_LARGEST_GAIN: Final = 4.0
# An image of one grey has no spectrum to take or to give.
_NOTHING: Final = 1e-6
_TEXTS: Final = ("R", "L", "R", "L", "RA", "PA", "AP", "A", "P", "+", "SUPINE", "12", "R 3", "PORT")

Plane = NDArray[np.float32]


def shrink(square: NDArray[np.uint16], size: int, crop: float) -> Plane:
    """Bring a square to network size as serving does, grey values 0 to 1 still.

    Parameters
    ----------
    square : ndarray of uint16, shape (side, side)
        See `imaging.spec.PreprocessSpec.square`.
    crop : float
        Share cut off on each side.

    Returns
    -------
    ndarray of float32, shape (size, size)
    """
    image = Image.fromarray(square.astype(np.float32))
    width, height = image.size
    box = (crop * width, crop * height, (1 - crop) * width, (1 - crop) * height)
    return np.asarray(image.resize((size, size), _BILINEAR, box), np.float32) / np.float32(FULL_SCALE)


def disguise(
    square: NDArray[np.uint16], other: NDArray[np.uint16], size: int, crop: float, rng: np.random.Generator
) -> Plane:
    """Change one image at random and bring it to network size.

    Parameters
    ----------
    square : ndarray of uint16, shape (side, side)
        See `imaging.spec.PreprocessSpec.square`.
    other : ndarray of uint16, shape (side, side)
        Any other training image, of either class; it may lend its frame and its spectrum.
    size : int
        Side of the result.
    crop : float
        The spec's.
    rng : numpy.random.Generator
        The only source of chance.

    Returns
    -------
    ndarray of float32, shape (size, size)
        0 to 1, before the spec's `normalise`. Never mirrored: the heart lies on one side.
    """
    lender = shrink(other, size, crop)
    plane = _warp(square, size, crop, rng)
    if rng.random() < _SPECTRUM:
        plane = _spectrum(plane, lender, float(rng.uniform(0.3, 1.0)))
    plane = _frame(plane, lender, rng)
    if rng.random() < _RAMP:
        plane = _ramp(plane, rng)
    plane = np.clip(plane, 0, 1) ** np.float32(rng.uniform(*_GAMMAS))
    if rng.random() < _LETTERS:
        plane = _letters(plane, rng)
    if rng.random() < _QUALITY:
        plane = _quality(plane, rng)
    if rng.random() < _NOISE:
        plane = plane + rng.standard_normal(plane.shape, np.float32) * np.float32(rng.uniform(0, 0.03))
    if rng.random() < _SATURATION:
        low, high = np.percentile(plane, (rng.uniform(0, 6), rng.uniform(90, 100)))
        plane = np.clip(plane, low, high)
    return np.clip(plane, 0, 1).astype(np.float32)


def without_middle(plane: Plane, rng: np.random.Generator) -> Plane:
    """Cover all but a frame of 8 to 20 % with the image's mean: what is left tells nothing of disease."""
    size = plane.shape[0]
    top, bottom, left, right = (round(size * share) for share in rng.uniform(0.08, 0.2, 4))
    covered = plane.copy()
    covered[top : size - bottom, left : size - right] = plane.mean()
    return covered


def _warp(square: NDArray[np.uint16], size: int, crop: float, rng: np.random.Generator) -> Plane:
    """Crop, scale, stretch, rotate and shift in one resampling; outside is the image's mean."""
    side = square.shape[0]
    angle = np.deg2rad(rng.uniform(-_DEGREES, _DEGREES))
    scale = np.exp(rng.uniform(*np.log(_SCALES)))
    aspect = np.exp(rng.uniform(*np.log(_ASPECTS)) / 2)
    # Twice the size and halved afterwards: sampling alone would let fine detail alias when the image shrinks.
    fine = 2 * size
    step = side * (1 - 2 * crop) / fine
    wide, high = step / (scale * aspect), step * aspect / scale
    right, down = rng.uniform(-_SHIFT, _SHIFT, 2) * side
    cosine, sine, centre, middle = np.cos(angle), np.sin(angle), side / 2, fine / 2
    a, b, d, e = cosine * wide, -sine * wide, sine * high, cosine * high
    matrix = (
        a, b, centre + right - (a + b) * middle,
        d, e, centre + down - (d + e) * middle,
    )  # fmt: skip
    image = Image.fromarray(square.astype(np.float32) / np.float32(FULL_SCALE))
    fill = float(square.mean()) / FULL_SCALE
    warped = image.transform((fine, fine), Image.Transform.AFFINE, matrix, _BILINEAR, fillcolor=fill)
    return np.asarray(warped.reduce(2), np.float32)


def _frame(plane: Plane, lender: Plane, rng: np.random.Generator) -> Plane:
    """Put another image's frame, or a plain one, in place of the outer 0 to 15 %."""
    chance = rng.random()
    if chance > _SWAP_FRAME + _PLAIN_FRAME:
        return plane
    size = plane.shape[0]
    top, bottom, left, right = (round(size * share) for share in rng.uniform(0, _WIDEST_FRAME, 4))
    if chance < _SWAP_FRAME:
        framed = lender.copy()
    else:
        framed = np.full_like(plane, plane.mean() if rng.random() < _COIN else rng.uniform(0, 1))
    framed[top : size - bottom, left : size - right] = plane[top : size - bottom, left : size - right]
    return framed


@lru_cache(maxsize=8)
def _rings(size: int) -> NDArray[np.int64]:
    """Return the distance of each coefficient of `numpy.fft.rfft2` from zero frequency, whole cycles an image."""
    down = np.fft.fftfreq(size, 1 / size)[:, np.newaxis]
    across = np.fft.rfftfreq(size, 1 / size)[np.newaxis]
    rings: NDArray[np.int64] = np.rint(np.hypot(down, across)).astype(np.int64)
    return rings


def _spectrum(plane: Plane, lender: Plane, strength: float) -> Plane:
    """Give an image the sharpness and grain of another: the mean amplitude of each ring of its spectrum."""
    rings = _rings(plane.shape[0]).ravel()
    own = np.fft.rfft2(plane)
    counts = np.bincount(rings)
    mine = np.bincount(rings, np.abs(own).ravel()) / counts
    theirs = np.bincount(rings, np.abs(np.fft.rfft2(lender)).ravel()) / counts
    # both relative to the coarse part, so that contrast is not exchanged as well
    coarse = slice(1, _COARSE)
    mine, theirs = (profile / max(profile[coarse].mean(), _NOTHING) + _NOTHING for profile in (mine, theirs))
    gain = theirs / mine
    gain = np.clip(gain, 1 / _LARGEST_GAIN, _LARGEST_GAIN) ** strength
    gain[:_COARSE] = 1
    return np.fft.irfft2(own * gain[rings].reshape(own.shape), plane.shape).astype(np.float32)


def _ramp(plane: Plane, rng: np.random.Generator) -> Plane:
    """Brighten one side and darken the other by up to a fifth, as an anode's heel or a tilted grid does."""
    down, across = rng.uniform(-0.2, 0.2, 2)
    line = np.linspace(-1, 1, plane.shape[0], dtype=np.float32)
    return plane * (1 + np.float32(down) * line[:, np.newaxis] + np.float32(across) * line)


@lru_cache(maxsize=64)
def _font(size: int) -> Any:
    return ImageFont.load_default(size=size)


def _letters(plane: Plane, rng: np.random.Generator) -> Plane:
    """Write one to three markers somewhere, as films of either class may carry; a few as dark on bright labels."""
    image = Image.fromarray(np.ascontiguousarray(plane, np.float32))
    draw = ImageDraw.Draw(image)
    size = plane.shape[0]
    for _ in range(int(rng.integers(1, 4))):
        text = _TEXTS[int(rng.integers(len(_TEXTS)))]
        font = _font(max(6, round(float(rng.uniform(0.05, 0.12)) * size)))
        across, down = (float(share) * size for share in rng.uniform(-0.02, 0.95, 2))
        bright = float(rng.uniform(0.75, 1.0))
        if rng.random() < _COIN / 4:
            draw.rectangle(draw.textbbox((across, down), text, font=font), fill=bright)
            bright = float(rng.uniform(0, 0.2))
        draw.text((across, down), text, fill=bright, font=font)
    return np.asarray(image, np.float32)


def _quality(plane: Plane, rng: np.random.Generator) -> Plane:
    """Blur, resample, compress or sharpen; one of them at least, often two."""
    steps = [blur, resample, jpeg, _sharpen]
    for number in rng.permutation(len(steps))[: int(rng.integers(1, 3))]:
        plane = steps[number](plane, rng)
    return plane


def blur(plane: Plane, rng: np.random.Generator) -> Plane:
    """Blur by a Gaussian of 0.3 to 1.3 pixels at a side of 160."""
    return gaussian(plane, float(rng.uniform(0.3, 1.3)) * plane.shape[0] / 160)


def gaussian(plane: Plane, radius: float) -> Plane:
    """Blur by a Gaussian of so many pixels, by spectrum: Pillow's blurs 8-bit images only."""
    size = plane.shape[0]
    frequency = _rings(size) / size
    gain = np.exp(-2 * (np.pi * radius * frequency) ** 2)
    return np.fft.irfft2(np.fft.rfft2(plane) * gain, plane.shape).astype(np.float32)


def resample(plane: Plane, rng: np.random.Generator) -> Plane:
    """Shrink to 50 to 100 % and back."""
    size = plane.shape[0]
    smaller = max(8, round(size * rng.uniform(0.5, 1.0)))
    small = Image.fromarray(np.ascontiguousarray(plane, np.float32)).resize((smaller, smaller), _BILINEAR)
    return np.asarray(small.resize((size, size), _BILINEAR), np.float32)


def jpeg(plane: Plane, rng: np.random.Generator) -> Plane:
    """Compress at quality 30 to 95 and read back."""
    return compressed(plane, int(rng.integers(*_JPEG)))


def compressed(plane: Plane, quality: int) -> Plane:
    """Return what JPEG at this quality leaves of an image."""
    stream = io.BytesIO()
    Image.fromarray(np.rint(np.clip(plane, 0, 1) * 255).astype(np.uint8)).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream), np.float32) / np.float32(255)


def _sharpen(plane: Plane, rng: np.random.Generator) -> Plane:
    """Add up to 1.2 times what a small blur takes away."""
    return plane + np.float32(rng.uniform(0, 1.2)) * (plane - gaussian(plane, 1.0))
