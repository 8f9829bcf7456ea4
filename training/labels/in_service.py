"""Sensitivity and specificity in service, from the studies drawn for blind review.

Readers look at what is flagged, so what they find says little of what the
model missed. A known share of everything is drawn at random and read blind;
each drawn study then stands for one over its chance of being drawn (Horvitz and
Thompson 1952), and a figure is the ratio of two such sums (Hajek 1971), which
is why the sums' own error cancels.

**Non-response.** Drawn studies that nobody read blind, or on which blind
readers could not tell or are in dispute, are taken to be like those answered
that had the same outcome of the model when they were drawn: the answered ones'
weights are raised by the inverse of their weighted share (response homogeneity
groups: Särndal, Swensson and Wretman 1992, section 15.6). If what is hard is
answered less often, that is optimistic; so the share answered is always shown.
Unreadable studies and those that are no chests are answers, and count in neither figure.

**Intervals.** Misses are few and each stands for many studies, so resampling
and linearisation give an interval of no width just where nothing was missed
yet. Positives that were drawn come as a Poisson process, so both sums have the
gamma intervals of Fay and Feuer (1997) for weighted sums of Poisson counts,
which hold also where nothing was seen; the two are melded into one for the
share (Fay, Proschan and Brittain 2015). With equal weights that is the exact
interval of Clopper and Pearson. The patient is the unit: all that one of them
adds to a sum counts as one event. docs/decisions/0019-intervals-in-service.md has the comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from db.consensus import Finding
from db.draws import Draw
from db.vocabulary import Outcome

Floats = NDArray[np.float64]

# fewer patients than these give intervals that span most of what is possible
FEWEST_PATIENTS: Final = 10
_CONFIDENCE: Final = 0.95
_DRAWS: Final = 20_000
_ANSWERS: Final = frozenset({Finding.PNEUMONIA, Finding.NO_PNEUMONIA, Finding.UNUSABLE})
_ASSESSED: Final = (Outcome.SUSPECTED, Outcome.NOT_SUSPECTED)


@dataclass(frozen=True, slots=True)
class Sums:
    """Weights of the studies on one side of a share.

    Attributes
    ----------
    weights : ndarray of float64, shape (n,)
        How many studies each stands for.
    patients : ndarray of int64, shape (n,)
        Studies of one patient share a number.
    largest : float
        The largest weight that a study here could have had; used where few or none are.
    """

    weights: Floats
    patients: NDArray[np.int64]
    largest: float


@dataclass(frozen=True, slots=True)
class Figure:
    """A share with its 95 % interval.

    Attributes
    ----------
    value, low, high : float or None
        None where too little is known; `problem` says why.
    hits, misses : int
        Studies read that count for and against, unweighted.
    """

    value: float | None
    low: float | None
    high: float | None
    hits: int
    misses: int
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """Drawn studies of one outcome.

    Attributes
    ----------
    outcome : Outcome
        The model's when they were drawn.
    stands_for : float
        How many studies those drawn stand for.
    answered, undecided, seen, unread : int
        They add up to `drawn`: with an answer; blind readers could not tell or are in dispute; read, but not blind; not
        read.
    """

    outcome: Outcome
    drawn: int
    stands_for: float
    answered: int
    undecided: int
    seen: int
    unread: int


@dataclass(frozen=True, slots=True)
class InService:
    """What the blind sample says of the model in service.

    Attributes
    ----------
    sensitivity : Figure
        Of studies with pneumonia that the model assessed, the share SUSPECTED.
    specificity : Figure
        Of studies without, likewise, the share NOT_SUSPECTED.
    assessed : Figure
        Of studies with pneumonia, the share that the model assessed: neither out of scope nor without result.
    """

    sensitivity: Figure
    specificity: Figure
    assessed: Figure
    cells: tuple[Cell, ...]


def in_service(drawn: Sequence[Draw]) -> InService:
    """Estimate the figures from all drawn studies, answered or not."""
    cells = tuple(_cell(outcome, [one for one in drawn if one.drawn_outcome is outcome]) for outcome in Outcome)
    weights = _weights(drawn)
    _, patients = np.unique([one.patient for one in drawn], return_inverse=True)

    def sums(outcomes: Sequence[Outcome], finding: Finding) -> Sums:
        among = np.array([one.read_outcome in outcomes and one.finding in _ANSWERS for one in drawn], bool)
        found = among & np.array([one.finding is finding for one in drawn], bool)
        largest = float(weights[among].max()) if among.any() else 0.0
        return Sums(weights[found], patients[found].astype(np.int64), largest)

    def figure(hits: Sequence[Outcome], misses: Sequence[Outcome], finding: Finding) -> Figure:
        return _figure(cells, drawn, (hits, misses), finding, lambda side: sums(side, finding))

    others = tuple(outcome for outcome in Outcome if outcome not in _ASSESSED)
    suspected, not_suspected = ((outcome,) for outcome in _ASSESSED)
    return InService(
        sensitivity=figure(suspected, not_suspected, Finding.PNEUMONIA),
        specificity=figure(not_suspected, suspected, Finding.NO_PNEUMONIA),
        assessed=figure(_ASSESSED, others, Finding.PNEUMONIA),
        cells=tuple(cell for cell in cells if cell.drawn),
    )


def share(hits: Sums, misses: Sums, confidence: float = _CONFIDENCE, seed: int = 0) -> tuple[float, float, float]:
    """Return the weighted share of hits, and its interval; see the module for how.

    Parameters
    ----------
    hits, misses : Sums
        At least one of them with a study.
    seed : int
        The limits are quantiles of draws, the same each time.

    Returns
    -------
    value, low, high : float
        0 to 1.
    """
    rng = np.random.default_rng(seed)
    (hits_low, hits_high), (misses_low, misses_high) = (_gammas(side, rng) for side in (hits, misses))
    tail = (1 - confidence) / 2
    low = float(np.quantile(_part(hits_low, misses_high), tail))
    high = float(np.quantile(_part(hits_high, misses_low), 1 - tail))
    total = float(hits.weights.sum() + misses.weights.sum())
    return float(hits.weights.sum()) / total, low, high


def _gammas(side: Sums, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Draw from the lower and the upper confidence distribution of a weighted sum of Poisson counts."""
    by_patient = np.bincount(side.patients, side.weights) if len(side.weights) else np.zeros(1)
    total, variance, more = float(by_patient.sum()), float((by_patient**2).sum()), side.largest
    low = np.zeros(_DRAWS) if total == 0 else rng.gamma(total**2 / variance, variance / total, _DRAWS)
    if total + more == 0:
        return low, np.zeros(_DRAWS)
    more_variance = variance + more**2
    return low, rng.gamma((total + more) ** 2 / more_variance, more_variance / (total + more), _DRAWS)


