"""Everything that is measured of scored images at an operating point: what a manifest carries and `evaluate` shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bundle.manifest import Interval, PredictiveValues, Subgroup
from training.datasets.dataset import Item
from training.examination.metrics import CALIBRATION_NAMES, NAMES, Scored, intervals
from training.examination.predictive import predictive_values
from training.examination.subgroups import subgroups


@dataclass(frozen=True)
class Examination:
    """Figures with 95 % intervals by patient.

    Attributes
    ----------
    metrics : dict of str to Interval
        Of `training.examination.metrics.NAMES` and `training.examination.metrics.CALIBRATION_NAMES`.
    """

    metrics: dict[str, Interval]
    predictive_values: tuple[PredictiveValues, ...]
    subgroups: dict[str, Subgroup]


def examine(items: Sequence[Item], sizes: NDArray[np.int64] | None, scored: Scored, threshold: float) -> Examination:
    """Measure scored images at a threshold.

    Parameters
    ----------
    items : sequence of Item
        In the order of `scored`.
    sizes : ndarray of int64, shape (n, 2), or None
        Rows and columns of the originals.
    """
    return Examination(
        metrics=intervals(scored, threshold, (*NAMES, *CALIBRATION_NAMES)),
        predictive_values=predictive_values(scored, threshold),
        subgroups=subgroups(items, sizes, scored, threshold),
    )
