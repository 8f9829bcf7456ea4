"""The plots of a night, as SVG for the page. Told apart without colours: by dashes and marks; nothing drawn in black.

The colours are Okabe and Ito's that show on white and on dark grey alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from db.vocabulary import ImageClass
from training.drawing import inline_svg, operating_curve, panels, reliability
from training.examination.metrics import Scored
from training.fitting.run import Epoch
from training.nightly.report.night import DriftPanel, Role

_COLOURS: Final = {Role.CHALLENGER: "#d55e00", Role.CHAMPION: "#0072b2", Role.ANCHOR: "#009e73"}
_LINES: Final = {Role.CHALLENGER: "-", Role.CHAMPION: "--", Role.ANCHOR: ":"}
_MARKS: Final = {Role.CHALLENGER: "o", Role.CHAMPION: "^", Role.ANCHOR: "s"}
# of two things that are held against each other
_TWO: Final = (("#8e63c7", "-"), ("#b07d12", "--"))
_FAINT: Final = "0.6"
_BINS: Final = 40
_MOST_TICKS: Final = 6

# the models that can be drawn, by role, of each set of pictures by name
Sets = Mapping[str, Mapping[Role, tuple[Scored, float]]]


def roc(sets: Sets) -> str:
    """Draw the ROC curves of all models, each with its operating point, one panel for each set of pictures."""
    figure, places = _panels(len(sets))
    for place, (name, models) in zip(places, sets.items(), strict=True):
        place.plot([0, 1], [0, 1], _FAINT, lw=0.8, zorder=0)
        for role, (scored, threshold) in models.items():
            false, true, _ = operating_curve(scored)
            place.plot(false, true, _COLOURS[role], ls=_LINES[role], label=role.value)
            ill = scored.labels == 1
            called = scored.scores >= threshold
            place.plot(called[~ill].mean(), called[ill].mean(), _COLOURS[role], marker=_MARKS[role], ls="none")
        place.set(xlabel="1 - specificity", ylabel="sensitivity", title=name)
        place.legend(frameon=False, loc="lower right")
    return inline_svg(figure, f"ROC curves of {_roles(sets)}, operating points marked")


def calibration(sets: Sets) -> str:
    """Draw how often there was pneumonia against the calibrated probability, in 15 bins."""
    figure, places = _panels(len(sets))
    for place, (name, models) in zip(places, sets.items(), strict=True):
        place.plot([0, 1], [0, 1], _FAINT, lw=0.8, zorder=0)
        for role, (scored, _) in models.items():
            mean, frequency = reliability(scored.labels == 1, scored.probabilities)
            style = {"ls": _LINES[role], "marker": _MARKS[role], "ms": 4}
            place.plot(mean, frequency, _COLOURS[role], label=role.value, **style)
        limits = (-0.02, 1.02)
        place.set(
            xlabel="calibrated probability", ylabel="frequency of pneumonia", xlim=limits, ylim=limits, title=name
        )
        place.legend(frameon=False, loc="upper left")
    return inline_svg(figure, f"frequency of pneumonia against calibrated probability of {_roles(sets)}, in 15 bins")


def scores(models: Mapping[Role, tuple[Scored, float]]) -> str:
    """Draw how the scores lie of pictures with and without pneumonia, one panel a model."""
    figure, places = _panels(len(models))
    edges = np.linspace(0, 1, _BINS + 1)
    for place, (role, (scored, threshold)) in zip(places, models.items(), strict=True):
        for label, words in ((0, "normal"), (1, "pneumonia")):
            colour, line = _TWO[label]
            content, _ = np.histogram(scored.scores[scored.labels == label], edges)
            place.stairs(content, edges, color=colour, ls=line, lw=1.5, label=words)
        place.axvline(threshold, color=_FAINT, ls=":", label="threshold")
        # few lie between the heaps at either end, and those few are what matters
        place.set(xlabel="score", ylabel="pictures", yscale="symlog", title=role.value)
        place.yaxis.set_major_formatter("{x:,.0f}")
    # the panels agree in what their lines mean
    figure.legend(*places[0].get_legend_handles_labels(), frameon=False, loc="outside upper center", ncols=3)
    return inline_svg(figure, f"histograms of the scores of {_listed(models)}, thresholds marked")


def learning(epochs: Sequence[Epoch]) -> str:
    """Draw losses and the balanced accuracy of the watched patients by epoch; the epoch that was kept is marked."""
    figure, (left, right) = _panels(2)
    numbers = [epoch.number for epoch in epochs]
    best = min(epochs, key=lambda epoch: (epoch.watch_loss, epoch.number))
    mark = {"marker": ".", "ms": 5}
    for values, words, (colour, line) in (
        ([epoch.loss for epoch in epochs], "fitted on", _TWO[0]),
        ([epoch.watch_loss for epoch in epochs], "watched", _TWO[1]),
    ):
        left.plot(numbers, values, colour, ls=line, label=words, **mark)
    right.plot(numbers, [epoch.watch_accuracy for epoch in epochs], _TWO[1][0], ls=_TWO[1][1], **mark)
    for place, title in ((left, "loss"), (right, "balanced accuracy of watched patients")):
        place.axvline(best.number, color=_FAINT, ls=":", label="lowest watched loss")
        place.set(xlabel="epoch", title=title)
        place.xaxis.get_major_locator().set_params(integer=True)
    left.legend(frameon=False)
    return inline_svg(figure, f"losses and balanced accuracy of {len(epochs)} epochs")


def counts(tables: Mapping[str, Mapping[str, Mapping[ImageClass, int]]]) -> str:
    """Draw counts by class as bars, one panel for each table that has rows; pneumonia is hatched."""
    filled = {title: rows for title, rows in tables.items() if rows}
    figure, places = _panels(len(filled), height=2.4)
    for place, (title, rows) in zip(places, filled.items(), strict=True):
        names = list(rows)[::-1]
        before = np.zeros(len(names))
        for label, (colour, _), hatch in zip(ImageClass, _TWO, ("", "//"), strict=True):
            here = np.array([rows[name].get(label, 0) for name in names])
            place.barh(names, here, left=before, color="none", edgecolor=colour, hatch=hatch, label=label.value)
            before += here
        place.xaxis.set_major_formatter("{x:,.0f}")
        place.locator_params(axis="x", nbins=5)
        place.set(title=title)
    figure.legend(*places[0].get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=2)
    return inline_svg(figure, f"bars of {', '.join(filled)}, by class")


def drift(panel: DriftPanel) -> str:
    """Draw the shares of both periods; all bins are drawn equally wide, theirs may differ, and the outer be open."""
    figure, (place,) = _panels(1, height=2.4)
    edges = np.arange(len(panel.edges))
    for shares, words, (colour, line) in (
        (panel.reference, "reference", _TWO[0]),
        (panel.recent, "recent", _TWO[1]),
    ):
        place.stairs(shares, edges, color=colour, ls=line, lw=1.5, label=words)
    shown = [number for number in edges if np.isfinite(panel.edges[number])]
    shown = shown[:: max(1, -(-len(shown) // _MOST_TICKS))]
    place.set(ylabel="share", ylim=(0, None), xticks=shown, xticklabels=[f"{panel.edges[one]:.3g}" for one in shown])
    place.legend(frameon=False, fontsize=8)
    return inline_svg(figure, f"shares of reference and recent weeks by {panel.name}")


def _panels(count: int, height: float = 3.6) -> tuple[Any, Sequence[Any]]:
    figure, places = panels(count, height)
    return figure, tuple(np.atleast_1d(places))


def _roles(sets: Sets) -> str:
    return _listed(dict.fromkeys(role for models in sets.values() for role in models))


def _listed(roles: Mapping[Role, object]) -> str:
    return ", ".join(role.value for role in roles)
