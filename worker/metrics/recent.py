"""What a worker's figures were over the last minutes, for its heartbeat."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from typing import Final

from core.clock import Clock
from core.metrics.families import Family
from db.worker_figures import Timing, WorkerFigures
from worker.metrics import families
from worker.metrics.figures import Cause, Figures

_MINUTES_SECONDS: Final = 300.0
_APART_SECONDS: Final = 30.0
_SHARE: Final = 0.95
# a helper that starts for one of these is no sign of trouble
_USUAL: Final = (Cause.FIRST, Cause.WORN_OUT)

_Key = tuple[str, tuple[str, ...]]
_Numbers = defaultdict[_Key, float]


class Recent:
    """Looks at the figures each time it is asked, and remembers what they were. For one thread.

    Parameters
    ----------
    figures : Figures
        The worker's.
    clock : Clock
        For the minutes.
    """

    def __init__(self, figures: Figures, clock: Clock) -> None:
        self._figures = figures
        self._clock = clock
        self._earlier = deque([(clock.monotonic(), _numbers(figures))])

    def summary(self) -> WorkerFigures:
        """Say what was done in the last five minutes, and what went wrong since the start."""
        now, numbers = self._clock.monotonic(), _numbers(self._figures)
        # the last one that is old enough stays, to be subtracted
        while len(self._earlier) > 1 and now - self._earlier[1][0] >= _MINUTES_SECONDS:
            self._earlier.popleft()
        then, before = self._earlier[0]
        if now - self._earlier[-1][0] >= _APART_SECONDS:
            self._earlier.append((now, numbers))
        lately: _Numbers = defaultdict(float, {key: value - before[key] for key, value in numbers.items()})
        return WorkerFigures(
            over_seconds=round(now - then, 1),
            finished=sum(_by_label(lately, families.FINISHED.name).values()),
            decode={
                syntax: _timing(lately, families.DECODE, syntax)
                for syntax, count in _by_label(lately, f"{families.DECODE.name}_count").items()
                if count
            },
            prepare=_timing(lately, families.PREPARE),
            inference=_timing(lately, families.INFERENCE),
            batched=round(lately[f"{families.BATCH.name}_sum", ()]),
            commit=_timing(lately, families.COMMIT),
            waited=_timing(lately, families.ACKNOWLEDGED),
            waited_95=_within(lately, families.ACKNOWLEDGED),
            attempts_failed=_some(numbers, families.FAILED),
            quarantined=_some(numbers, families.QUARANTINED),
            helpers_replaced={
                cause: count for cause, count in _some(numbers, families.HELPERS).items() if cause not in _USUAL
            },
            batches_failed=round(numbers[families.BATCHES_FAILED.name, ()]),
            leases_lost=round(numbers[families.LEASES_LOST.name, ()]),
            host_failures=round(numbers[families.HOST_FAILED.name, ()]),
        )


def _numbers(figures: Figures) -> _Numbers:
    shown = (sample for metric in figures.collect() for sample in metric.samples)
    return defaultdict(float, {(sample.name, tuple(sample.labels.values())): sample.value for sample in shown})


def _by_label(numbers: _Numbers, name: str) -> dict[str, int]:
    return {labels[0]: round(value) for (found, labels), value in numbers.items() if found == name}


def _some(numbers: _Numbers, family: Family) -> dict[str, int]:
    return {word: count for word, count in _by_label(numbers, family.name).items() if count}


def _timing(numbers: _Numbers, family: Family, *labels: str) -> Timing:
    return Timing(round(numbers[f"{family.name}_count", labels]), round(numbers[f"{family.name}_sum", labels], 6))


def _within(numbers: _Numbers, family: Family) -> float | None:
    """Return the time that 95 % took at most, as Prometheus' ``histogram_quantile`` estimates it."""
    name = f"{family.name}_bucket"
    buckets = sorted((float(labels[0]), value) for (found, labels), value in numbers.items() if found == name)
    total = buckets[-1][1] if buckets else 0.0
    if not total:
        return None
    wanted = _SHARE * total
    low, below = 0.0, 0.0
    for bound, count in buckets:
        if count >= wanted:
            # beyond the last bound nothing more is known
            return low if math.isinf(bound) else round(low + (bound - low) * (wanted - below) / (count - below), 3)
        low, below = bound, count
    raise AssertionError("the last bucket holds all")
