"""How far two samples are apart, and how far chance alone would put them.

Images of one patient are alike, so n of them tell less than n patients would.
What they tell is reckoned as if a patient's images were all the same: Kish's
effective number, (sum m)^2 / sum m^2 for patients with m images each (Survey
Sampling, 1965), which errs on the side of silence.

Without drift the population stability index is, with B bins, close to
(1/n + 1/m) times a chi-square of B - 1 degrees of freedom (Yurdakul and
Naranjo 2020, Journal of Risk Model Validation 14(4)); on average it is (B - 1)(1/n + 1/m),
and the usual bounds, made for samples of many thousands, do not know that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from training.nightly.drift.result import Statistic
from training.nightly.drift.rules import Rules

Floats = NDArray[np.float64]

# A share smaller than this counts as this: the logarithm of nothing is infinite, and one device more among hundreds
# is no strong drift.
FLOOR: Final = 0.005
_NORMAL: Final = NormalDist()


@dataclass(frozen=True, slots=True)
class Sample:
    """What was seen of one thing in one period.

    Attributes
    ----------
    values : ndarray, shape (n,)
        Of float64, bool, or text.
    patients : ndarray of int64, shape (n,)
        Values of one patient share a number.
    """

    values: NDArray[Any]
    patients: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def worth(self) -> float:
        """How many patients with one value each would tell as much."""
        if not len(self):
            return 0.0
        _, counts = np.unique(self.patients, return_counts=True)
        return float(len(self) ** 2 / (counts.astype(np.float64) ** 2).sum())


@dataclass(frozen=True, slots=True)
class Bounds:
    """From where on a value is told.

    Attributes
    ----------
    notice, strong : float
        Chance included.
    told : bool
        Whether as much as strong drift stands out from chance among so many.
    wanted : int
        Patients in each period from which on it does.
    """

    notice: float
    strong: float
    told: bool
    wanted: int

    @classmethod
    def of(cls, statistic: Statistic, rules: Rules, chance: float, worths: tuple[float, float], bins: int = 2) -> Self:
        """Reckon them.

        Parameters
        ----------
        chance : float
            Probability that this measure reaches `notice` without drift.
        worths : (float, float)
            `Sample.worth` of both periods, above 0.
        bins : int
            Of PSI.
        """
        spread = 1 / worths[0] + 1 / worths[1]
        match statistic:
            case Statistic.PSI:
                freedom = max(bins - 1, 1)
                mean, far = freedom * spread, chi_square(freedom, chance)
                notice, strong, by_chance = rules.psi_notice + mean, rules.psi_strong + mean, far * spread
                widest = rules.psi_strong / (far - freedom)
            case Statistic.KS:
                # two normal distributions of equal width with that index are so far apart
                notice, strong = (2 * _NORMAL.cdf(psi**0.5 / 2) - 1 for psi in (rules.psi_notice, rules.psi_strong))
                far = -math.log(chance / 2) / 2
                by_chance, widest = (far * spread) ** 0.5, strong**2 / far
            case Statistic.H:
                notice, strong = rules.rate_notice, rules.rate_strong
                far = _NORMAL.inv_cdf(1 - chance / 2)
                by_chance, widest = far * spread**0.5, (strong / far) ** 2
        told = spread <= widest
        return cls(max(notice, by_chance), max(strong, by_chance), told, math.ceil(2 / widest))


def chi_square(freedom: int, tail: float) -> float:
    """Return the chi-square that is exceeded with this probability (Wilson and Hilferty 1931).

    Within 1 % for three degrees of freedom or more; for one it is 3 % too large.
    """
    width = 2 / (9 * freedom)
    return float(freedom * (1 - width + _NORMAL.inv_cdf(1 - tail) * width**0.5) ** 3)


def stability_index(reference: Floats, recent: Floats) -> float:
    """Return the population stability index of two lists of shares."""
    before, now = np.maximum(reference, FLOOR), np.maximum(recent, FLOOR)
    return float(((now - before) * np.log(now / before)).sum())


def largest_distance(reference: Floats, recent: Floats) -> float:
    """Return by how much two distributions differ at most (Kolmogorov, Smirnov), of values in any order."""
    both = np.concatenate([reference, recent])
    shares = [np.searchsorted(np.sort(one), both, "right") / len(one) for one in (reference, recent)]
    return float(np.abs(shares[0] - shares[1]).max())


def steadied(share: float, worth: float) -> float:
    """Return a share as if a little of either were seen besides (Anscombe 1948, Biometrika 35:246).

    Without, what is seen of few by chance looks large next to nothing, and next to everything.
    """
    return (share * worth + 3 / 8) / (worth + 3 / 4)


def h(before: float, now: float) -> float:
    """Return Cohen's h of two shares, below 0 where the second is smaller (Statistical Power Analysis, 1988)."""
    return 2 * math.asin(now**0.5) - 2 * math.asin(before**0.5)


def share_at(before: float, size: float) -> float:
    """Return the share that lies so far from another one; 0 or 1 where there is none."""
    angle = math.asin(before**0.5) + size / 2
    return math.sin(min(max(angle, 0.0), math.pi / 2)) ** 2


def quantile_edges(values: Floats, bins: int = 10) -> Floats:
    """Return inner edges that part the values alike.

    A value that is so common that it is several of these edges gets a bin of its own, as wide as one number.
    """
    edges, counts = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1]), return_counts=True)
    return np.sort(np.concatenate([edges, np.nextafter(edges[counts > 1], np.inf)]))


def shares(values: Floats, inner: Floats) -> Floats:
    """Return the share of values from edge to edge; a value on an edge counts above it."""
    counts = np.bincount(np.searchsorted(inner, values, "right"), minlength=len(inner) + 1)
    return counts / len(values)
