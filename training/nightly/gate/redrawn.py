"""Every figure the gate looks at, for all resamples at once. Patients are drawn whole, the same for each model.

Resampling patients keeps their images together (Rutter 2000, Academic Radiology
7:413-419), and drawing the same ones for every model keeps the pairing. Sums over
images are sums over patients times how often each was drawn: one product of
matrices. Only AUC and slope need the images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.examination.metrics import areas, patient_counts
from training.examination.reliability import log_losses, log_odds, recalibration_line
from training.nightly.gate.exam import Answers, FrozenTest

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

# so many weights are held at once (32 MB), however many patients and resamples there are
_AT_ONCE: Final = 1 << 18
_NEWTON_STEPS: Final = 3
_LONGEST_STEP: Final = 2.0


class Figure(StrEnum):
    """What is measured of a model."""

    AUC = "auc"
    SENSITIVITY = "sensitivity"
    SPECIFICITY = "specificity"
    LOG_LOSS = "log_loss"
    SLOPE = "slope"


# a figure, and the subgroup it is of: "" is everybody
Key = tuple[Figure, str]
Drawn = dict[Key, Floats]


def redraw(test: FrozenTest, models: Sequence[Answers], resamples: int, rng: np.random.Generator) -> tuple[Drawn, ...]:
    """Compute each model's figures on the test set and on resamples of its patients.

    Parameters
    ----------
    models : sequence of Answers
        The first one alone gets its calibration slope measured.

    Returns
    -------
    tuple of dict, one for each model
        Arrays of shape (resamples + 1,). The first entry is the figure itself,
        the others those of the resamples; NaN where a class is missing.
    """
    patients = test.numbers
    ratios = [_Ratios(test, model, patients) for model in models]
    line = recalibration_line(test.ill, log_odds(models[0].probabilities), np.ones(len(test)))
    parts: list[list[Drawn]] = [[] for _ in models]
    for counts in _counts(patients, resamples, len(test), rng):
        weights = counts.take(patients, axis=1)
        for model, shares, part in zip(models, ratios, parts, strict=True):
            part.append(shares.of(counts) | {(Figure.AUC, ""): areas(test.ill, model.scores, weights)})
        parts[0][-1][Figure.SLOPE, ""] = _slopes(test.ill, log_odds(models[0].probabilities), weights, line)
    return tuple({key: np.concatenate([one[key] for one in part]) for key in part[0]} for part in parts)


def _counts(patients: NDArray[np.int64], resamples: int, images: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Give how often each patient counts, some resamples at a time; in the very first everybody counts once."""
    count = int(patients.max()) + 1
    yield np.ones((1, count))
    step = max(1, _AT_ONCE // images)
    for start in range(0, resamples, step):
        yield patient_counts(count, min(step, resamples - start), rng)


class _Ratios:
    """Figures that are a sum over images divided by another one."""

    def __init__(self, test: FrozenTest, model: Answers, patients: NDArray[np.int64]) -> None:
        called = model.scores >= model.threshold
        everybody = np.ones(len(test), np.bool_)
        pairs: dict[Key, tuple[Floats | Bools, Bools]] = {
            (Figure.LOG_LOSS, ""): (log_losses(test.ill, model.probabilities), everybody)
        }
        for group, member in {"": everybody, **test.subgroups}.items():
            pairs[Figure.SENSITIVITY, group] = (member & test.ill & called, member & test.ill)
            pairs[Figure.SPECIFICITY, group] = (member & ~test.ill & ~called, member & ~test.ill)
        self.keys = list(pairs)
        self.over, self.under = (
            np.stack([np.bincount(patients, pair[place]) for pair in pairs.values()], axis=1) for place in (0, 1)
        )

    def of(self, counts: Floats) -> Drawn:
        """Return the figures, counts having shape (k, patients)."""
        over, under = counts @ self.over, counts @ self.under
        found = np.divide(over, under, out=np.full_like(over, np.nan), where=under > 0)
        return {key: found[:, column] for column, key in enumerate(self.keys)}


def _slopes(ill: Bools, odds: Floats, weights: Floats, line: Floats) -> Floats:
    """Return the calibration slope for each row of weights, by Newton's method from the line of the whole test set.

    So near the end, three steps are as good as many; of a resample whose classes
    are separated the slope is merely steep, which is what it is.
    """
    design = np.stack([np.ones_like(odds), odds, odds**2], axis=1)
    intercept, slope = (np.full((len(weights), 1), start) for start in line)
    for _ in range(_NEWTON_STEPS):
        # in place: nine tenths of the gate's time would else go into arrays that are thrown away
        share = slope * odds
        share += intercept
        with np.errstate(over="ignore"):
            # of a slope that is steep enough the share is 0, and no mistake
            np.exp(np.negative(share, out=share), out=share)
        share += 1
        np.reciprocal(share, out=share)
        off = ill - share
        off *= weights
        up, turn = (off @ design[:, :2]).T
        share -= share**2
        share *= weights
        flat, tilted, bent = (share @ design).T
        determinant = flat * bent - tilted**2
        # a class that was not drawn leaves nothing to step to
        steps = np.full((2, len(weights)), np.nan)
        np.divide([bent * up - tilted * turn, flat * turn - tilted * up], determinant, out=steps, where=determinant > 0)
        steps *= np.minimum(1.0, _LONGEST_STEP / np.maximum(np.abs(steps).max(axis=0), 1))
        intercept += steps[0][:, np.newaxis]
        slope += steps[1][:, np.newaxis]
    return slope[:, 0]
