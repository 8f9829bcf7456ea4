"""What whole journeys took, brought together over repetitions, and what they must reach."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

from bench.bars import Bar, paired_ratio
from bench.figures import Spread, percentile, spread
from bench.report import insert, table

OURS, THEIRS = "lungwatch", "naive"
LABELS: Final = {OURS: "Lungwatch", THEIRS: "naive"}
_LEAST_RATIO: Final = 6.0
_MEMORY_BYTES: Final = 600e6
_P95_SECONDS: Final = 1.0
_SHARE: Final = 0.95
_MEGABYTE: Final = 1e6
_PICTURE: Final = "figures/worker-journeys.svg"
_COLOURS: Final = {OURS: "#0072B2", THEIRS: "#CC79A7"}
_WIDTH: Final = 0.38
_INCHES: Final = (9, 3.5)


@dataclass(frozen=True, slots=True)
class Journey:
    """What one system did with one load, once.

    Attributes
    ----------
    system, syntax : str
        `System.name`; keyword of the transfer syntax.
    associations, images, repetition : int
    pace : float or None
        Images a second that were sent; None is as fast as they were acknowledged.
    rate : float
        Rows a second, from the first byte sent to the last row committed.
    seconds : list of float
        Of each image, from its acknowledgement to its row; rows are looked for every 20 ms.
    cpu_milliseconds : float
        Of all processes of the system, an image.
    proportional, resident : int
        Largest sum seen over the workers' processes, bytes.
    errors : dict
        How often each kind of failure was met; an image acknowledged without a row is one.
    """

    system: str
    syntax: str
    associations: int
    images: int
    repetition: int
    pace: float | None
    rate: float
    seconds: list[float] = field(repr=False)
    cpu_milliseconds: float
    proportional: int
    resident: int
    errors: dict[str, int]


@dataclass(frozen=True, slots=True)
class Journeys:
    """The raw figures of a run."""

    date: str
    machine: dict[str, str]
    trials: list[Journey]

    @property
    def syntaxes(self) -> list[str]:
        """Uncompressed first."""
        return sorted({one.syntax for one in self.trials})

    @property
    def associations(self) -> list[int]:
        """How many at once, ascending, of loads without a pace."""
        return sorted({one.associations for one in self.trials if one.pace is None})

    def of(self, system: str, syntax: str, associations: int) -> list[Journey]:
        """Return the repetitions of a load without a pace, in order."""
        wanted = (system, syntax, associations, None)
        found = [one for one in self.trials if (one.system, one.syntax, one.associations, one.pace) == wanted]
        return sorted(found, key=lambda one: one.repetition)

    def paced(self, syntax: str) -> list[Journey]:
        """Return the repetitions of ours at half its rate."""
        return [one for one in self.trials if one.syntax == syntax and one.pace is not None]


def bars(run: Journeys) -> list[Bar]:
    """Return all that this run can say something about."""
    return [*_ratios(run), *_memory(run), *_latency(run), *_lost(run)]


def _ratios(run: Journeys) -> Iterator[Bar]:
    for syntax in run.syntaxes:
        for count in run.associations:
            ratio = _ratio(run, syntax, count)
            if ratio is not None:
                what = f"end to end, {syntax}, {_over(count)}: times as fast as the naive way"
                yield Bar(what, f"at least {_LEAST_RATIO:g}", _said(ratio), ratio.median >= _LEAST_RATIO)


def _ratio(run: Journeys, syntax: str, count: int) -> Spread | None:
    theirs = {one.repetition: one.rate for one in run.of(THEIRS, syntax, count)}
    ours = run.of(OURS, syntax, count)
    return paired_ratio([(one.rate, theirs[one.repetition]) for one in ours if one.repetition in theirs])


def _memory(run: Journeys) -> Iterator[Bar]:
    mine = [one.proportional for one in run.trials if one.system == OURS]
    if mine:
        said = f"{max(mine) / _MEGABYTE:.0f} MB"
        what = "memory of all worker processes, largest of all loads"
        yield Bar(what, f"under {_MEMORY_BYTES / _MEGABYTE:.0f} MB", said, max(mine) < _MEMORY_BYTES)


def _latency(run: Journeys) -> Iterator[Bar]:
    for syntax in run.syntaxes:
        trials = run.paced(syntax)
        if trials:
            found = _p95(trials)
            what = f"{syntax} at half the largest rate: p95 from acknowledgement to committed row"
            yield Bar(what, f"under {_P95_SECONDS:g} s", f"{found:.2f} s", found < _P95_SECONDS)


def _lost(run: Journeys) -> Iterator[Bar]:
    mine = [one for one in run.trials if one.system == OURS]
    if mine:
        failed, images = sum(sum(one.errors.values()) for one in mine), sum(one.images for one in mine)
        yield Bar("images refused, or acknowledged without a row", "none", f"{failed} of {images}", failed == 0)


def _p95(trials: Sequence[Journey]) -> float:
    seconds = [value for one in trials for value in one.seconds]
    return percentile(seconds, _SHARE) if seconds else float("inf")


def markdown(run: Journeys) -> str:
    """Return the whole section: machine, bars, picture, one table a transfer syntax, latency."""
    facts = ", ".join(f"{name} {value}" for name, value in run.machine.items())
    verdicts = [(bar.what, bar.bound, bar.measured, "met" if bar.met else "**missed**") for bar in bars(run)]
    return "\n\n".join(
        (
            f"Measured on {run.date}: {facts}.",
            table(("what the journey must reach", "bar", "measured (spread)", "verdict"), verdicts),
            f"![Images a second from C-STORE to committed row, and memory of the workers]({_PICTURE})",
            *(_rates(run, syntax) for syntax in run.syntaxes),
            _paced(run),
        )
    )


def _rates(run: Journeys, syntax: str) -> str:
    header = (
        *("associations", "system", "images/s (spread)", "times as fast", "p95 acknowledged to row, s"),
        *("CPU ms/image", "workers' PSS, MB", "RSS, MB", "errors"),
    )
    rows = []
    for count in run.associations:
        for system, label in LABELS.items():
            trials = run.of(system, syntax, count)
            if not trials:
                continue
            rate, ratio = spread([one.rate for one in trials]), _ratio(run, syntax, count) if system == OURS else None
            rows.append(
                (
                    str(count),
                    label,
                    f"{rate.median:.2f} ({rate.low:.2f} to {rate.high:.2f})",
                    "" if ratio is None else _said(ratio),
                    f"{_p95(trials):.2f}",
                    *_cells(trials),
                )
            )
    return f"#### {syntax}\n\n{table(header, rows, left=2)}"


def _cells(trials: Sequence[Journey]) -> tuple[str, ...]:
    failed, images = sum(sum(one.errors.values()) for one in trials), sum(one.images for one in trials)
    return (
        f"{spread([one.cpu_milliseconds for one in trials]).median:.0f}",
        f"{max(one.proportional for one in trials) / _MEGABYTE:.0f}",
        f"{max(one.resident for one in trials) / _MEGABYTE:.0f}",
        f"{failed} of {images}" if failed else "0",
    )


def _paced(run: Journeys) -> str:
    header = ("transfer syntax", "images/s sent", "images", "median, s", "p95, s", "slowest, s")
    rows = []
    for syntax in run.syntaxes:
        trials = run.paced(syntax)
        seconds = [value for one in trials for value in one.seconds]
        if seconds:
            pace = spread([one.pace or 0.0 for one in trials])
            figures = (spread(seconds).median, _p95(trials), max(seconds))
            rows.append(
                (
                    syntax,
                    f"{pace.low:.1f} to {pace.high:.1f}",
                    str(len(seconds)),
                    *(f"{value:.2f}" for value in figures),
                )
            )
    return f"#### From acknowledgement to row at half the largest rate\n\n{table(header, rows)}"


def write(run: Journeys, out: Path) -> None:
    """Write the document's section, the plot and the raw figures."""
    figures = out / "figures" / "worker-journeys.json"
    figures.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(asdict(trial)) for trial in run.trials)
    start = json.dumps({"date": run.date, "machine": run.machine}, indent=1)
    figures.write_text(f'{start.rstrip("}").rstrip()},\n"trials": [\n{lines}\n]}}\n')
    plot(run, out / _PICTURE)
    insert(out / "performance.md", markdown(run), "bench-worker", "end to end")


