"""How far several models are apart on the same images: seeds of one recipe, each at its own operating point."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from training.examination.evaluate import Evaluation
from training.examination.metrics import CALIBRATION_NAMES, NAMES


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over several models.

    Attributes
    ----------
    deviation : float
        Standard deviation, with one less than their number in the divisor.
    """

    lowest: float
    mean: float
    highest: float
    deviation: float


def spread(evaluations: Sequence[Evaluation]) -> dict[str, Spread | None]:
    """Return the spread of every figure, None where a model has none.

    Parameters
    ----------
    evaluations : sequence of Evaluation
        At least two, of the same images.
    """
    found: dict[str, Spread | None] = {}
    for name in (*NAMES, *CALIBRATION_NAMES):
        values = [{**one.metrics, **one.calibration}[name].value for one in evaluations]
        known = [value for value in values if value is not None]
        found[name] = None
        if len(known) == len(values):
            mean, deviation = statistics.fmean(known), statistics.stdev(known)
            found[name] = Spread(min(known), round(mean, 5), max(known), round(deviation, 5))
    return found


def to_dict(evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """Return the JSON of ``lungwatch evaluate --json`` for several models."""
    first = evaluations[0]
    return {
        "data": first.data,
        "split": first.split,
        "n": first.n,
        "models": [one.to_dict() for one in evaluations],
        "spread": {name: found and asdict(found) for name, found in spread(evaluations).items()},
    }
