"""What being called is worth where pneumonia is rarer than in the collection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bundle.manifest import PredictiveValues
from training.examination.metrics import Scored, interval_of, patient_weights

PREVALENCES: Final = (0.05, 0.1, 0.2)

Floats = NDArray[np.float64]


def predictive_values(
    scored: Scored,
    threshold: float,
    prevalences: Sequence[float] = PREVALENCES,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[PredictiveValues, ...]:
    """Derive positive and negative predictive value at other prevalences from sensitivity and specificity (Bayes).

    Right as far as the ill and the well of another place look like those
    measured: prevalence alone is changed.

    Parameters
    ----------
    threshold : float
        Scores at or above it are called PNEUMONIA.

    Returns
    -------
    tuple of PredictiveValues
        One for each prevalence, with 95 % intervals by resampling patients, sensitivity and specificity
        together; None where a value is undefined, as with one class alone.
    """
    ill, called = scored.labels == 1, scored.scores >= threshold
    whole = _rates(ill, called, np.ones(len(scored)))
    drawn = np.array([_rates(ill, called, weights) for weights in patient_weights(scored.patients, resamples, seed)])
    found = []
    for prevalence in prevalences:
        values, draws = _values(whole, prevalence), _values(drawn.T, prevalence)
        ppv, npv = (
            interval_of(name, float(value), draw)
            for name, value, draw in zip(("ppv", "npv"), values, draws, strict=True)
        )
        found.append(PredictiveValues(prevalence=prevalence, ppv=ppv, npv=npv))
    return tuple(found)


def _rates(ill: NDArray[np.bool_], called: NDArray[np.bool_], weights: Floats) -> Floats:
    """Return sensitivity and specificity, NaN where a class is missing."""
    positives, negatives = weights[ill].sum(), weights[~ill].sum()
    return np.array(
        [
            weights[ill & called].sum() / positives if positives else np.nan,
            weights[~ill & ~called].sum() / negatives if negatives else np.nan,
        ]
    )


def _values(rates: Floats, prevalence: float) -> tuple[Floats, Floats]:
    """Return positive and negative predictive value, NaN where nobody is called, or nobody is not."""
    sensitivity, specificity = rates
    right, wrong = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    missed, spared = (1 - sensitivity) * prevalence, specificity * (1 - prevalence)
    return _share(right, wrong), _share(spared, missed)


def _share(part: Floats, rest: Floats) -> Floats:
    whole = np.asarray(part + rest)
    return np.asarray(np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0), np.float64)
