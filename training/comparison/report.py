"""A comparison as data, as Markdown and as one HTML page that needs nothing else."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any, Final

from training.comparison import plots
from training.comparison.contenders import NOTEBOOK, Contender
from training.comparison.judging import Division, Judgement, View
from training.comparison.protocols import Protocol
from training.comparison.record import Result
from training.comparison.runner import Fits
from training.examination.words import cell
from training.fitting.stopwatch import Took
from training.pages import document, drawing

# in the order of the table
_COLUMNS: Final = {
    "accuracy": "accuracy",
    "precision": "precision",
    "sensitivity": "recall",
    "specificity": "specificity",
    "balanced_accuracy": "balanced accuracy",
    "auc": "AUC",
    "average_precision": "average precision",
    "brier": "Brier",
    "ece": "ECE",
    "ece_debiased": "ECE, debiased",
    "log_loss": "log-loss",
    "calibration_slope": "calibration slope",
    "calibration_intercept": "calibration intercept",
}
# of single divisions, and which way is better: no calibration slope is best by being high
_OF_DIVISIONS: Final = (
    *("auc", "sensitivity", "specificity", "balanced_accuracy", "accuracy"),
    *("ece_debiased", "log_loss", "calibration_slope", "calibration_intercept"),
)
_BETTER: Final = {
    **dict.fromkeys(("auc", "sensitivity", "specificity", "balanced_accuracy", "accuracy"), "higher"),
    **dict.fromkeys(("ece_debiased", "log_loss"), "lower"),
}
_COSTS: Final = ("training, s", "training, s of processors", "peak memory, MB")
_MEGABYTE: Final = 1 << 20
_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 90rem; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0; font-size: 13px } th, td { padding: .3rem .6rem; text-align: left }
th { border-bottom: 2px solid #888 }
td { border-bottom: 1px solid #ddd; vertical-align: top } .wide { overflow-x: auto }
img { max-width: 100%; background: #fff } small { color: #666; white-space: nowrap }
"""


