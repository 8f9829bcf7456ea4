"""Learning what is familiar from the fitted images, and from where on an image is not."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bundle.familiarity import DESCRIPTIONS, Familiarity, Spread, describe
from bundle.manifest import Unfamiliarity
from imaging.spec import PreprocessSpec
from training.datasets.patients import Split
from training.datasets.pixels import Examples, Squares
from training.familiarity.noticing import false_alarms

ALLOWED_FALSE_ALARMS: Final = 0.01
# Share of a plain sphere in each covariance: chosen on the classes of `training.familiarity.unlike.TUNING`.
_SHRINKAGE: Final = {"layout": 0.5, "edges": 0.5, "detail": 0.01}
_JUST_ABOVE: Final = 1 + 1e-4

# images at a time in 64 bits
_ROWS: Final = 1024


@dataclass(frozen=True)
class Descriptions:
    """Images described; see `bundle.familiarity.describe`.

    Attributes
    ----------
    values : dict of str to ndarray of float32, shape (n, d)
        A key of `DESCRIPTIONS` each; together 1.9 KB an image.
    labels, patients : ndarray of int64, shape (n,)
        As in `training.datasets.pixels.Examples`.
    """

    values: dict[str, NDArray[np.float32]]
    labels: NDArray[np.int64]
    patients: NDArray[np.int64]


def of_examples(examples: Examples, advance: Callable[[], None] = lambda: None) -> Descriptions:
    """Describe images that are network input already, one at a time: there may be more than memory holds."""
    return Descriptions(_values(examples.planes, len(examples), advance), examples.labels, examples.patients)


def of_squares(squares: Squares, spec: PreprocessSpec, advance: Callable[[], None] = lambda: None) -> Descriptions:
    """Describe images that are kept as squares, as `of_examples`; their rounding, to 1/65535, is all that differs."""
    planes = (spec.finish(square.astype(np.float32))[:, :, 0] for square in squares.planes)
    return Descriptions(_values(planes, len(squares), advance), squares.labels, squares.patients)


def _values(
    planes: Iterable[NDArray[np.float32]], count: int, advance: Callable[[], None]
) -> dict[str, NDArray[np.float32]]:
    probe = describe(np.zeros((1, 1, 1), np.float32))
    values = {name: np.empty((count, len(one)), np.float32) for name, one in probe.items()}
    for row, plane in enumerate(planes):
        for name, described in describe(plane[:, :, np.newaxis]).items():
            values[name][row] = described
        advance()
    return values


def fit(fitted: Descriptions, held_out: Descriptions) -> Familiarity:
    """Learn where the training images lie.

    Parameters
    ----------
    fitted : Descriptions
        Of the images the network was fitted on; each class has a centre of its own.
    held_out : Descriptions
        Of other patients: they set the scale of each description.
    """
    spreads = {}
    classes, belongs = np.unique(fitted.labels, return_inverse=True)
    for name in DESCRIPTIONS:
        values = fitted.values[name]
        of_class = [(belongs == number)[:, np.newaxis] for number in range(len(classes))]
        centres = np.stack([values.mean(axis=0, dtype=np.float64, where=which) for which in of_class])
        whitening = _whitening(_covariance(values, centres, belongs), _SHRINKAGE[name])
        spread = Spread(centres.astype(np.float32), whitening, 1.0)
        reached = spread.distance(held_out.values[name])
        spreads[name] = Spread(spread.centres, whitening, _reached_by_few(reached))
    return Familiarity(spreads)


def _covariance(
    values: NDArray[np.float32], centres: NDArray[np.float64], belongs: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the covariance around each row's own centre, shape (d, d)."""
    total = np.zeros((values.shape[1], values.shape[1]))
    for start in range(0, len(values), _ROWS):
        rows = slice(start, start + _ROWS)
        centred = values[rows] - centres[belongs[rows]]
        total += centred.T @ centred
    return total / len(values)


def _whitening(covariance: NDArray[np.float64], shrinkage: float) -> NDArray[np.float32]:
    """Return what makes differences of one length in every direction: the root of the inverse of their covariance."""
    deviation = np.sqrt(np.diagonal(covariance))
    # a value that never varies must not weigh without bound
    deviation = np.maximum(deviation, max(1e-3 * float(deviation.max()), 1e-6))
    correlation = (1 - shrinkage) * covariance / np.outer(deviation, deviation) + shrinkage * np.eye(len(deviation))
    lengths, directions = np.linalg.eigh(correlation)
    whitening: NDArray[np.float64] = directions / np.sqrt(lengths) / deviation[:, np.newaxis]
    return whitening.astype(np.float32)


def _reached_by_few(values: NDArray[np.float64], allowed: float = ALLOWED_FALSE_ALARMS) -> float:
    """Return the value that at most the allowed share lies above, as a new image would (split conformal; Vovk 2005)."""
    rank = min(math.ceil((len(values) + 1) * (1 - allowed)), len(values))
    return float(np.sort(values)[rank - 1])


def choose(familiarity: Familiarity, validation: Examples, test: Examples) -> Unfamiliarity:
    """Choose from where on an image is unfamiliar, on patients that shaped nothing else of it.

    Parameters
    ----------
    validation : Examples
        What the threshold is chosen on.
    test : Examples
        Where the share of false alarms is looked at and nothing is chosen; may be empty.
    """
    found = of_examples(validation)
    values = familiarity.of(found.values)
    # just above an image that is still familiar, so that rounding in another build of a library flags nothing
    threshold = _reached_by_few(values) * _JUST_ABOVE
    alarms = {Split.VALIDATION.value: false_alarms(values, found.patients, threshold)}
    if len(test):
        alarms[Split.TEST.value] = false_alarms(familiarity.of(of_examples(test).values), test.patients, threshold)
    return Unfamiliarity(
        threshold=threshold,
        allowed_false_alarms=ALLOWED_FALSE_ALARMS,
        images=len(values),
        patients=len(np.unique(found.patients)),
        chosen_how=f"lowest that at most {ALLOWED_FALSE_ALARMS:.0%} of the validation images reach",
        false_alarms=alarms,
        noticed={},
    )
