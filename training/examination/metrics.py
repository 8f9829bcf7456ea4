"""Figures of merit with intervals by patient. Written out in NumPy: each is a few lines, and tested by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bundle.manifest import Interval
from training.examination.reliability import calibration_figures, expected_calibration_error

Floats = NDArray[np.float64]

NAMES: Final = (
    "auc",
    "accuracy",
    "sensitivity",
    "specificity",
    "precision",
    "average_precision",
    "brier",
    "ece",
)
# Asked for by name: what of calibration the JSON of `lungwatch evaluate` does not carry.
CALIBRATION_NAMES: Final = ("ece_debiased", "log_loss", "calibration_slope", "calibration_intercept")
# Asked for by name as well: half of sensitivity and specificity together, which no prevalence moves.
BALANCED: Final = "balanced_accuracy"
_INTERVAL: Final = (2.5, 97.5)


@dataclass(frozen=True)
class Scored:
    """What a model said of labelled images.

    Attributes
    ----------
    labels : ndarray of int64, shape (n,)
        1 is PNEUMONIA.
    scores, probabilities : ndarray of float64, shape (n,)
        The model's own output and the calibrated probability, 0 to 1.
    patients : ndarray of int64, shape (n,)
        Images of one patient share a number.
    """

    labels: NDArray[np.int64]
    scores: Floats
    probabilities: Floats
    patients: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def only(self, which: NDArray[np.bool_]) -> Scored:
        """Return some of the images."""
        return Scored(self.labels[which], self.scores[which], self.probabilities[which], self.patients[which])


def figures(
    scored: Scored, threshold: float | Floats, weights: Floats | None = None, names: Sequence[str] = NAMES
) -> dict[str, float]:
    """Compute figures once.

    Parameters
    ----------
    threshold : float or ndarray of float64, shape (n,)
        Scores at or above it are called PNEUMONIA; one for each image where it was not chosen for all together.
    weights : ndarray of float64, shape (n,), optional
        How often each image counts.
    names : sequence of str
        The figures of `NAMES` and `BALANCED` are computed anyway, those of `CALIBRATION_NAMES` if they are among these.

    Returns
    -------
    dict of str to float
        NaN where a figure is undefined, such as the AUC of one class.
    """
    weights = np.ones(len(scored)) if weights is None else weights
    ill = scored.labels == 1
    called = scored.scores >= threshold
    area, average_precision = _ranking(ill, scored.scores, weights)
    found = {
        "auc": area,
        "accuracy": _mean(called == ill, weights),
        "sensitivity": _mean(called[ill], weights[ill]),
        "specificity": _mean(~called[~ill], weights[~ill]),
        "precision": _mean(ill[called], weights[called]),
        "average_precision": average_precision,
        "brier": _mean((scored.probabilities - ill) ** 2, weights),
        "ece": expected_calibration_error(ill, scored.probabilities, weights),
    }
    found[BALANCED] = (found["sensitivity"] + found["specificity"]) / 2
    if not set(names).isdisjoint(CALIBRATION_NAMES):
        found |= calibration_figures(ill, scored.probabilities, weights)
    return found


def intervals(
    scored: Scored, threshold: float | Floats, names: Sequence[str] = NAMES, resamples: int = 1000, seed: int = 0
) -> dict[str, Interval]:
    """Compute figures with 95 % intervals by resampling patients, all images of one together (percentile bootstrap).

    The calibration error's draws are shifted by their median bias before the
    percentiles are taken: resampling by itself adds to it. That interval tells
    how far the computed figure may vary; the figure is itself too high where
    images are few, which no shift mends.

    Returns
    -------
    dict of str to Interval
        With None where a figure is undefined on these images.
    """
    value = figures(scored, threshold, names=names)
    draws = {name: np.full(resamples, np.nan) for name in names}
    for number, weights in enumerate(patient_weights(scored.patients, resamples, seed)):
        drawn = figures(scored, threshold, weights, names)
        for name in names:
            draws[name][number] = drawn[name]
    return {name: interval_of(name, value[name], draws[name]) for name in names}


def interval_of(name: str, value: float, draws: Floats) -> Interval:
    """Return a figure with the 95 % interval that its bootstrap draws span; see `intervals`."""
    if name in {"ece", "ece_debiased"} and np.isfinite(draws).any():
        # Resampling adds noise that ECE counts as miscalibration: without this its interval lies above its value.
        # By the median and not the mean, so that the value lies within the interval however skewed the draws are.
        draws = np.maximum(draws - (np.nanmedian(draws) - value), 0.0)
    return _interval(value, draws)


def patient_weights(patients: NDArray[np.int64], resamples: int, seed: int) -> Iterator[Floats]:
    """Draw image weights of bootstrap resamples, one after the other: how often each image's patient was drawn."""
    _, position = np.unique(patients, return_inverse=True)
    # nobody is drawn from nobody, as often as asked
    count = int(position.max(initial=0)) + 1
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        yield rng.multinomial(count, np.full(count, 1 / count))[position].astype(np.float64)


