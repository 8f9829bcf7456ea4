"""The figures as a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.figures import Spread
from bench.results import Results, Summary, summarise

# Okabe and Ito's colours, told apart by colour-blind readers; grey for the floor
_COLOURS: Final = ("#0072B2", "#CC79A7", "#E69F00", "#009E73", "#56B4E9", "#D55E00", "#F0E442", "#999999")
_WIDTH: Final = 0.85
_INCHES: Final = (11, 7.5)


def plot(results: Results, labels: Mapping[str, str], path: Path) -> None:
    """Draw rate for each size, and processor time and memory for the largest, as SVG.

    Parameters
    ----------
    labels : mapping
        Receivers' names to what they are called, in order of drawing.
    """
    # equal figures make an equal file, and text stays text
    mpl.rcParams.update({"svg.hashsalt": "lungwatch", "svg.fonttype": "none"})
    figure = Figure(figsize=_INCHES, layout="constrained")
    axes = figure.subplots(2, 2).flat
    largest = results.sizes[0]
    for axis, size in zip(axes, [*results.sizes[:2], None][:2], strict=False):
        if size is None:
            axis.set_axis_off()
        else:
            _bars(axis, results, labels, size, lambda summary: summary.rate)
            axis.set_title(f"{size} MB objects: images/s (median, line from least to most)")
    _bars(axes[2], results, labels, largest, lambda summary: summary.cpu_milliseconds)
    axes[2].set_title(f"{largest} MB objects: processor ms/image")
    _bars(axes[3], results, labels, largest, lambda summary: _flat(summary.proportional_peak / 1e6))
    axes[3].set_title(f"{largest} MB objects: peak memory (PSS), MB")
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _flat(value: float) -> Spread:
    return Spread(value, value, value)


def _bars(
    axis: Axes, results: Results, labels: Mapping[str, str], size: int, value: Callable[[Summary], Spread]
) -> None:
    step = _WIDTH / len(labels)
    for number, (name, label) in enumerate(labels.items()):
        found = [
            (place, value(summarise(trials)))
            for place, count in enumerate(results.associations)
            if (trials := results.of(name, size, count))
        ]
        options: dict[str, Any] = {"width": 0.9 * step, "color": _COLOURS[number % len(_COLOURS)], "label": label}
        axis.bar(
            [place - _WIDTH / 2 + (number + 0.5) * step for place, _ in found],
            [one.median for _, one in found],
            yerr=[[one.median - one.low for _, one in found], [one.high - one.median for _, one in found]],
            error_kw={"elinewidth": 0.8},
            **options,
        )
    axis.set_xticks(range(len(results.associations)), [str(count) for count in results.associations])
    axis.set_xlabel("associations")
    axis.set_ylim(bottom=0)
    axis.spines[["top", "right"]].set_visible(False)
