"""What decoding took, brought together over repetitions, and the ratios it must reach; pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bench.bars import Bar, paired_ratio
from bench.decoding import Decoding
from bench.figures import Spread, spread
from bench.report import table

OURS, KEPT, THEIRS, THEIRS_RLE = "lungwatch", "lungwatch-kept", "pydicom", "pydicom-rle"
# how many times as fast as pydicom's way
_LEAST: Final = {
    "RLELossless": 10.0,
    "JPEGLossless": 4.0,
    "JPEGLosslessSV1": 4.0,
    "JPEGLSLossless": 1.5,
    "JPEG2000Lossless": 10.0,
    "JPEG2000": 10.0,
}
_MEGABYTE: Final = 1e6


@dataclass(frozen=True, slots=True)
class Trial:
    """One file, one way, once."""

    way: str
    syntax: str
    repetition: int
    decoding: Decoding


@dataclass(frozen=True, slots=True)
class Decodings:
    """The raw figures of a run; `shape` is rows and columns of the image."""

    date: str
    machine: dict[str, str]
    shape: list[int]
    trials: list[Trial]

    @property
    def syntaxes(self) -> list[str]:
        """In the order of the first repetition."""
        return sorted({trial.syntax for trial in self.trials})

    def of(self, way: str, syntax: str) -> list[Decoding]:
        """Return the repetitions, in order."""
        found = [trial for trial in self.trials if (trial.way, trial.syntax) == (way, syntax)]
        return [trial.decoding for trial in sorted(found, key=lambda trial: trial.repetition)]


def ratio(run: Decodings, syntax: str, value: Callable[[Decoding], float], way: str = THEIRS) -> Spread | None:
    """Return how many times pydicom's figure is ours: of the medians, least and most within a repetition."""
    theirs, ours = run.of(way, syntax), run.of(OURS, syntax)
    return paired_ratio([(value(one), value(other)) for one, other in zip(theirs, ours, strict=True)])


def bars(run: Decodings) -> list[Bar]:
    """Return all that this run can say something about, by processor time."""
    found = []
    for syntax, least in _LEAST.items():
        times = ratio(run, syntax, lambda one: one.cpu_milliseconds)
        if times is not None:
            what = f"{syntax}: times as fast as pydicom"
            found.append(Bar(what, f"at least {least:g}", _said(times), times.median >= least))
    return found


def markdown(run: Decodings) -> str:
    """Return the whole section: machine, bars, one table."""
    facts = ", ".join(f"{name} {value}" for name, value in run.machine.items())
    verdicts = [(bar.what, bar.bound, bar.measured, "met" if bar.met else "**missed**") for bar in bars(run)]
    header = (
        *("transfer syntax", "Lungwatch: CPU ms (spread)", "ms", "peak MB", "with master kept: CPU ms"),
        *("pydicom: CPU ms (spread)", "ms", "peak MB", "times as fast", "memory"),
    )
    rows = [(syntax, *_cells(run, syntax)) for syntax in run.syntaxes]
    rows += [
        (f"{syntax}, pydicom with pylibjpeg-rle", *_cells(run, syntax, THEIRS_RLE))
        for syntax in run.syntaxes
        if run.of(THEIRS_RLE, syntax)
    ]
    return "\n\n".join(
        (
            f"Measured on {run.date}: {facts}.",
            table(("what decoding must reach", "bar", "measured (spread)", "verdict"), verdicts),
            table(header, rows),
        )
    )


def _cells(run: Decodings, syntax: str, way: str = THEIRS) -> tuple[str, ...]:
    ours, kept, theirs = (run.of(one, syntax) for one in (OURS, KEPT, way))
    times = ratio(run, syntax, lambda one: one.cpu_milliseconds, way)
    memory = ratio(run, syntax, lambda one: one.peak, way)
    return (
        *_three(ours),
        f"{spread([one.cpu_milliseconds for one in kept]).median:.0f}",
        *_three(theirs),
        "" if times is None else f"{times.median:.1f}",
        "" if memory is None else f"1/{memory.median:.1f}",
    )


def _three(decodings: list[Decoding]) -> tuple[str, str, str]:
    cpu = spread([one.cpu_milliseconds for one in decodings])
    return (
        f"{cpu.median:.0f} ({cpu.low:.0f} to {cpu.high:.0f})",
        f"{spread([one.milliseconds for one in decodings]).median:.0f}",
        f"{max(one.peak for one in decodings) / _MEGABYTE:.0f}",
    )


def _said(found: Spread) -> str:
    return f"{found.median:.1f} ({found.low:.1f} to {found.high:.1f})"