def patient_counts(patients: int, resamples: int, rng: np.random.Generator) -> Floats:
    """Return how often each patient was drawn in bootstrap resamples, shape (resamples, patients).

    The same chance as in `patient_weights`, five times as fast, from another
    stream of numbers: intervals on record were made with that one.
    """
    drawn = rng.integers(patients, size=(resamples, patients))
    drawn += np.arange(resamples)[:, np.newaxis] * patients
    counts = np.bincount(drawn.ravel(), minlength=resamples * patients)
    return counts.reshape(resamples, patients).astype(np.float64)


def areas(ill: NDArray[np.bool_], scores: Floats, weights: Floats) -> Floats:
    """Compute the area under the ROC curve for many weightings at once, ties counting half.

    Parameters
    ----------
    weights : ndarray of float64, shape (k, n)
        How often each image counts, in each weighting.

    Returns
    -------
    ndarray of float64, shape (k,)
        NaN where a class has no weight.
    """
    sick, well = np.flatnonzero(ill), np.flatnonzero(~ill)
    well = well[np.argsort(scores[well])]
    below = np.zeros((len(weights), len(well) + 1))
    np.cumsum(weights.take(well, axis=1), axis=1, out=below[:, 1:])
    drawn = weights.take(sick, axis=1)
    # of a positive: the negatives below it, and half of those it is tied with
    lower, upper = (np.searchsorted(scores[well], scores[sick], side) for side in ("left", "right"))
    wins = np.einsum("ki,ki->k", drawn, below.take(lower, axis=1))
    wins += np.einsum("ki,ki->k", drawn, below.take(upper, axis=1))
    pairs = drawn.sum(axis=1) * below[:, -1]
    found = np.full(len(weights), np.nan)
    np.divide(wins / 2, pairs, out=found, where=pairs > 0)
    return found


def _interval(value: float, draws: Floats) -> Interval:
    draws = draws[np.isfinite(draws)]
    if not np.isfinite(value) or len(draws) == 0:
        return Interval(value=None, low=None, high=None)
    low, high = np.percentile(draws, _INTERVAL)
    return Interval(value=round(float(value), 5), low=round(float(low), 5), high=round(float(high), 5))


def _mean(values: NDArray[np.bool_] | Floats, weights: Floats) -> float:
    total = float(weights.sum())
    return float((values * weights).sum()) / total if total > 0 else float("nan")


def _ranking(ill: NDArray[np.bool_], scores: Floats, weights: Floats) -> tuple[float, float]:
    """Return the area under the ROC curve, ties counting half, and the average precision (no interpolation)."""
    values, position = np.unique(scores, return_inverse=True)
    positives = np.bincount(position, weights * ill, len(values))
    negatives = np.bincount(position, weights * ~ill, len(values))
    all_positives = positives.sum()
    if all_positives == 0 or len(values) == 0:
        return float("nan"), float("nan")
    # from the highest score down: what is called when the threshold stands at each value
    called_positives = np.cumsum(positives[::-1])
    called = called_positives + np.cumsum(negatives[::-1])
    precision = np.divide(called_positives, called, out=np.zeros_like(called), where=called > 0)
    average_precision = float((precision * positives[::-1]).sum() / all_positives)
    return float(areas(ill, scores, weights[np.newaxis])[0]), average_precision