def load(path: Path) -> Journeys:
    """Read the raw figures that `write` wrote."""
    raw = json.loads(path.read_text())
    return Journeys(raw["date"], raw["machine"], [Journey(**trial) for trial in raw["trials"]])


def plot(run: Journeys, path: Path) -> None:
    """Draw rates of each syntax, and the workers' memory, as SVG."""
    # equal figures make an equal file, and text stays text
    mpl.rcParams.update({"svg.hashsalt": "lungwatch", "svg.fonttype": "none"})
    figure = Figure(figsize=_INCHES, layout="constrained")
    axes = figure.subplots(1, len(run.syntaxes) + 1)
    for axis, syntax in zip(axes, run.syntaxes, strict=False):
        for number, (system, label) in enumerate(LABELS.items()):
            found = [
                (place, spread([one.rate for one in trials]))
                for place, count in enumerate(run.associations)
                if (trials := run.of(system, syntax, count))
            ]
            axis.bar(
                [place + (number - 0.5) * _WIDTH for place, _ in found],
                [one.median for _, one in found],
                yerr=[[one.median - one.low for _, one in found], [one.high - one.median for _, one in found]],
                width=0.95 * _WIDTH,
                color=_COLOURS[system],
                label=label,
                error_kw={"elinewidth": 0.8},
            )
        axis.set_xticks(range(len(run.associations)), [str(count) for count in run.associations])
        axis.set_xlabel("associations")
        axis.set_title(f"{syntax}: images/s", fontsize="medium")
    _memory_bars(axes[-1], run)
    for axis in axes:
        axis.set_ylim(bottom=0)
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def _memory_bars(axis: Any, run: Journeys) -> None:
    for place, (system, label) in enumerate(LABELS.items()):
        found = [one.proportional for one in run.trials if one.system == system]
        if found:
            axis.bar([place], [max(found) / _MEGABYTE], width=0.6, color=_COLOURS[system], label=label)
    axis.set_xticks(range(len(LABELS)), list(LABELS.values()))
    axis.set_title("workers' memory (PSS), MB", fontsize="medium")


def _said(found: Spread) -> str:
    return f"{found.median:.1f} ({found.low:.1f} to {found.high:.1f})"


def _over(count: int) -> str:
    return "1 association" if count == 1 else f"{count} associations"
