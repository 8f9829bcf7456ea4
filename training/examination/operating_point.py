"""Where a score becomes SUSPECTED: as high as the assured sensitivity allows, and what that costs."""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bundle.manifest import OperatingPoint, UncertaintyBand
from training.errors import FitFailed
from training.examination.metrics import Scored, intervals, patient_weights

REQUIRED_SENSITIVITY: Final = 0.97
CONFIDENCE: Final = 0.95
# a round figure, not tuned on scores; on each side of the threshold, so that a NOT_SUSPECTED may be UNCERTAIN as well
BAND_SHARE: Final = 0.05
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
            f"at least {needed} are needed, or require less (--sensitivity, LUNGWATCH_NIGHTLY_SENSITIVITY)"
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
        Around the threshold; see `band_around`.

    Raises
    ------
    FitFailed
        If a class is missing, there are too few patients for any threshold to
        reach it, or only a threshold of 0 would, which calls every image.
    """
    ill = scored.only(scored.labels == 1)
    if len(ill) in {0, len(scored)}:
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
    return point, band_around(threshold, scored.scores)


def band_around(threshold: float, scores: NDArray[np.float64], share: float = BAND_SHARE) -> UncertaintyBand:
    """Return the scores nearest the threshold, on either side of it.

    Parameters
    ----------
    threshold : float
        Above 0, below 1, and no one's score.
    scores : ndarray of float64, shape (n,)
        Of all held-out images, of either class.
    share : float
        Of these images, how many each side holds: those nearest below, and
        those nearest above. A count, and so the same on any scale of the score.

    Returns
    -------
    UncertaintyBand
        Its ends lie halfway to the next score outside, so that rounding in
        another runtime changes no flag; equal scores are all within. Where a
        side has fewer images it ends halfway to 0 or 1.
    """
    count = max(1, math.ceil(share * len(scores)))
    below, above = np.sort(scores[scores < threshold])[::-1], np.sort(scores[scores >= threshold])
    return UncertaintyBand(
        low=_end(below, count, threshold, 0.0),
        high=_end(above, count, threshold, 1.0),
        chosen_how=(
            f"the {share:.0%} of the same images whose scores lie nearest below the threshold, and the {share:.0%} "
            "nearest above it"
        ),
    )


def _end(outwards: NDArray[np.float64], count: int, threshold: float, limit: float) -> float:
    """Return the middle between the last of `count` scores, ordered outwards, and the first beyond."""
    last = float(outwards[:count][-1]) if len(outwards) else threshold
    beyond = outwards[np.abs(outwards - threshold) > abs(last - threshold)]
    return (last + (float(beyond[0]) if len(beyond) else limit)) / 2


def _highest(scored: Scored, ill: Scored, required: float, confidence: float) -> tuple[float, float]:
    """Return the highest threshold that reaches the required sensitivity, with its lower bound.

    By halving: the lower the threshold, the more images are called, and of each patient, and in each resample,
    for all thresholds meet the same ones. So the bound never falls, and whatever reaches it lies below what does not.
    """
    values, candidates = np.unique(scored.scores), np.unique(ill.scores)[::-1]
    thresholds = [_between(values, float(value)) for value in candidates]
    # cheap first: the share itself must reach what its lower bound has to
    called = len(ill) - np.searchsorted(np.sort(ill.scores), candidates)
    first = int(np.argmax(called / len(ill) >= required))

    def reaches(threshold: float) -> bool:
        return sensitivity_lower_bound(ill, threshold, confidence) >= required

    chosen = bisect_left(thresholds, True, lo=first, key=reaches)  # noqa: FBT003 - what the key gives
    if chosen == len(thresholds) or thresholds[chosen] <= 0:
        message = "no threshold reaches the required sensitivity on the validation patients; use more data"
        raise FitFailed(message)
    return thresholds[chosen], sensitivity_lower_bound(ill, thresholds[chosen], confidence)


def _between(values: NDArray[np.float64], value: float) -> float:
    below = values[values < value]
    return (value + float(below[-1])) / 2 if len(below) else value / 2
