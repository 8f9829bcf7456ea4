"""Figures as people read them."""

from __future__ import annotations

from bundle.manifest import Interval


def cell(interval: Interval | None) -> str:
    """Return a figure with its interval, as tables show it."""
    if interval is None or interval.value is None:
        return "not defined"
    if interval.low is None or interval.high is None:
        return f"{interval.value:.3f}"
    return f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})"