@dataclass(frozen=True)
class Comparison:
    """Every contender fitted and judged."""

    fits: Fits
    judgements: tuple[Judgement, ...]
    required_sensitivity: float

    @property
    def parts(self) -> list[tuple[Contender, tuple[Result, ...], Judgement]]:
        """Contender, fits and judgement, in the order asked for."""
        found = self.fits
        return [
            (one, found.results[one.name], judgement)
            for one, judgement in zip(found.contenders, self.judgements, strict=True)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON of ``lungwatch compare --json``."""
        order = self.fits.order
        names = [fold.name for fold in self.fits.plan.folds]
        return {
            "protocol": order.protocol.value,
            "data": order.data.name,
            "required_sensitivity": self.required_sensitivity,
            "notes": list(self.fits.plan.notes),
            "folds": [
                {"name": fold.name, "fit": len(fold.fit), "tune": len(fold.tune), "scored": len(fold.scored)}
                for fold in self.fits.plan.folds
            ],
            "models": [
                {
                    **one.to_dict(),
                    "parameters": asdict(results[0].parameters),
                    "layers": [asdict(layer) for layer in results[0].layers],
                    "training_seconds": round(_took(results).seconds, 1),
                    "training_processor_seconds": round(_took(results).processor_seconds, 1),
                    "peak_memory_bytes": max(result.peak_memory for result in results),
                    "curves": [[asdict(point) for point in result.points] for result in results],
                    "argmax": _view(judgement.argmax, names),
                    "operating_point": None if judgement.chosen is None else _view(judgement.chosen, names),
                    "no_operating_point_because": judgement.reason,
                }
                for one, results, judgement in self.parts
            ],
        }


def _view(view: View, names: Sequence[str]) -> dict[str, Any]:
    return {
        "thresholds": list(view.thresholds),
        "metrics": {name: interval.model_dump() for name, interval in view.metrics.items()},
        "spread": {name: list(ends) for name, ends in view.spread.items()},
        "confusion": asdict(view.confusion),
        "divisions": [
            {
                "name": name,
                "thresholds": list(division.thresholds),
                "metrics": {figure: interval.model_dump() for figure, interval in division.metrics.items()},
            }
            for name, division in zip(names, view.divisions, strict=False)
        ],
    }


def _took(results: Sequence[Result]) -> Took:
    """Mean over folds; a backbone's features are made in the first alone and serve all."""
    return Took(
        fmean(one.seconds for one in results) + max(one.preparation_seconds for one in results),
        fmean(one.processor_seconds for one in results) + max(one.preparation_processor_seconds for one in results),
    )


def _table(comparison: Comparison) -> list[list[str]]:
    head = ["model", "called by", "parameters (fitted)", *_COLUMNS.values(), *_COSTS]
    rows = [head]
    for one, results, judgement in comparison.parts:
        counts = results[0].parameters
        took, peak = _took(results), max(result.peak_memory for result in results) / _MEGABYTE
        cost = [f"{took.seconds:.0f}", f"{took.processor_seconds:.0f}", f"{peak:.0f}"]
        parameters = f"{counts.total:,} ({counts.trainable:,})"
        rows.append(
            [one.name, "argmax", parameters, *(cell(judgement.argmax.metrics[name]) for name in _COLUMNS), *cost]
        )
        if judgement.chosen is None:
            rows.append([one.name, f"none: {judgement.reason}", parameters, *("" for _ in _COLUMNS), *cost])
        else:
            at = judgement.chosen.thresholds
            called = f"score from {at[0]:.4g}" + (f" to {at[-1]:.4g}" if len(at) > 1 else "")
            rows.append(
                [one.name, called, parameters, *(cell(judgement.chosen.metrics[name]) for name in _COLUMNS), *cost]
            )
    return rows


def _divisions_table(comparison: Comparison) -> list[list[str]]:
    """Every division of every contender, where there are several, and the worst figure of each over them."""
    rows = [["model", "called by", "division", "normal", "pneumonia", *(_COLUMNS[name] for name in _OF_DIVISIONS)]]
    for one, _, judgement in comparison.parts:
        view = judgement.chosen or judgement.argmax
        for fold, division, scored in zip(comparison.fits.plan.folds, view.divisions, view.scored, strict=False):
            at = "argmax" if judgement.chosen is None else f"score from {division.thresholds[0]:.4g}"
            ill = int(scored.labels.sum())
            figures = [cell(division.metrics[name]) for name in _OF_DIVISIONS]
            rows.append([one.name, at, fold.name, str(len(scored) - ill), str(ill), *figures])
        if view.divisions:
            worst = [_worst(name, view.divisions) for name in _OF_DIVISIONS]
            rows.append([one.name, "", "worst", "", "", *worst])
    return rows


def _worst(name: str, divisions: Sequence[Division]) -> str:
    values = [division.metrics[name].value for division in divisions]
    known = [value for value in values if value is not None]
    if name not in _BETTER or not known:
        return ""
    return f"{(min if _BETTER[name] == 'higher' else max)(known):.3f}"


def _notebook_table(comparison: Comparison) -> list[list[str]]:
    rows = [["model", "", "accuracy", "precision", "recall"]]
    for one, _, judgement in comparison.parts:
        if one.name in NOTEBOOK:
            rows.append([one.name, "notebook", *(f"{value:.3f}" for value in NOTEBOOK[one.name])])
            found = judgement.argmax.metrics
            rows.append([one.name, "here", *(cell(found[name]) for name in ("accuracy", "precision", "sensitivity"))])
    return rows


def _words(comparison: Comparison) -> list[str]:
    fold = comparison.fits.plan.folds[0]
    order, count = comparison.fits.order, len(comparison.fits.plan.folds)
    backbones = [one for one in comparison.fits.contenders if one.backbone_weights is not None]
    return [
        (
            f"{order.data.name}, {len(comparison.fits.items)} images: {len(fold.fit)} fitted on, {len(fold.tune)} "
            f"tuned on, {len(fold.scored)} scored" + (" in the first division." if count > 1 else ".")
        ),
        *comparison.fits.plan.notes,
        *(
            [
                f"Backbone weights: {order.backbone_weights}; given "
                + ("[0, 1] as in the notebook." if order.as_notebook else "what they were trained with.")
            ]
            if backbones
            else []
        ),
        (
            "Figures at argmax take the network's output as the probability; at the operating point it is calibrated "
            "(Platt). The operating point is the highest score whose one-sided 95 % lower bound of sensitivity by "
            f"patient is at least {comparison.required_sensitivity:g}. Intervals are 95 %, by resampling patients, of "
            "networks as they were fitted: fitting again varies more. Memory is the largest resident set of the "
            "process that fitted, TensorFlow included; time is that of all epochs and of a backbone's features."
        ),
    ]


def markdown(comparison: Comparison) -> str:
    """Return the report as Markdown, without pictures."""
    order = comparison.fits.order
    lines = [f"# Comparison, protocol {order.protocol.value}", ""]
    lines += [f"{words}\n" for words in _words(comparison)]
    lines += _markdown_table(_table(comparison))
    if len(comparison.fits.plan.folds) > 1:
        lines += ["", "## Each division", "", *_markdown_table(_divisions_table(comparison))]
    if order.protocol is Protocol.SEED:
        lines += ["", "## Beside the notebook", "", *_markdown_table(_notebook_table(comparison))]
    return "\n".join(lines) + "\n"


def _markdown_table(rows: Sequence[Sequence[str]]) -> list[str]:
    head, *body = ["| " + " | ".join(part.replace("|", "\\|") for part in row) + " |" for row in rows]
    return [head, "|" + "---|" * len(rows[0]), *body]


def json_text(comparison: Comparison) -> str:
    """Return the report as JSON."""
    return json.dumps(comparison.to_dict(), indent=1, allow_nan=False) + "\n"


def page(comparison: Comparison) -> str:
    """Return the report as one HTML page; its plots are within it."""
    order = comparison.fits.order
    title = f"Comparison, protocol {order.protocol.value}"
    body = [f"<h1>{html.escape(title)}</h1>", *(f"<p>{html.escape(words)}</p>" for words in _words(comparison))]
    body.append(_html_table(_table(comparison)))
    if len(comparison.fits.plan.folds) > 1:
        body += ["<h2>Each division</h2>", _html_table(_divisions_table(comparison))]
    if order.protocol is Protocol.SEED:
        body += ["<h2>Beside the notebook</h2>", _html_table(_notebook_table(comparison))]
    named = [(one.name.value, judgement) for one, _, judgement in comparison.parts]
    body += ["<h2>All models</h2>", drawing(plots.ranking(named), "ROC and precision-recall curves of all models")]
    for one, results, judgement in comparison.parts:
        name = one.name.value
        body.append(f"<h2>{html.escape(name)}</h2>")
        body.append(drawing(plots.curves([result.points for result in results]), f"accuracy and loss of {name}"))
        body.append(drawing(plots.confusions(judgement), f"confusion matrices of {name}"))
        body.append(drawing(plots.calibration(judgement), f"calibration of {name}"))
        layers = [["layer", "output", "parameters"]]
        layers += [[layer.kind, layer.shape, f"{layer.parameters:,}"] for layer in results[0].layers]
        body.append(f"<details><summary>Layers</summary>{_html_table(layers)}</details>")
    return document(title, body, _STYLE)


def _html_table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = rows
    lines = ["<tr>" + "".join(f"<th>{html.escape(part)}</th>" for part in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{_html_cell(part)}</td>" for part in row) + "</tr>" for row in body]
    return '<div class="wide"><table>' + "\n".join(lines) + "</table></div>"


def _html_cell(text: str) -> str:
    value, bracket, interval = text.partition(" (")
    if not bracket or " to " not in interval:
        return html.escape(text)
    return f"{html.escape(value)}<br><small>{html.escape(interval.rstrip(')'))}</small>"
