"""Learning what is familiar from the fitted images, and from where on an image is not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bundle.familiarity import DESCRIPTIONS, Familiarity, Spread, describe
from bundle.manifest import Unfamiliarity
from imaging.spec import PreprocessSpec
from training.datasets.dataset import Dataset, Item
from training.datasets.patients import Split
from training.datasets.pixels import Examples, labels_of, patients_of
from training.familiarity.noticing import false_alarms

ALLOWED_FALSE_ALARMS: Final = 0.01
# Share of a plain sphere in each covariance: chosen on the classes of `training.familiarity.unlike.TUNING`.
_SHRINKAGE: Final = {"layout": 0.5, "edges": 0.5, "detail": 0.01}
_JUST_ABOVE: Final = 1 + 1e-4

Described = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Descriptions:
    """Images described; see `bundle.familiarity.describe`.

    Attributes
    ----------
    rows : list of dict
        One an image.
    labels, patients : ndarray of int64, shape (n,)
        As in `training.datasets.pixels.Examples`.
    """

    rows: list[Described]
    labels: NDArray[np.int64]
    patients: NDArray[np.int64]


def describe_items(
    dataset: Dataset, items: Sequence[Item], spec: PreprocessSpec, advance: Callable[[], None] = lambda: None
) -> Descriptions:
    """Describe images as they are read, one at a time: of the fitted ones there may be more than memory holds."""
    rows = []
    for item in items:
        rows.append(describe(spec.apply(dataset.master(item))))
        advance()
    return Descriptions(rows, labels_of(items), patients_of(items))


def of_examples(examples: Examples) -> Descriptions:
    """Describe images that are network input already."""
    return Descriptions(
        [describe(plane[..., np.newaxis]) for plane in examples.planes], examples.labels, examples.patients
    )


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
    for name in DESCRIPTIONS:
        values = np.stack([row[name] for row in fitted.rows]).astype(np.float64)
        classes = np.unique(fitted.labels)
        centres = np.stack([values[fitted.labels == label].mean(axis=0) for label in classes])
        whitening = _whitening(values - centres[np.searchsorted(classes, fitted.labels)], _SHRINKAGE[name])
        spread = Spread(centres.astype(np.float32), whitening, 1.0)
        reached = spread.distance(np.stack([row[name] for row in held_out.rows]))
        spreads[name] = Spread(spread.centres, whitening, _reached_by_few(reached))
    return Familiarity(spreads)


def _whitening(centred: NDArray[np.float64], shrinkage: float) -> NDArray[np.float32]:
    """Return what makes differences of one length in every direction: the root of the inverse of their covariance."""
    deviation = centred.std(axis=0)
    # a value that never varies must not weigh without bound
    deviation = np.maximum(deviation, max(1e-3 * float(deviation.max()), 1e-6))
    scaled = centred / deviation
    correlation = (1 - shrinkage) * scaled.T @ scaled / len(scaled) + shrinkage * np.eye(scaled.shape[1])
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
    values = familiarity.of(found.rows)
    # just above an image that is still familiar, so that rounding in another build of a library flags nothing
    threshold = _reached_by_few(values) * _JUST_ABOVE
    alarms = {Split.VALIDATION.value: false_alarms(values, found.patients, threshold)}
    if len(test):
        alarms[Split.TEST.value] = false_alarms(familiarity.of(of_examples(test).rows), test.patients, threshold)
    return Unfamiliarity(
        threshold=threshold,
        allowed_false_alarms=ALLOWED_FALSE_ALARMS,
        images=len(values),
        patients=len(np.unique(found.patients)),
        chosen_how=f"lowest that at most {ALLOWED_FALSE_ALARMS:.0%} of the validation images reach",
        false_alarms=alarms,
        noticed={},
    )
