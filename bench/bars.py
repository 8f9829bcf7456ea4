"""What our listener must reach, as ratios to the others in the same run; every bar is said, met or missed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bench.figures import Spread
from bench.measure import Trial
from bench.results import Results, summarise

OURS: Final = "lungwatch"
_BAR_MEGABYTES: Final = 15
_MEMORY_ASSOCIATIONS: Final = 64
_MEMORY_BYTES: Final = 300e6
_IDLE_SHARE: Final = 0.05
_KNOWN_SECONDS: Final = 2.0
# receiver, associations, least ratio of our rate to its
_RATES: Final = (
    ("orthanc", (1, 4, 16), 2.0),
    ("storescp", (4, 16), 0.9),
    ("floor", (4, 16), 0.7),
)
_CPU_OF: Final = ("orthanc", (1, 4, 16, 64), 0.5)


@dataclass(frozen=True, slots=True)
class Bar:
    """One requirement and what was measured.

    Attributes
    ----------
    what, bound, measured : str
        For people; `measured` gives the median's figure, then the spread over repetitions in brackets.
    met : bool
        By the median.
    """

    what: str
    bound: str
    measured: str
    met: bool


def bars(results: Results) -> list[Bar]:
    """Return all that this run can say something about."""
    return [*_rates(results), *_cpu(results), *_memory(results), *_idle(results)]


def _rates(results: Results) -> Iterator[Bar]:
    for other, counts, least in _RATES:
        for count in counts:
            ratio = _ratio(results, other, count, lambda trial: trial.rate)
            if ratio is not None:
                what = f"{_BAR_MEGABYTES} MB, {_associations(count)}: rate against {other}"
                yield Bar(what, f"at least {least:g}", _said(ratio), ratio.median >= least)


def _cpu(results: Results) -> Iterator[Bar]:
    other, counts, most = _CPU_OF
    for count in counts:
        ratio = _ratio(results, other, count, lambda trial: trial.cpu_milliseconds)
        if ratio is not None:
            what = f"{_BAR_MEGABYTES} MB, {_associations(count)}: processor time an image against {other}"
            yield Bar(what, f"at most {most:g}", _said(ratio), ratio.median <= most)


def _memory(results: Results) -> Iterator[Bar]:
    for size in results.sizes:
        trials = results.of(OURS, size, _MEMORY_ASSOCIATIONS)
        if trials:
            peak = summarise(trials).proportional_peak
            what = f"{size} MB, {_associations(_MEMORY_ASSOCIATIONS)}: peak memory of all our processes"
            yield Bar(what, f"under {_MEMORY_BYTES / 1e6:.0f} MB", f"{peak / 1e6:.0f} MB", peak < _MEMORY_BYTES)


def _idle(results: Results) -> Iterator[Bar]:
    for idle in results.idle:
        if idle.receiver == OURS:
            left = f"{idle.admitted} idle associations of {idle.attempted} attempted"
            said = f"{idle.core_share:.1%}"
            yield Bar(f"{left}: processor", f"under {_IDLE_SHARE:.0%} of a core", said, idle.core_share < _IDLE_SHARE)
            stores = len(idle.store_seconds) + len(idle.refused)
            slowest = max(idle.store_seconds, default=math.inf)
            yield Bar(
                f"{left}: slowest of {stores} stores by a known peer",
                f"under {_KNOWN_SECONDS:g} s",
                f"{slowest:.2f} s" + (f", {len(idle.refused)} refused" if idle.refused else ""),
                slowest < _KNOWN_SECONDS and not idle.refused,
            )


def _ratio(results: Results, other: str, count: int, value: Callable[[Trial], float]) -> Spread | None:
    """Return the ratio of our median to the other's; its spread is that of the ratios within each repetition."""
    ours = results.of(OURS, _BAR_MEGABYTES, count)
    theirs = {trial.repetition: trial for trial in results.of(other, _BAR_MEGABYTES, count)}
    return paired_ratio(
        [(value(trial), value(theirs[trial.repetition])) for trial in ours if trial.repetition in theirs]
    )


def paired_ratio(pairs: Sequence[tuple[float, float]]) -> Spread | None:
    """Return the ratio of the medians and the smallest and largest ratio of a pair; None without pairs.

    A pair whose second value is zero has an infinite ratio.
    """
    if not pairs:
        return None
    ratios = [_divide(first, second) for first, second in pairs]
    first, second = (sorted(values) for values in zip(*pairs, strict=True))
    return Spread(_divide(_median(first), _median(second)), min(ratios), max(ratios))


def _median(ordered: Sequence[float]) -> float:
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _divide(first: float, second: float) -> float:
    return first / second if second else math.inf


def _said(ratio: Spread) -> str:
    return f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def _associations(count: int) -> str:
    return "1 association" if count == 1 else f"{count} associations"
