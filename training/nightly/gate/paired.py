"""Two models' right answers to the same patients: an interval for the difference, and how many patients it takes.

The bootstrap alone is too sure of itself where few patients are answered
differently, and sees nothing where none is: its interval then has no width,
however few they are. The score interval knows better (Tango 1998, Statistics in
Medicine 17:891-908; its test at the margin is that of Nam 1997, Biometrics
53:1422-1430, which keeps its level where Wald's does not: Liu et al. 2002,
Statistics in Medicine 21:231-245).
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

from training.nightly.gate.rules import CONFIDENCE, POWER

_BISECTIONS: Final = 60
# what lies beyond with the probability that the interval leaves on either side, in standard deviations
TWO_SIDED: Final = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
_POWER: Final = NormalDist().inv_cdf(POWER)


def score_interval(gained: float, lost: float, patients: int) -> tuple[float, float]:
    """Return Tango's 95 % interval of a difference of paired shares.

    Parameters
    ----------
    gained, lost : float
        Patients that the one answers rightly and the other wrongly, and the
        reverse. A patient of several images counts with the share of them.
    patients : int
        All of them, above 0.

    Returns
    -------
    tuple of float
        -1 to 1.
    """
    return _lower(gained, lost, patients), -_lower(lost, gained, patients)


def _lower(gained: float, lost: float, patients: int) -> float:
    low, high = -1.0, (gained - lost) / patients
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        # the further below what was seen, the less believable
        if _score(gained, lost, patients, middle) > TWO_SIDED:
            low = middle
        else:
            high = middle
    return low


def _score(gained: float, lost: float, patients: int, difference: float) -> float:
    """Return how many standard deviations what was seen lies above a supposed difference."""
    # the likeliest share of the lost, were the difference the supposed one (Tango 1998, equation 7)
    a = 2 * patients
    b = -gained - lost + (2 * patients - gained + lost) * difference
    c = -lost * difference * (1 - difference)
    share = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = patients * (2 * share + difference * (1 - difference))
    above = gained - lost - patients * difference
    return above / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, above)


def fewest(margin: float) -> int:
    """Return the number of patients below which the margin cannot be told, whatever they show.

    With fewer, the score interval reaches below the margin even if both models answer every patient alike.
    """
    return math.floor(TWO_SIDED**2 * (1 - margin) / margin) + 1


def wanted(margin: float, spread: float) -> int:
    """Return the number of patients with which an equal model shows the margin in four cases of five.

    Parameters
    ----------
    spread : float
        Standard deviation of the difference, times the root of the number of
        patients: for one image a patient, the root of the share that is
        answered differently (Nam 1997; Liu et al. 2002).
    """
    return max(fewest(margin), math.ceil(((TWO_SIDED + _POWER) * spread / margin) ** 2))
