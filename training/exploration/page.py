"""What was found out about a data set as one HTML page that needs nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from training.datasets.dataset import LABELS
from training.exploration.charts import COLOURS, bars, histogram, steps
from training.exploration.explore import SAMPLE_SIDE, Exploration, Sample
from training.exploration.facts import LEVELS, MEASURES
from training.exploration.problems import HARMLESS, Problem
from training.pages import STYLE, document, photograph, table

_MOST_PATHS: Final = 40
# above this a measure that knows nothing of lungs sorts the classes as well as many a network
_GIVES_AWAY: Final = 0.8
_STYLE: Final = f"""{STYLE}
svg {{ width: 100%; }} svg text {{ font-size: 11px; fill: currentColor; }}
.samples {{ display: flex; flex-wrap: wrap; gap: .6rem; }}
.pair {{ display: flex; gap: 2px; align-items: flex-start; background: #000; }}
.pair img {{ width: {SAMPLE_SIDE}px; height: {SAMPLE_SIDE}px; object-fit: contain; }}
.key b {{ padding: 0 .5rem; }}
.bad {{ border-left: 4px solid #c0504d; padding-left: .7rem; }}
.mild {{ border-left: 4px solid #bbb; padding-left: .7rem; }}
"""


def page(found: Exploration, model: str) -> str:
    """Return the page.

    Parameters
    ----------
    model : str
        Whose preprocessing the samples show.
    """
    parts = [
        f"<h1>{escape(found.name)}</h1>",
        f"<p>{_summary(found)}</p>",
        "<h2>What is wrong</h2>",
        _problems(found.problems),
        "<h2>Images by split</h2>",
        table(("split", *LABELS), ((split, *counts.values()) for split, counts in found.counts.items())),
        _subgroups(found),
        "<h2>Patients</h2>",
        _patients(found),
        "<h2>What gives the class away</h2>",
        _separations(found),
        "<h2>Measures</h2>",
        _key(),
        f'<div class="charts">{_charts(found)}</div>',
        _spreads(found),
        f"<h2>Samples before and after the preprocessing of {escape(model)}</h2>",
        "".join(_samples(label, found.samples) for label in LABELS),
    ]
    return document(found.name, parts, _STYLE)


def _summary(found: Exploration) -> str:
    copies = found.copies
    return (
        f"{found.images} images of {found.patients.grouped} patients ({found.patients.told_apart} if bacterial and "
        f"viral images of one number are told apart), layout {found.layout.value}. "
        f"{copies.groups} groups of byte-identical files ({copies.images} files), "
        f"{copies.groups_of_pixels} of identical pixels ({copies.images_of_pixels})."
    )


def _problems(problems: Sequence[Problem]) -> str:
    if not problems:
        return "<p>Nothing was found.</p>"
    shown = []
    for problem in problems:
        style = "mild" if problem.kind in HARMLESS else "bad"
        paths = ""
        if problem.paths:
            listed = "<br>".join(f"<code>{escape(path)}</code>" for path in problem.paths[:_MOST_PATHS])
            rest = len(problem.paths) - _MOST_PATHS
            paths = f"<details><summary>{len(problem.paths)} files</summary>{listed}"
            paths += f"<br>and {rest} more</details>" if rest > 0 else "</details>"
        shown.append(f'<div class="{style}"><p>{problem.kind.value}: {escape(problem.said)}</p>{paths}</div>')
    return "".join(shown)


def _subgroups(found: Exploration) -> str:
    return table(("subgroup", "images"), found.subgroups.items()) if found.subgroups else ""


def _patients(found: Exploration) -> str:
    patients = found.patients
    uses = table(
        ("use, by a keyed hash of the patient", *LABELS, "patients"),
        ((use, *counts.values(), found.use_patients.get(use, "")) for use, counts in found.uses.items()),
    )
    by_label = ", ".join(f"{count} with {label}" for label, count in patients.by_label.items())
    return (
        f"<p>{patients.grouped} patients, {patients.told_apart} with bacterial and viral series told apart: "
        f"{by_label}.</p>{uses}"
        f'<div class="charts">{bars("images per patient, height by logarithm of patients", patients.images_each)}</div>'
    )


def _separations(found: Exploration) -> str:
    if not found.separations:
        return "<p>There is one class only.</p>"
    titles = {kind.name: kind.title for kind in MEASURES}
    ordered = sorted(found.separations.items(), key=lambda pair: -pair[1])
    loud = [titles[name] for name, area in ordered if area >= _GIVES_AWAY]
    warning = ""
    if loud:
        warning = (
            f"<p>Without looking at a lung, these sort the classes well: {escape('; '.join(loud))}. "
            "A network will use what it can: expect figures on this data to flatter.</p>"
        )
    rows = ((titles[name], f"{area:.3f}") for name, area in ordered)
    note = '<p class="note">AUC of each measure alone: 0.5 tells nothing, 1 separates the classes completely.</p>'
    return warning + table(("measure", "AUC"), rows) + note


def _key() -> str:
    names = " ".join(f'<b style="color:{colour}">{label}</b>' for label, colour in zip(LABELS, COLOURS, strict=True))
    return f'<p class="key note">{names} (dashed); each class scaled to its own number of images.</p>'


def _charts(found: Exploration) -> str:
    levels = {label: counts / counts.sum() for label, counts in found.levels.items() if counts.sum()}
    grey = steps("grey levels of all pixels", levels, 0, LEVELS - 1) if levels else ""
    return grey + "".join(histogram(kind.title, found.values[kind.name]) for kind in MEASURES)


def _spreads(found: Exploration) -> str:
    titles = {kind.name: kind.title for kind in MEASURES}
    rows = (
        (
            titles[name],
            label,
            *(f"{value:.4g}" for value in (some.least, some.low, some.median, some.high, some.largest)),
        )
        for name, by_label in found.spreads.items()
        for label, some in by_label.items()
    )
    return table(("measure", "class", "least", "5 %", "median", "95 %", "largest"), rows)


def _samples(label: str, samples: Sequence[Sample]) -> str:
    shown = "".join(
        f'<figure><div class="pair">{photograph(sample.before, "")}{photograph(sample.after, "")}</div>'
        f"<figcaption>{escape(sample.item.subgroup or '')} {sample.facts.columns} x {sample.facts.rows}</figcaption>"
        "</figure>"
        for sample in samples
        if sample.item.label == label
    )
    return f'<h3>{label}</h3><div class="samples">{shown}</div>' if shown else ""
