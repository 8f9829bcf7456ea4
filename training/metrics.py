"""Figures of merit with intervals by patient. Written out in NumPy: each is a few lines, and tested by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bundle.manifest import Interval

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
_ECE_BINS: Final = 15
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


def figures(scored: Scored, threshold: float, weights: Floats | None = None) -> dict[str, float]:
    """Compute every figure once.

    Parameters
    ----------
    threshold : float
        Scores at or above it are called PNEUMONIA.
    weights : ndarray of float64, shape (n,), optional
        How often each image counts.

    Returns
    -------
    dict of str to float
        NaN where a figure is undefined, such as the AUC of one class.
    """
    weights = np.ones(len(scored)) if weights is None else weights
    ill = scored.labels == 1
    called = scored.scores >= threshold
    area, average_precision = _ranking(ill, scored.scores, weights)
    return {
        "auc": area,
        "accuracy": _mean(called == ill, weights),
        "sensitivity": _mean(called[ill], weights[ill]),
        "specificity": _mean(~called[~ill], weights[~ill]),
        "precision": _mean(ill[called], weights[called]),
        "average_precision": average_precision,
        "brier": _mean((scored.probabilities - ill) ** 2, weights),
        "ece": _expected_calibration_error(ill, scored.probabilities, weights),
    }


def intervals(
    scored: Scored, threshold: float, names: Sequence[str] = NAMES, resamples: int = 1000, seed: int = 0
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
    value = figures(scored, threshold)
    draws = {name: np.full(resamples, np.nan) for name in names}
    for number, weights in enumerate(patient_weights(scored.patients, resamples, seed)):
        drawn = figures(scored, threshold, weights)
        for name in names:
            draws[name][number] = drawn[name]
    if "ece" in draws:
        # Resampling adds noise that ECE counts as miscalibration: without this its interval lies above its value.
        # By the median and not the mean, so that the value lies within the interval however skewed the draws are.
        excess = np.nanmedian(draws["ece"]) - value["ece"] if np.isfinite(draws["ece"]).any() else 0.0
        draws["ece"] = np.maximum(draws["ece"] - excess, 0.0)
    return {name: _interval(value[name], draws[name]) for name in names}


def patient_weights(patients: NDArray[np.int64], resamples: int, seed: int) -> Sequence[Floats]:
    """Return image weights of bootstrap resamples: how often each image's patient was drawn."""
    _, position = np.unique(patients, return_inverse=True)
    if len(position) == 0:
        return [np.empty(0)] * resamples
    count = int(position.max()) + 1
    rng = np.random.default_rng(seed)
    return [rng.multinomial(count, np.full(count, 1 / count))[position].astype(np.float64) for _ in range(resamples)]


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
    all_positives, all_negatives = positives.sum(), negatives.sum()
    if all_positives == 0 or len(values) == 0:
        return float("nan"), float("nan")
    # from the highest score down: what is called when the threshold stands at each value
    called_positives = np.cumsum(positives[::-1])
    called = called_positives + np.cumsum(negatives[::-1])
    precision = np.divide(called_positives, called, out=np.zeros_like(called), where=called > 0)
    average_precision = float((precision * positives[::-1]).sum() / all_positives)
    if all_negatives == 0:
        return float("nan"), average_precision
    below = np.cumsum(negatives) - negatives
    area = float((positives * (below + negatives / 2)).sum() / (all_positives * all_negatives))
    return area, average_precision


def _expected_calibration_error(ill: NDArray[np.bool_], probabilities: Floats, weights: Floats) -> float:
    """Return the mean gap between probability and frequency over 15 bins of equal width, weighted by their content."""
    total = float(weights.sum())
    if total == 0:
        return float("nan")
    bins = np.minimum((probabilities * _ECE_BINS).astype(np.int64), _ECE_BINS - 1)
    gaps = np.bincount(bins, weights * (probabilities - ill), _ECE_BINS)
    return float(np.abs(gaps).sum() / total)
