"""What the scores of a contender are worth: at the notebook's argmax as they come, and at an operating point chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bundle.calibration import Calibration, probability
from bundle.manifest import Interval
from training.comparison.protocols import Fold, Rows
from training.comparison.record import Result
from training.datasets.dataset import Item
from training.datasets.pixels import labels_of, patients_of
from training.errors import FitFailed
from training.examination.calibrate import platt
from training.examination.metrics import (
    BALANCED,
    CALIBRATION_NAMES,
    NAMES,
    Scored,
    figures,
    interval_of,
    intervals,
    patient_weights,
)
from training.examination.operating_point import choose

Floats = NDArray[np.float64]

FIGURES: Final = (*NAMES, BALANCED, *CALIBRATION_NAMES)
# of two softmax columns the second is the larger: equal ones are NORMAL, the first
ARGMAX: Final = float(np.nextafter(0.5, 1))
_HALVES_SEED: Final = 13


@dataclass(frozen=True, slots=True)
class Confusion:
    """Images over all folds."""

    true_negative: int
    false_positive: int
    false_negative: int
    true_positive: int


@dataclass(frozen=True)
class Division:
    """A contender on one fold, with what it was called at and 95 % intervals by patient."""

    thresholds: tuple[float, ...]
    metrics: dict[str, Interval]


@dataclass(frozen=True)
class View:
    """A contender seen one way.

    Attributes
    ----------
    thresholds : tuple of float
        What scores were called at, lowest to highest.
    metrics : dict of str to Interval
        Means over folds with 95 % intervals by patient.
    spread : dict of str to tuple of float
        Lowest and highest fold.
    scored : tuple of Scored
        By fold, with the probabilities of this view.
    divisions : tuple of Division
        By fold, where there are several.
    """

    thresholds: tuple[float, ...]
    metrics: dict[str, Interval]
    spread: dict[str, tuple[float, float]]
    confusion: Confusion
    scored: tuple[Scored, ...]
    divisions: tuple[Division, ...]


@dataclass(frozen=True)
class Judgement:
    """A contender's two views; `chosen` is None where no operating point could be chosen, and `reason` says why."""

    argmax: View
    chosen: View | None
    reason: str | None


def judge(  # noqa: PLR0917 - a fold each, and how to count
    items: Sequence[Item],
    folds: Sequence[Fold],
    results: Sequence[Result],
    required: float,
    resamples: int = 1000,
    advance: Callable[[], None] = lambda: None,
) -> Judgement:
    """Judge a contender.

    Parameters
    ----------
    results : sequence of Result
        One for each fold.
    required : float
        What the lower bound of sensitivity by patient must reach at the operating point.
    resamples : int
        Of patients, for the intervals.
    advance : callable
        Called after each view.
    """
    raw = [_scored(items, fold.scored, result.scored) for fold, result in zip(folds, results, strict=True)]
    argmax = _view(raw, [np.full(len(scored), ARGMAX) for scored in raw], resamples)
    advance()
    try:
        points = [
            _by_others(_scored(items, fold.tune, result.tuned), scored, required)
            if len(fold.tune)
            else _by_halves(scored, required)
            for fold, result, scored in zip(folds, results, raw, strict=True)
        ]
    except FitFailed as error:
        advance()
        return Judgement(argmax, None, str(error))
    chosen = _view([scored for scored, _ in points], [thresholds for _, thresholds in points], resamples)
    advance()
    return Judgement(argmax, chosen, None)


def _scored(items: Sequence[Item], rows: Rows, scores: Sequence[float]) -> Scored:
    values = np.array(scores, np.float64)
    return Scored(labels_of(items)[rows], values, values, patients_of(items)[rows])


def _by_others(tuned: Scored, scored: Scored, required: float) -> tuple[Scored, Floats]:
    """Calibrate and choose the threshold on other patients than those scored."""
    calibration = platt(tuned.labels, tuned.scores)
    point, _ = choose(_calibrated(tuned, calibration), required)
    return _calibrated(scored, calibration), np.full(len(scored), point.threshold)


