"""How unlike its training data a model's input is, told from the input itself.

Three descriptions of an image, each coarse on purpose: what lies where, how edges run, how much detail there is.
For each, the distance to the nearer class of the training images in the metric of their own spread (Mahalanobis,
with a shrunk covariance; Lee et al. 2018, arXiv 1807.03888, take such distances in a network's features). The
largest of them, each on the scale of what held-out images reach, is the unfamiliarity. A network's features were
tried beside them and add nothing: ours is fitted to overlook how an image is turned, framed and exposed
(docs/decisions/0016-unfamiliarity.md).
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bundle.errors import BundleRefused

Rows = NDArray[np.float64]

# All descriptions are taken from a square of this side, whatever the network's.
_SIDE: Final = 160
_LAYOUT: Final = 16
_CELLS: Final = 5
_DIRECTIONS: Final = 8
# Cycles an image, from a third of a lung's height to single pixels.
_RINGS: Final = (1, 3, 5, 8, 12, 18, 27, 40, 60, 81)
# Below this an image is of one grey; below these a cell has no edges and a ring no energy.
_FLAT: Final = 1e-3
_NO_EDGE: Final = 0.02
_NO_ENERGY: Final = 1e-3
_LARGEST: Final = 4096


def _square(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return one channel of model input with mean 0 and deviation 1 and the side that descriptions are made for."""
    if plane.shape != (_SIDE, _SIDE):
        image = Image.fromarray(np.ascontiguousarray(plane, np.float32))
        plane = np.asarray(image.resize((_SIDE, _SIDE), Image.Resampling.BOX), np.float32)
    deviation = float(plane.std(dtype=np.float64))
    return (plane - np.float32(plane.mean(dtype=np.float64))) / np.float32(max(deviation, _FLAT))


def _means(plane: NDArray[np.float32], cells: int) -> NDArray[np.float32]:
    """Return the mean of each of cells x cells blocks of the last two axes."""
    side = plane.shape[-1] // cells
    blocks: NDArray[np.float32] = plane.reshape(*plane.shape[:-2], cells, side, cells, side).mean((-3, -1))
    return blocks


def layout(square: NDArray[np.float32]) -> NDArray[np.float32]:
    """Describe what lies where: mean grey values, shape (256,)."""
    return _means(square, _LAYOUT).ravel()


@lru_cache(maxsize=1)
def _cell_of() -> NDArray[np.int64]:
    """Return which of the cells each pixel of the halved square lies in."""
    side = _SIDE // 2
    place = np.arange(side) * _CELLS // side
    cells: NDArray[np.int64] = place[:, np.newaxis] * _CELLS + place
    return cells


