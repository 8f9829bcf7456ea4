"""A network's last layer, apart from the network: what turns its feature map into a class activation map.

For a network that ends in the mean over places and one dense layer, the features at a place times the difference
of the two classes' weights are what the place adds to the log-odds of the score (Zhou et al. 2016, arXiv
1512.04150). So a heatmap costs a product of small matrices, and no second inference.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bundle.errors import BundleRefused
from bundle.runtime import Seen

# between the score worked out from the map and the network's own, which agree to 5e-7 where both are sound
_TOLERANCE: Final = 1e-3
_MAP_AXES: Final = 4
_LARGEST: Final = 4096


@dataclass(frozen=True)
class Head:
    """Content of ``head.npz``.

    Attributes
    ----------
    towards : ndarray of float32, shape (channels,)
        The last layer's weights for PNEUMONIA less those for the other label.
    offset : float
        The difference of its biases.
    full : float
        What the strongest place of a held-out image with pneumonia adds to the log-odds, in the median.
    """

    towards: NDArray[np.float32]
    offset: float
    full: float

    def contributions(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what each place adds to the log-odds of PNEUMONIA, float32 of shape (n, rows, columns).

        Its mean over all places, and the offset, are the score's log-odds.

        Parameters
        ----------
        features : ndarray of float32, shape (n, rows, columns, channels)
            See `bundle.runtime.Seen`.
        """
        added: NDArray[np.float32] = features @ self.towards
        return added

    def heat(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return how strongly each place speaks for PNEUMONIA, float32 of shape (n, rows, columns).

        Relative to `full`; below 0 where it speaks against.
        """
        return self.contributions(features) / np.float32(self.full)

    def explains(self, seen: Seen) -> bool:
        """Whether features and scores are of one network, and this head is its last layer."""
        features = seen.features
        if features is None or features.ndim != _MAP_AXES or features.shape[-1] != len(self.towards):
            return False
        log_odds = self.contributions(features).mean(axis=(1, 2), dtype=np.float64) + self.offset
        worked_out = 1 / (1 + np.exp(-log_odds))
        return bool(np.max(np.abs(worked_out - seen.scores), initial=0) <= _TOLERANCE)

    def encode(self) -> bytes:
        """Return the content of ``head.npz``."""
        stream = io.BytesIO()
        offset, full = (np.array([number], np.float32) for number in (self.offset, self.full))
        np.savez(stream, towards=self.towards, offset=offset, full=full)
        return stream.getvalue()


def decode(content: bytes) -> Head:
    """Read verified ``head.npz``; never unpickles.

    Raises
    ------
    BundleRefused
        If it does not hold what it should.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            towards, offset, full = arrays["towards"], arrays["offset"], arrays["full"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise BundleRefused("the bundle's head.npz cannot be read") from error
    sound = (
        all(array.dtype == np.float32 and bool(np.isfinite(array).all()) for array in (towards, offset, full))
        and towards.ndim == 1
        and 1 <= len(towards) <= _LARGEST
        and offset.shape == full.shape == (1,)
        and bool(full[0] > 0)
    )
    if not sound:
        raise BundleRefused("the bundle's head.npz does not hold the last layer of a network")
    return Head(towards, float(offset[0]), float(full[0]))
