"""How far probabilities can be believed: calibration error, slope and intercept, log-loss. Cases may carry weights."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ECE_BINS: Final = 15
# a float32 softmax saturates at exactly 0 and 1; its log-odds would be infinite
_EDGE: Final = 1e-7
_STEPS: Final = 50
_SMALL: Final = 1e-8
# beyond it the classes are separated, and a slope grows for as long as one steps
_STEEPEST: Final = 1e3


def bins_of(probabilities: Floats) -> NDArray[np.int64]:
    """Return which of 15 bins of equal width each probability lies in."""
    return np.minimum((probabilities * ECE_BINS).astype(np.int64), ECE_BINS - 1)


def expected_calibration_error(ill: NDArray[np.bool_], probabilities: Floats, weights: Floats) -> float:
    """Return the mean gap between probability and frequency over 15 bins of equal width, weighted by their content."""
    total = float(weights.sum())
    if total == 0:
        return float("nan")
    bins = bins_of(probabilities)
    gaps = np.bincount(bins, weights * (probabilities - ill), ECE_BINS)
    return float(np.abs(gaps).sum() / total)


def log_odds(probabilities: Floats) -> Floats:
    """Return log-odds, of probabilities nearer than 1e-7 to either end those of 1e-7."""
    inside = np.clip(probabilities, _EDGE, 1 - _EDGE)
    return np.asarray(np.log(inside / (1 - inside)), np.float64)


def log_losses(ill: NDArray[np.bool_], probabilities: Floats) -> Floats:
    """Return what each image adds to the log-loss, in nats."""
    inside = np.clip(probabilities, _EDGE, 1 - _EDGE)
    return np.asarray(-np.log(np.where(ill, inside, 1 - inside)), np.float64)


def calibration_figures(ill: NDArray[np.bool_], probabilities: Floats, weights: Floats) -> dict[str, float]:
    """Return debiased calibration error, log-loss, slope and intercept; NaN where one is undefined."""
    total = float(weights.sum())
    lost = log_losses(ill, probabilities)
    slope, intercept = _recalibration(ill, log_odds(probabilities), weights)
    return {
        "ece_debiased": _debiased_calibration_error(ill, probabilities, weights),
        "log_loss": float((lost * weights).sum()) / total if total > 0 else float("nan"),
        "calibration_slope": slope,
        "calibration_intercept": intercept,
    }


def _debiased_calibration_error(ill: NDArray[np.bool_], probabilities: Floats, weights: Floats) -> float:
    """Return the calibration error less what chance alone adds to it, not below 0.

    After Kumar, Liang and Ma 2019 (arXiv 1909.10155): were the frequencies of
    the bins drawn anew, the error would grow by about what it has grown by
    already. The mean of a folded normal replaces their draws.
    """
    total = float(weights.sum())
    if total == 0:
        return float("nan")
    bins = bins_of(probabilities)
    content = np.bincount(bins, weights, ECE_BINS)
    gaps = np.bincount(bins, weights * (probabilities - ill), ECE_BINS)
    frequencies = np.divide(np.bincount(bins, weights * ill, ECE_BINS), content, where=content > 0, out=gaps * 0)
    found = redrawn = 0.0
    for count, gap, frequency in zip(content, gaps, frequencies, strict=True):
        if count > 0:
            found += abs(gap)
            redrawn += count * _folded(gap / count, math.sqrt(frequency * (1 - frequency) / count))
    return max(0.0, float(2 * found - redrawn) / total)


def _folded(mean: float, deviation: float) -> float:
    """Return the mean distance from 0 of a normal variable."""
    if deviation == 0:
        return abs(mean)
    far = mean / (deviation * math.sqrt(2))
    return deviation * math.sqrt(2 / math.pi) * math.exp(-(far**2)) + mean * math.erf(far)


def _recalibration(ill: NDArray[np.bool_], odds: Floats, weights: Floats) -> tuple[float, float]:
    """Return Cox's slope, and the intercept where the slope is held at 1 (1 and 0: rightly calibrated).

    NaN where a class is missing or the classes are separated, since no slope is steep enough then.
    """
    positives, total = float(weights[ill].sum()), float(weights.sum())
    if positives in {0.0, total}:
        return float("nan"), float("nan")
    held = _logistic(np.ones((len(odds), 1)), ill, weights, odds)
    return float(recalibration_line(ill, odds, weights)[1]), float(held[0])


def recalibration_line(ill: NDArray[np.bool_], odds: Floats, weights: Floats) -> Floats:
    """Return intercept and slope of the logistic regression on log-odds, both free (Cox 1958); NaN where separated.

    Both classes must have weight.
    """
    drawn = weights > 0
    well, sick = odds[drawn & ~ill], odds[drawn & ill]
    # stepping finds this out as well, in fifty steps
    if well.max() < sick.min() or sick.max() < well.min():
        return np.full(2, np.nan)
    return _logistic(np.stack([np.ones_like(odds), odds], axis=1), ill, weights, np.zeros_like(odds))


def _logistic(design: Floats, ill: NDArray[np.bool_], weights: Floats, offset: Floats) -> Floats:
    """Return the coefficients of a logistic regression by Newton's method, NaN where there are none."""
    beta = np.zeros(design.shape[1])
    nothing = np.full(design.shape[1], np.nan)
    for _ in range(_STEPS):
        share = 1 / (1 + np.exp(-np.clip(design @ beta + offset, -500, 500)))
        gradient = design.T @ (weights * (ill - share))
        curvature = (design * (weights * share * (1 - share))[:, np.newaxis]).T @ design
        try:
            step = np.linalg.solve(curvature, gradient)
        except np.linalg.LinAlgError:
            return nothing
        # a whole Newton step may leap out of the bowl far from the optimum
        size = float(np.abs(step).max())
        beta += step * min(1.0, 2.0 / max(size, _SMALL))
        if not np.isfinite(beta).all() or float(np.abs(beta).max()) > _STEEPEST:
            return nothing
        if size < _SMALL:
            return beta
    return nothing