def _part(one: Floats, other: Floats) -> Floats:
    total = one + other
    return np.divide(one, total, out=np.zeros_like(total), where=total > 0)


def _weights(drawn: Sequence[Draw]) -> Floats:
    """Return how many studies each answered one stands for, those not answered of its outcome included."""
    own = np.array([1 / one.probability for one in drawn], np.float64)
    answered = np.array([one.finding in _ANSWERS for one in drawn], bool)
    for outcome in Outcome:
        group = np.array([one.drawn_outcome is outcome for one in drawn], bool)
        if (group & answered).any():
            own[group] *= own[group].sum() / own[group & answered].sum()
    return own


def _cell(outcome: Outcome, drawn: Sequence[Draw]) -> Cell:
    answered = sum(one.finding in _ANSWERS for one in drawn)
    seen = sum(one.seen for one in drawn)
    unread = sum(one.finding is None and not one.seen for one in drawn)
    return Cell(
        outcome=outcome,
        drawn=len(drawn),
        stands_for=sum(1 / one.probability for one in drawn),
        answered=answered,
        undecided=len(drawn) - answered - seen - unread,
        seen=seen,
        unread=unread,
    )


def _figure(
    cells: Sequence[Cell],
    drawn: Sequence[Draw],
    sides: tuple[Sequence[Outcome], Sequence[Outcome]],
    finding: Finding,
    sums: Callable[[Sequence[Outcome]], Sums],
) -> Figure:
    hits, misses = (sums(side) for side in sides)
    counts = len(hits.weights), len(misses.weights)
    problem = _problem(cells, drawn, sides, finding, len(np.union1d(hits.patients, misses.patients)))
    if problem is not None:
        return Figure(None, None, None, *counts, problem)
    value, low, high = share(hits, misses)
    return Figure(round(value, 5), round(low, 5), round(high, 5), *counts)


def _problem(
    cells: Sequence[Cell],
    drawn: Sequence[Draw],
    sides: tuple[Sequence[Outcome], Sequence[Outcome]],
    finding: Finding,
    patients: int,
) -> str | None:
    """Say why a figure cannot be told, None if it can."""
    for cell in cells:
        if cell.outcome in (*sides[0], *sides[1]) and cell.drawn and not cell.answered:
            return f"too few: none of the {cell.drawn} drawn that were {cell.outcome} is answered"
    for side in sides:
        if not any(one.read_outcome in side and one.finding in _ANSWERS for one in drawn):
            return f"too few: none that is {' or '.join(side)} was drawn and answered"
    if patients < FEWEST_PATIENTS:
        what = "with" if finding is Finding.PNEUMONIA else "without"
        return f"too few: {patients} patients {what} pneumonia among those answered, {FEWEST_PATIENTS} are needed"
    return None
