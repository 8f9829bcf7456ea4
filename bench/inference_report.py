"""What inference took, brought together over repetitions; pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bench.bars import paired_ratio
from bench.figures import Spread, spread
from bench.report import table

BATCHES: Final = (1, 8, 32)
LABELS: Final = {"litert": "LiteRT", "keras": "Keras on TensorFlow", "keras-xla": "the same with XLA"}
_FIRST: Final = "litert"
_MEGABYTE: Final = 1e6


@dataclass(frozen=True, slots=True)
class Start:
    """From nothing to the first score.

    Attributes
    ----------
    seconds, cpu_seconds : float
        Elapsed, and of the processor.
    resident : int
        Resident memory then, bytes.
    """

    seconds: float
    cpu_seconds: float
    resident: int


@dataclass(frozen=True, slots=True)
class Inference:
    """One batch size, once: for each image, elapsed and of the processor."""

    milliseconds: float
    cpu_milliseconds: float


@dataclass(frozen=True, slots=True)
class Trial:
    """One way, once, in a fresh process."""

    way: str
    repetition: int
    start: Start
    scored: dict[int, Inference]


@dataclass(frozen=True, slots=True)
class Inferences:
    """The raw figures of a run."""

    date: str
    machine: dict[str, str]
    trials: list[Trial]

    def of(self, way: str) -> list[Trial]:
        """Return the repetitions, in order."""
        return sorted((trial for trial in self.trials if trial.way == way), key=lambda trial: trial.repetition)

    @property
    def ways(self) -> list[str]:
        """Those that were measured."""
        return [way for way in LABELS if self.of(way)]


def markdown(run: Inferences) -> str:
    """Return the whole section: machine, starts, batches."""
    facts = ", ".join(f"{name} {value}" for name, value in run.machine.items())
    starts = [(LABELS[way], *_start(run.of(way))) for way in run.ways]
    batches = [(LABELS[way], str(batch), *_batch(run, way, batch)) for way in run.ways for batch in BATCHES]
    return "\n\n".join(
        (
            f"Measured on {run.date}: {facts}.",
            table(("runtime", "start, s (spread)", "CPU s", "resident MB"), starts),
            table(
                ("runtime", "images at once", "ms an image (spread)", "CPU ms (spread)", "times LiteRT's ms (spread)"),
                batches,
                left=2,
            ),
        )
    )


def _start(trials: list[Trial]) -> tuple[str, ...]:
    return (
        _said(spread([trial.start.seconds for trial in trials])),
        f"{spread([trial.start.cpu_seconds for trial in trials]).median:.1f}",
        f"{spread([trial.start.resident for trial in trials]).median / _MEGABYTE:.0f}",
    )


def _batch(run: Inferences, way: str, batch: int) -> tuple[str, ...]:
    ours = [trial.scored[batch] for trial in run.of(way)]
    return (
        _said(spread([one.milliseconds for one in ours])),
        _said(spread([one.cpu_milliseconds for one in ours])),
        "" if (times := _times(run, way, batch, lambda one: one.milliseconds)) is None else _said(times),
    )


def _times(run: Inferences, way: str, batch: int, value: Callable[[Inference], float]) -> Spread | None:
    """Return how many times LiteRT's figure this is: of the medians, least and most within a repetition."""
    if way == _FIRST:
        return None
    pairs = zip(run.of(way), run.of(_FIRST), strict=True)
    return paired_ratio([(value(one.scored[batch]), value(other.scored[batch])) for one, other in pairs])


def _said(found: Spread) -> str:
    return f"{found.median:.1f} ({found.low:.1f} to {found.high:.1f})"
