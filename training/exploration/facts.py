"""What is measured of one image, and how measures of two classes are held against each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from imaging.master import master_digest
from imaging.spec import PreprocessSpec
from training.datasets.dataset import Rendered

LEVELS: Final = 256
_TO_LEVELS: Final = 257
# the outer eighth: where letters and the edge of the plate are
_FRAME: Final = 8


@dataclass(frozen=True, slots=True)
class Facts:
    """One image in figures; grey levels are those of its master, 0 black to 255 white.

    Attributes
    ----------
    rows, columns : int
        Of the original, pixels.
    size : int
        Bytes of its file.
    file_digest, master_digest : str
        SHA-256 of the file, and of the pixels after decoding and shrinking.
    mean, deviation, low, high : float
        Mean, standard deviation, 1st and 99th percentile.
    clipped : float
        Share of pixels that are black or white, 0 to 1.
    sharpness : float
        Mean step between neighbours in the first square of the preprocessing, grey levels.
    frame : float
        Mean of that square's outer eighth.
    """

    rows: int
    columns: int
    size: int
    file_digest: str
    master_digest: str
    mean: float
    deviation: float
    low: float
    high: float
    clipped: float
    sharpness: float
    frame: float


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure of an image worth comparing between classes."""

    name: str
    title: str
    of: Callable[[Facts], float]


MEASURES: Final = (
    Measure("rows", "rows, pixels", lambda facts: facts.rows),
    Measure("columns", "columns, pixels", lambda facts: facts.columns),
    Measure("aspect", "columns / rows", lambda facts: facts.columns / facts.rows),
    Measure("bytes_per_pixel", "bytes of the file per pixel", lambda facts: facts.size / (facts.rows * facts.columns)),
    Measure("mean", "mean grey level", lambda facts: facts.mean),
    Measure("deviation", "standard deviation of grey", lambda facts: facts.deviation),
    Measure("low", "1st percentile of grey", lambda facts: facts.low),
    Measure("high", "99th percentile of grey", lambda facts: facts.high),
    Measure("clipped", "share of black or white pixels", lambda facts: facts.clipped),
    Measure("sharpness", "sharpness: mean step between neighbours", lambda facts: facts.sharpness),
    Measure("frame", "mean grey level of the outer eighth", lambda facts: facts.frame),
)


@dataclass(frozen=True, slots=True)
class Spread:
    """Least, 5th percentile, median, 95th percentile and largest."""

    least: float
    low: float
    median: float
    high: float
    largest: float


def measure(rendered: Rendered, spec: PreprocessSpec) -> tuple[Facts, NDArray[np.int64]]:
    """Measure one image.

    Returns
    -------
    Facts
    levels : ndarray of int64, shape (256,)
        How many of the master's pixels have each grey level.
    """
    levels = np.bincount((rendered.master >> 8).ravel(), minlength=LEVELS)
    total = int(levels.sum())
    scale = np.arange(LEVELS)
    mean = float(levels @ scale) / total
    below = np.cumsum(levels) / total
    square = spec.square(rendered.master) / np.float32(_TO_LEVELS)
    steps = [float(np.abs(np.diff(square, axis=axis)).mean()) for axis in (0, 1) if square.shape[axis] > 1]
    return (
        Facts(
            rows=rendered.rows,
            columns=rendered.columns,
            size=rendered.size,
            file_digest=rendered.file_digest,
            master_digest=master_digest(rendered.master),
            mean=mean,
            deviation=float(np.sqrt(levels @ (scale - mean) ** 2 / total)),
            low=float(np.searchsorted(below, 0.01)),
            high=float(np.searchsorted(below, 0.99)),
            clipped=float(levels[0] + levels[-1]) / total,
            sharpness=float(np.mean(steps)) if steps else 0.0,
            frame=_frame(square),
        ),
        levels,
    )


def spread(values: Sequence[float]) -> Spread:
    """Return the spread of at least one value."""
    return Spread(*(float(value) for value in np.percentile(np.asarray(values, float), (0, 5, 50, 95, 100))))


def separation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Return how well a measure alone tells two groups apart: AUC, 0.5 (not at all) to 1; None if one is empty.

    References
    ----------
    Mann and Whitney 1947; ties count half.
    """
    if not one or not other:
        return None
    low, values = np.sort(np.asarray(one, float)), np.asarray(other, float)
    wins = (np.searchsorted(low, values, "left") + np.searchsorted(low, values, "right")) / 2
    area = float(wins.mean()) / len(low)
    return max(area, 1 - area)


def _frame(square: NDArray[np.float32]) -> float:
    depth = max(1, square.shape[0] // _FRAME)
    inside = square[depth:-depth, depth:-depth]
    count = square.size - inside.size
    return float((square.sum(dtype=np.float64) - inside.sum(dtype=np.float64)) / count)
