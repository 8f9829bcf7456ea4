"""Platt scaling on patients held out from fitting (Platt 1999, with his softened targets)."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from bundle.calibration import Calibration, logit
from training.errors import FitFailed

_STEPS: Final = 100
_SMALL: Final = 1e-10


def platt(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> Calibration:
    """Fit slope and intercept of log-odds against the score's own log-odds.

    Parameters
    ----------
    labels : ndarray of int64, shape (n,)
        1 is PNEUMONIA.
    scores : ndarray of float64, shape (n,)
        0 to 1, of patients neither fitted on nor watched.

    Returns
    -------
    Calibration
        The training prevalence is that of these images, since the intercept absorbs it.

    Raises
    ------
    FitFailed
        If a class is missing, or higher scores do not mean more pneumonia.
    """
    positives, count = int(labels.sum()), len(labels)
    if positives in {0, count}:
        raise FitFailed("calibration needs both classes among the validation patients; use more data")
    # softened targets keep the slope finite where the classes separate perfectly
    targets = np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (count - positives + 2))
    design = np.stack([[logit(float(score)) for score in scores], np.ones(count)], axis=1)
    beta = np.array([1.0, 0.0])
    for _ in range(_STEPS):
        share = 1 / (1 + np.exp(-np.clip(design @ beta, -500, 500)))
        gradient = design.T @ (targets - share)
        curvature = (design * (share * (1 - share))[:, np.newaxis]).T @ design + _SMALL * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        # a whole Newton step may leap out of the bowl far from the optimum
        step *= min(1.0, 1.0 / float(np.abs(step).max() + _SMALL))
        beta += step
        if float(np.abs(step).max()) < _SMALL:
            break
    slope, intercept = float(beta[0]), float(beta[1])
    if not (np.isfinite(slope) and np.isfinite(intercept) and slope > 0):
        raise FitFailed("calibration failed: higher scores do not mean more pneumonia on the validation patients")
    return Calibration(slope=slope, intercept=intercept, training_prevalence=positives / count)
