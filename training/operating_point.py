"""Where a score becomes SUSPECTED: as high as the assured sensitivity allows, and what that costs."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bundle.manifest import OperatingPoint, UncertaintyBand
from training.errors import FitFailed
from training.metrics import Scored, intervals, patient_weights

REQUIRED_SENSITIVITY: Final = 0.97
CONFIDENCE: Final = 0.95
_BAND_SENSITIVITY: Final = 0.99
_BAND_SPECIFICITY: Final = 0.95
_RESAMPLES: Final = 2000
_BISECTIONS: Final = 60


def binomial_lower_bound(hits: int, trials: int, confidence: float = CONFIDENCE) -> float:
    """Return the exact one-sided lower bound of a share (Clopper and Pearson 1934), 0 to 1."""
    if hits <= 0:
        return 0.0
    low, high = 0.0, hits / trials
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        # the probability of at least so many hits grows with the share
        if _at_least(hits, trials, middle) > 1 - confidence:
            high = middle
        else:
            low = middle
    return low


def _at_least(hits: int, trials: int, share: float) -> float:
    if share <= 0:
        return 0.0
    whole = math.lgamma(trials + 1)
    return sum(
        math.exp(
            whole
            - math.lgamma(count + 1)
            - math.lgamma(trials - count + 1)
            + count * math.log(share)
            + (trials - count) * math.log1p(-share)
        )
        for count in range(hits, trials + 1)
    )


def sensitivity_lower_bound(ill: Scored, threshold: float, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided lower bound of sensitivity, a patient being the unit.

    Parameters
    ----------
    ill : Scored
        Images with pneumonia only.

    Returns
    -------
    float
        The smaller of two bounds. Exact binomial over patients, each counting
        with the share of their images that were called, rounded down: it
        holds where nobody was missed and resampling sees no spread. Bootstrap
        by patient over images: it holds where patients with many images fail together.
    """
    called = (ill.scores >= threshold).astype(np.float64)
    _, position, counts = np.unique(ill.patients, return_inverse=True, return_counts=True)
    hits = math.floor(float((np.bincount(position, called) / counts).sum()) + 1e-9)
    exact = binomial_lower_bound(hits, len(counts), confidence)
    draws = [
        float((called * weights).sum() / weights.sum()) for weights in patient_weights(ill.patients, _RESAMPLES, seed=0)
    ]
    return min(exact, float(np.percentile(draws, 100 * (1 - confidence))))


def refuse_too_few(patients: int, required: float = REQUIRED_SENSITIVITY, confidence: float = CONFIDENCE) -> None:
    """Raise `FitFailed` where so many patients with pneumonia cannot assure a sensitivity even if none is missed."""
    # the bound with none missed is the share whose power is what chance may still explain
    needed = math.ceil(math.log(1 - confidence) / math.log(required))
    if patients < needed:
        raise FitFailed(
            f"too few validation patients with pneumonia ({patients}) to assure a sensitivity of {required:g}; "
            f"at least {needed} are needed, or require less with --sensitivity"
        )


def choose(
    scored: Scored, required: float = REQUIRED_SENSITIVITY, confidence: float = CONFIDENCE
) -> tuple[OperatingPoint, UncertaintyBand]:
    """Choose threshold and uncertainty band on patients held out from fitting.

    Parameters
    ----------
    required : float
        What the lower bound of sensitivity must reach.

    Returns
    -------
    OperatingPoint
        The highest threshold that reaches it, placed halfway to the next
        lower score, so that rounding in another runtime changes no outcome.
    UncertaintyBand
        From the score above which 99 % of pneumonia lies to the score above
        which only 5 % of normals lie; the threshold is always within.

    Raises
    ------
    FitFailed
        If a class is missing or there are too few patients for any threshold to reach it.
    """
    ill, well = scored.only(scored.labels == 1), scored.only(scored.labels == 0)
    if len(ill) == 0 or len(well) == 0:
        raise FitFailed("an operating point needs both classes among the validation patients; use more data")
    refuse_too_few(len(np.unique(ill.patients)), required, confidence)
    threshold, bound = _highest(scored, ill, required, confidence)
    found = intervals(scored, threshold, ("sensitivity", "specificity"))
    point = OperatingPoint(
        threshold=threshold,
        required_sensitivity=required,
        confidence=confidence,
        sensitivity_lower_bound=round(bound, 5),
        sensitivity=found["sensitivity"],
        specificity=found["specificity"],
        patients=len(np.unique(scored.patients)),
        images=len(scored),
        chosen_how=(
            f"highest threshold whose one-sided {confidence:.0%} lower bound of sensitivity by patient is at least "
            f"{required:g}, on patients held out from fitting, from choosing the epoch and from the test"
        ),
    )
    low = min(threshold, float(np.quantile(ill.scores, 1 - _BAND_SENSITIVITY, method="lower")))
    high = max(threshold, float(np.quantile(well.scores, _BAND_SPECIFICITY, method="higher")))
    return point, UncertaintyBand(low=low, high=high)


def _highest(scored: Scored, ill: Scored, required: float, confidence: float) -> tuple[float, float]:
    values = np.unique(scored.scores)
    for value in np.unique(ill.scores)[::-1]:
        # cheap first: the share itself must reach what its lower bound has to
        if float(np.mean(ill.scores >= value)) < required:
            continue
        threshold = _between(values, float(value))
        bound = sensitivity_lower_bound(ill, threshold, confidence)
        if bound >= required:
            return threshold, bound
    message = "no threshold reaches the required sensitivity on the validation patients; use more data"
    raise FitFailed(message)


def _between(values: NDArray[np.float64], value: float) -> float:
    below = values[values < value]
    return (value + float(below[-1])) / 2 if len(below) else value / 2
