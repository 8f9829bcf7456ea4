"""The sections of the page that hold the models against each other: figures, curves, calls, subgroups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from bundle.manifest import Interval
from training.examination.metrics import Scored
from training.examination.words import cell
from training.nightly.gate.redrawn import Figure
from training.nightly.report import plots
from training.nightly.report.markup import figure, wide
from training.nightly.report.measured import Calls, Measures, scored
from training.nightly.report.night import Examined, Night, Role
from training.nightly.report.summary import named, size
from training.pages import table

_FIGURES: Final = {
    "auc": "AUC",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "precision": "precision",
    "brier": "Brier score",
    "log_loss": "log-loss",
    "calibration_slope": "calibration slope",
    "ece_debiased": "calibration error, debiased",
}
_COUNTED: Final = {Figure.SENSITIVITY: "with pneumonia", Figure.SPECIFICITY: "without pneumonia"}

# sets of pictures, each with what was measured on it
Sets = Sequence[tuple[Examined, Measures]]


def models(night: Night, sets: Sets) -> Iterator[str]:
    """Give what the models are, and their figures."""
    if not night.models:
        return
    yield "<h2>Models</h2>"
    titles = [(model.role, model.title, f"{model.threshold:.4g}", model.digest[:12]) for model in night.models]
    yield table(("role", "model", "called from score", "bundle"), titles, words=2)
    for examined, measures in sets:
        yield f"<h3>On the {escape(named(night, examined))}</h3><p>{size(measures)}.</p>"
        found = {role: one for role, one in measures.models.items() if one.problem is None}
        if found:
            rows = [
                (title, *(cell(one.figures.get(name)) for one in found.values()))
                for name, title in _FIGURES.items()
                if any(name in one.figures for one in found.values())
            ]
            yield wide(table(("figure", *(role.value for role in found)), rows))
    if sets:
        yield (
            '<p class="note">95 % intervals by resampling patients. The yes-or-no figures are at each model\'s '
            "operating point. Where nobody was missed, or nobody wrongly called, resampling sees no spread, and an "
            "interval of no width claims too much.</p>"
        )


def curves(night: Night, sets: Sets) -> Iterator[str]:
    """Give the curves of the models that have any."""
    drawn = {}
    for examined, measures in sets:
        if found := _drawable(examined, measures):
            drawn[named(night, examined)] = found
    if not drawn:
        return
    yield "<h2>How well they tell pneumonia</h2>"
    yield figure(plots.roc(drawn), "ROC curves. The marks are the operating points.")
    yield figure(plots.calibration(drawn), "How often there was pneumonia where a probability was given, in 15 bins.")
    for name, found in drawn.items():
        yield figure(plots.scores(found), f"Scores on the {escape(name)}; the height is by logarithm.")


def _drawable(examined: Examined, measures: Measures) -> dict[Role, tuple[Scored, float]]:
    """Return the models whose curves there are: of one class alone there is none."""
    if not 0 < measures.ill_images < measures.images:
        return {}
    return {
        role: (scored(examined, examined.answers[role]), examined.answers[role].threshold)
        for role, found in measures.models.items()
        if found.problem is None
    }


def confusions(night: Night, sets: Sets) -> Iterator[str]:
    """Give how pictures of either class were called by each model."""
    for examined, measures in sets:
        if not measures.images or not measures.models:
            continue
        yield f"<h2>Calls at the operating point, {escape(named(night, examined))}</h2>"
        tables = [_confusion(role, found.ill, found.well) for role, found in measures.models.items()]
        yield f'<div class="two">{"".join(tables)}</div>'


def _confusion(role: Role, ill: Calls, well: Calls) -> str:
    untold = bool(ill.untold or well.untold)
    columns = ("label", "SUSPECTED", "NOT_SUSPECTED", *(("no number",) if untold else ()))
    rows = []
    for label, calls in (("PNEUMONIA", ill), ("NORMAL", well)):
        counts = (calls.suspected, calls.not_suspected, calls.untold)
        rows.append((label, *(_of(count, sum(counts)) for count in counts[: len(columns) - 1])))
    return table(columns, rows, caption=role)


def _of(count: int, whole: int) -> str:
    return f"{count:,} ({count / whole:.1%})" if whole else f"{count:,}"


def subgroups(night: Night, sets: Sets) -> Iterator[str]:
    """Give sensitivity and specificity of each subgroup, and what the challenger gains."""
    for examined, measures in sets:
        if len(measures.groups) <= 1:
            continue
        roles = [role for role in measures.models if role in measures.groups["all"].figures]
        yield f"<h2>Subgroups, {escape(named(night, examined))}</h2>"
        for which, count in _COUNTED.items():
            gains = any(which in group.gains for group in measures.groups.values())
            columns = ("subgroup", count, *(role.value for role in roles), *(("gain",) if gains else ()))
            rows = [
                (
                    name + (" (few patients)" if group.few else ""),
                    f"{number:,}",
                    *(cell(group.figures[role][which]) for role in roles),
                    *((_gain(group.gains[which]),) if gains else ()),
                )
                for name, group in measures.groups.items()
                if (number := group.ill if which is Figure.SENSITIVITY else group.well)
            ]
            yield wide(table(columns, rows, caption=which))
        if any(group.gains for group in measures.groups.values()):
            yield '<p class="note">Gain: challenger less champion on the same patients; + is better.</p>'


def _gain(gain: Interval) -> str:
    if gain.value is None or gain.low is None or gain.high is None:
        return "not defined"
    return f"{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
