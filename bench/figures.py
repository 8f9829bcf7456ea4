"""Figures of many trials brought together: medians, spreads, percentiles. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """A median over repetitions, and how far they lie apart."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Return median, smallest and largest.

    Raises
    ------
    ValueError
        If there are none.
    """
    if not values:
        raise ValueError("no values to take a median of")
    return Spread(statistics.median(values), min(values), max(values))


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of all does not exceed (nearest rank).

    Raises
    ------
    ValueError
        If there are none, or the share is not in (0, 1].
    """
    if not values or not 0 < share <= 1:
        raise ValueError(f"no percentile {share:g} of {len(values)} values")
    return sorted(values)[math.ceil(share * len(values)) - 1]