def edges(square: NDArray[np.float32]) -> NDArray[np.float32]:
    """Describe how edges run (Dalal and Triggs 2005): the share of each direction in each cell, shape (200,)."""
    down, across = np.gradient(_means(square, _SIDE // 2))
    strength = np.hypot(across, down)
    turn = (np.arctan2(down, across) % np.pi) * (_DIRECTIONS / np.pi)
    lower = np.floor(turn)
    # each edge counts for the two directions it lies between
    towards_next = turn - lower
    bins = np.zeros(_CELLS * _CELLS * _DIRECTIONS)
    for step, weight in ((0, 1 - towards_next), (1, towards_next)):
        direction = (np.nan_to_num(lower).astype(np.int64) + step) % _DIRECTIONS
        bins += np.bincount((_cell_of() * _DIRECTIONS + direction).ravel(), (weight * strength).ravel(), len(bins))
    cells = bins.reshape(-1, _DIRECTIONS) / (len(strength) // _CELLS) ** 2
    shares: NDArray[np.float32] = (cells / (cells.sum(axis=1, keepdims=True) + _NO_EDGE)).astype(np.float32)
    return shares.ravel()


@lru_cache(maxsize=1)
def _ring_of() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which ring each coefficient of the spectrum lies in, 0 and the last being none, and how many each has."""
    down = np.fft.fftfreq(_SIDE, 1 / _SIDE)[:, np.newaxis]
    rings = np.digitize(np.hypot(down, np.fft.rfftfreq(_SIDE, 1 / _SIDE)), _RINGS).ravel()
    return rings, np.bincount(rings, minlength=len(_RINGS) + 1)


def detail(square: NDArray[np.float32]) -> NDArray[np.float32]:
    """Describe how much there is of each size: log energy in rings of the spectrum, shape (9,)."""
    energy = np.abs(np.fft.rfft2(square)) ** 2
    rings, counts = _ring_of()
    means = (np.bincount(rings, energy.ravel(), len(counts)) / counts)[1:-1]
    logarithms: NDArray[np.float32] = np.log(means + _NO_ENERGY).astype(np.float32)
    return logarithms


DESCRIPTIONS: Final[dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]]] = {
    "layout": layout,
    "edges": edges,
    "detail": detail,
}


def describe(model_input: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Describe one image.

    Parameters
    ----------
    model_input : ndarray of float32, shape (rows, columns, channels)
        As the bundle's spec makes it; channels are equal copies.

    Returns
    -------
    dict of str to ndarray of float32, one axis
        A key of `DESCRIPTIONS` each.
    """
    square = _square(model_input[:, :, 0])
    return {name: description(square) for name, description in DESCRIPTIONS.items()}


@dataclass(frozen=True)
class Spread:
    """Where the training images lie in one description.

    Attributes
    ----------
    centres : ndarray of float32, shape (classes, d)
        Mean of each class.
    whitening : ndarray of float32, shape (d, d)
        What a difference is multiplied by so that its length is the Mahalanobis distance.
    limit : float
        Distance that one in a hundred held-out images exceeds.
    """

    centres: NDArray[np.float32]
    whitening: NDArray[np.float32]
    limit: float

    def distance(self, described: NDArray[np.float32]) -> Rows:
        """Return the distance to the nearest centre, float64 of shape (n,), in units of the limit.

        Parameters
        ----------
        described : ndarray of float32, shape (n, d)
        """
        to_each = [np.linalg.norm((described - centre) @ self.whitening, axis=1) for centre in self.centres]
        nearest: Rows = np.min(np.asarray(to_each, np.float64), axis=0) / self.limit
        return nearest


@dataclass(frozen=True)
class Familiarity:
    """Content of ``familiarity.npz``.

    Attributes
    ----------
    spreads : mapping of str to Spread
        Of each of `DESCRIPTIONS`.
    """

    spreads: Mapping[str, Spread]

    def unfamiliarity(self, inputs: NDArray[np.float32]) -> Rows:
        """Return how unlike the training data images are.

        Parameters
        ----------
        inputs : ndarray of float32, shape (n, rows, columns, channels)
            As the bundle's spec makes them.

        Returns
        -------
        ndarray of float64, shape (n,)
            About 1 at the edge of the familiar. NaN for an input that is not finite: whoever compares it
            must take that for unfamiliar.
        """
        if not len(inputs):
            return np.empty(0)
        described = [describe(image) for image in inputs]
        return self.of({name: np.stack([one[name] for one in described]) for name in self.spreads})

    def of(self, described: Mapping[str, NDArray[np.float32]]) -> Rows:
        """Return the unfamiliarity of images described already; as `unfamiliarity`.

        Parameters
        ----------
        described : mapping of str to ndarray of float32, shape (n, d)
            A key of `DESCRIPTIONS` each.
        """
        parts = [spread.distance(described[name]) for name, spread in self.spreads.items()]
        # not nanmax: what cannot be measured must not pass for familiar
        largest: Rows = np.max(parts, axis=0)
        return largest

    def encode(self) -> bytes:
        """Return the content of ``familiarity.npz``."""
        arrays: dict[str, NDArray[np.float32]] = {}
        for name, spread in self.spreads.items():
            arrays[f"{name}_centres"] = spread.centres
            arrays[f"{name}_whitening"] = spread.whitening
            arrays[f"{name}_limit"] = np.array([spread.limit], np.float32)
        stream = io.BytesIO()
        np.savez(stream, **arrays)  # type: ignore[arg-type] # its stub lacks **kwds of arrays
        return stream.getvalue()


def decode(content: bytes) -> Familiarity:
    """Read verified ``familiarity.npz``; never unpickles.

    Raises
    ------
    BundleRefused
        If it does not hold what it should.
    """
    probe = describe(np.zeros((_SIDE, _SIDE, 1), np.float32))
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            if set(arrays.files) != {f"{name}_{part}" for name in probe for part in ("centres", "whitening", "limit")}:
                raise BundleRefused("the bundle's familiarity.npz does not hold the descriptions this version makes")
            found = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise BundleRefused("the bundle's familiarity.npz cannot be read") from error
    spreads = {}
    for name, described in probe.items():
        centres, whitening, limit = (found[f"{name}_{part}"] for part in ("centres", "whitening", "limit"))
        size = len(described)
        sound = (
            all(array.dtype == np.float32 and bool(np.isfinite(array).all()) for array in (centres, whitening, limit))
            and centres.ndim == 2  # noqa: PLR2004 - classes, values
            and 1 <= len(centres) <= _LARGEST
            and centres.shape[1] == size
            and whitening.shape == (size, size)
            and limit.shape == (1,)
            and bool(limit[0] > 0)
        )
        if not sound:
            raise BundleRefused(f"the bundle's familiarity.npz does not hold a sound spread of {name}")
        spreads[name] = Spread(centres, whitening, float(limit[0]))
    return Familiarity(spreads)
