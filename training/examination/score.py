"""Scoring a data set exactly as the worker would: the bundle's own runtime, calibration and spec."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bundle.calibration import Calibration, probability
from bundle.runtime import Runtime
from training.datasets.pixels import Examples
from training.errors import DatasetError
from training.examination.metrics import Scored

_BATCH: Final = 64


def score(runtime: Runtime, examples: Examples, advance: Callable[[int], None] = lambda _: None) -> NDArray[np.float64]:
    """Return the network's output for each image, float64 of shape (n,).

    Raises
    ------
    DatasetError
        Naming the image whose score is not a number from 0 to 1.
    """
    scores = np.empty(len(examples))
    for start in range(0, len(examples), _BATCH):
        rows = slice(start, min(start + _BATCH, len(examples)))
        scores[rows] = runtime.predict(examples.inputs(rows))
        advance(rows.stop - rows.start)
    wrong = np.flatnonzero(~((scores >= 0) & (scores <= 1)))
    if len(wrong):
        raise DatasetError(f"{examples.items[wrong[0]].key}: the model's score is not a number from 0 to 1")
    return scores


def scored(examples: Examples, scores: NDArray[np.float64], calibration: Calibration) -> Scored:
    """Put labels, scores and probabilities at the training prevalence together."""
    return Scored(examples.labels, scores, probabilities(scores, calibration), examples.patients)


def probabilities(scores: NDArray[np.float64], calibration: Calibration) -> NDArray[np.float64]:
    """Return the calibrated probability of each score, at the training prevalence."""
    return np.array([probability(float(value), calibration, None).probability for value in scores], np.float64)
