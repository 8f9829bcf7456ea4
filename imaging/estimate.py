"""Whether a smaller image that a decoder made is enough: by how much a master made of it would be off, estimated.

Two things are lost. A wavelet's short filters let some of the finest detail
through, more of it the closer the smaller image is to the master's size. And a
decoder averages stored values, where a table that bends (a window that cuts
values off, a steep VOI LUT) should have been applied before. The weights were
fitted to full decodes of generated and of public radiographs, with windows
from wide to narrow, linear and sigmoid (docs/decisions/0018-reduced-decoding.md).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from imaging.decode.module import PixelModule
from imaging.grayscale import Rendering
from imaging.master import FULL_SCALE, LONGEST_SIDE

_DETAIL: Final = 0.035
_BEND: Final = 1.0
# every fourth row tells as much as all of them
_ROWS: Final = 4
# share of a sample's difference from its neighbour that is taken for the spread of its pixels, for each pixel between
_SPREAD: Final = 0.09


def missed(rendering: Rendering, stored: NDArray[np.integer], module: PixelModule, step: int) -> float:
    """Estimate by how much the model's input would differ from a full decode's.

    Parameters
    ----------
    rendering : Rendering
        Of the image.
    stored : ndarray of uint8, uint16 or int16, shape (rows, columns)
        Samples at reduced resolution.
    module : PixelModule
        What they are.
    step : int
        Pixels from one sample to the next.

    Returns
    -------
    float
        Root mean square over the image, grey levels of 255.
    """
    # the table in the order of the values it is for
    lowest = len(rendering.table) // 2 if module.signed else 0
    table = np.roll(rendering.table, lowest).astype(np.float32) * np.float32(255 / FULL_SCALE)
    rows = len(stored) // _ROWS
    values = stored[: rows * _ROWS : _ROWS].astype(np.int32) + lowest
    below = stored[1 : rows * _ROWS : _ROWS].astype(np.int32) + lowest
    detail = _rms(np.diff(table[values], n=2, axis=1))
    left: float = max(stored.shape) / LONGEST_SIDE
    return _DETAIL * detail / left + _BEND * _bend(table, values, below, step)


def _bend(table: NDArray[np.float32], values: NDArray[np.int32], below: NDArray[np.int32], step: int) -> float:
    """Return by how much the table's value at a mean misses the mean of its values; the spread is a guess."""
    centre = values[:, :-1]
    differences = np.maximum(np.abs(np.diff(values, axis=1)), np.abs(below[:, :-1] - centre))
    spread = np.rint(differences * (step * _SPREAD)).astype(np.int32)
    low, high = centre - spread, centre + spread
    # there are no values beyond the table's ends to bend towards
    within = (low >= 0) & (high < len(table))
    low, high = np.where(within, low, centre), np.where(within, high, centre)
    return _rms((table[low] + table[high]) / 2 - table[centre])


def _rms(plane: NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(plane**2, dtype=np.float64))) if plane.size else 0.0