def _by_halves(scored: Scored, required: float) -> tuple[Scored, Floats]:
    """Calibrate and choose each half of the patients' threshold on the other half."""
    first = _half(scored)
    probabilities, thresholds = np.empty(len(scored)), np.empty(len(scored))
    for part in (first, ~first):
        judged, at = _by_others(scored.only(~part), scored.only(part), required)
        probabilities[part], thresholds[part] = judged.probabilities, at
    return Scored(scored.labels, scored.scores, probabilities, scored.patients), thresholds


def _half(scored: Scored) -> NDArray[np.bool_]:
    """Return which images belong to the first half of patients, with pneumonia and without halved apart."""
    rng = np.random.default_rng(_HALVES_SEED)
    ill = np.unique(scored.patients[scored.labels == 1])
    well = np.setdiff1d(scored.patients, ill)
    first = np.concatenate([rng.permutation(patients)[: len(patients) // 2] for patients in (ill, well)])
    return np.isin(scored.patients, first)


def _calibrated(scored: Scored, calibration: Calibration) -> Scored:
    probabilities = np.array([probability(float(score), calibration, None).probability for score in scored.scores])
    return Scored(scored.labels, scored.scores, probabilities, scored.patients)


def _view(scored: Sequence[Scored], thresholds: Sequence[Floats], resamples: int) -> View:
    each = [figures(part, at, names=FIGURES) for part, at in zip(scored, thresholds, strict=True)]
    draws = _draws(scored, thresholds, resamples)
    calls = [part.scores >= at for part, at in zip(scored, thresholds, strict=True)]
    ill = [part.labels == 1 for part in scored]
    metrics, spread = {}, {}
    for name in FIGURES:
        values = np.array([found[name] for found in each])
        metrics[name] = interval_of(name, _mean(values), draws[name])
        if np.isfinite(values).all():
            spread[name] = (round(float(values.min()), 5), round(float(values.max()), 5))

    def count(called: bool, sick: bool) -> int:  # noqa: FBT001 - read by name below
        return sum(int(((call == called) & (truth == sick)).sum()) for call, truth in zip(calls, ill, strict=True))

    divisions = [
        Division(_distinct(at), intervals(part, at, FIGURES, resamples))
        for part, at in zip(scored, thresholds, strict=True)
        if len(scored) > 1
    ]
    return View(
        thresholds=_distinct(np.concatenate(thresholds)),
        metrics=metrics,
        spread=spread,
        confusion=Confusion(
            true_negative=count(called=False, sick=False),
            false_positive=count(called=True, sick=False),
            false_negative=count(called=False, sick=True),
            true_positive=count(called=True, sick=True),
        ),
        scored=tuple(scored),
        divisions=tuple(divisions),
    )


def _distinct(thresholds: Floats) -> tuple[float, ...]:
    return tuple(sorted({round(float(value), 6) for value in thresholds}))


def _draws(scored: Sequence[Scored], thresholds: Sequence[Floats], resamples: int) -> dict[str, Floats]:
    """Return each figure's mean over folds in each resample; a patient drawn twice counts twice in every fold."""
    ends = np.cumsum([len(part) for part in scored])[:-1]
    patients = np.concatenate([part.patients for part in scored])
    draws = {name: np.full(resamples, np.nan) for name in FIGURES}
    for number, weights in enumerate(patient_weights(patients, resamples, seed=0)):
        parts = zip(scored, thresholds, np.split(weights, ends), strict=True)
        drawn = [figures(part, at, share, FIGURES) for part, at, share in parts]
        for name in FIGURES:
            draws[name][number] = _mean(np.array([found[name] for found in drawn]))
    return draws


def _mean(values: Floats) -> float:
    """Return the mean over folds; undefined in one is undefined."""
    return float(values.mean()) if np.isfinite(values).all() else float("nan")
