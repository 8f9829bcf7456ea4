"""The model card: every figure from the manifest, none typed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from bundle.manifest import Manifest, Noticed
from training.bundling.card_figures import FIGURES
from training.examination.words import cell

_FIGURES: Final = {
    "auc": "AUC",
    "accuracy": "accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "precision": "precision",
    "average_precision": "average precision",
    "brier": "Brier score",
    "log_loss": "log-loss",
    "ece": "expected calibration error",
    "ece_debiased": "expected calibration error, debiased",
    "calibration_slope": "calibration slope",
    "calibration_intercept": "calibration intercept",
}
_OF_SUBGROUPS: Final = ("auc", "sensitivity", "specificity")
_DAYS_A_YEAR: Final = 365.25
# share of a class of pictures from where on it counts as noticed
_NOTICED: Final = 0.95


def model_card(manifest: Manifest) -> str:
    """Return the card as Markdown; `manifest.files` need not be complete yet."""
    lines = [
        f"# Model card: {manifest.title}",
        "",
        f"{manifest.intended_use.purpose} Research software, not a medical device.",
        "",
        *_intended_use(manifest),
        *_network(manifest),
        *_data(manifest),
        *_operating_point(manifest),
        *_figures(manifest),
        *_calibration(manifest),
        *_subgroups(manifest),
        *_failures(manifest),
        *_unfamiliarity(manifest),
        "## Attribution",
        "",
        manifest.attribution,
        "",
        "Made with " + ", ".join(f"{name} {version}" for name, version in manifest.libraries.items()) + ".",
        "",
    ]
    return "\n".join(lines)


def _intended_use(manifest: Manifest) -> list[str]:
    use = manifest.intended_use
    low, high = (days / _DAYS_A_YEAR for days in use.age_days)
    return [
        "## Intended use",
        "",
        f"- Population: {use.population}",
        (
            f"- Age: from the birthday {low:.0f} to the day before the birthday {high:.0f} "
            f"({use.age_days[0]} to {use.age_days[1] - 1} days); images of other ages are withheld or marked."
        ),
        f"- Views: {', '.join(use.views)}; others are marked.",
        f"- Classes: {use.classes}",
        "",
        "## Limits",
        "",
        *(f"- {limit}" for limit in use.limits),
        "",
    ]


def _network(manifest: Manifest) -> list[str]:
    return [
        "## Network",
        "",
        f"Architecture `{manifest.architecture}`; labels {', '.join(manifest.labels)}. Pixels: "
        + ", ".join(f"{name} {value}" for name, value in manifest.preprocess.items())
        + ". Fitted with "
        + ", ".join(f"{name} {value}" for name, value in manifest.training.items())
        + ".",
        "",
    ]


def _data(manifest: Manifest) -> list[str]:
    data = manifest.data
    # a recipe that chooses no epoch says so by not naming one
    watched = (
        "chose the epoch" if "epoch_chosen" in manifest.training else "was looked at after each epoch and chose none"
    )
    rows = [
        (split, counts.get("NORMAL", 0), counts.get("PNEUMONIA", 0), data.patients[split])
        for split, counts in data.images.items()
    ]
    return [
        "## Data",
        "",
        f"{data.name}. Split by patient with a keyed hash; no patient is on two sides.",
        "",
        *_table(("use", "normal", "pneumonia", "patients"), rows),
        "",
        (
            f"`fit` shaped the weights, `watch` {watched}, `validation` set calibration and threshold, "
            "`test` shaped nothing; it was scored when all else was fixed."
        ),
        "",
    ]


def _operating_point(manifest: Manifest) -> list[str]:
    point, band = manifest.operating_point, manifest.uncertainty
    lines = [
        "## Operating point",
        "",
        (
            f"Score at or above {point.threshold:.6g} is SUSPECTED: the {point.chosen_how}. On those "
            f"{point.images} images of {point.patients} patients: sensitivity {cell(point.sensitivity)} "
            f"(lower bound {point.sensitivity_lower_bound:.3f}), "
            f"at the cost of a specificity of {cell(point.specificity)}."
        ),
        (
            f"Scores from {band.low:.6g} up to {band.high:.6g} are flagged UNCERTAIN, "
            f"on whichever side of the threshold: {band.chosen_how}."
        ),
        "",
    ]
    if manifest.predictive_values:
        rows = [
            (f"{values.prevalence:.0%}", part, cell(values.ppv), cell(values.npv))
            for part, found in manifest.predictive_values.items()
            for values in found
        ]
        lines += [
            (
                "What SUSPECTED and NOT_SUSPECTED are worth where pneumonia is rarer, by Bayes from sensitivity and "
                "specificity of these patients; right as far as the ill and the well elsewhere look like these:"
            ),
            "",
            *_table(("prevalence", "patients", "positive predictive value", "negative predictive value"), rows),
            "",
        ]
    return lines


def _figures(manifest: Manifest) -> list[str]:
    rows = [
        (title, *(cell(found.get(name)) for found in manifest.metrics.values()))
        for name, title in _FIGURES.items()
        if any(name in found for found in manifest.metrics.values())
    ]
    lines = [
        "## Figures",
        "",
        (
            "95 % intervals by resampling patients; the yes-or-no figures are at the operating point. Resampling by "
            "itself adds to the calibration error, so its interval is shifted until its median is the figure: it tells "
            "how far the figure may vary, and not that the error could not be smaller. Where nobody was missed, or "
            "nobody wrongly called, resampling sees no spread, and an interval of no width claims too much."
        ),
        "",
        *_table(("figure", *manifest.metrics), rows),
        "",
    ]
    drawn = [name for name in FIGURES if name in manifest.files]
    if drawn:
        lines += [f"Drawn of the {list(manifest.metrics)[-1]} patients:", ""]
        lines += [f"![{FIGURES[name]}]({name})" for name in drawn] + [""]
    return lines


def _calibration(manifest: Manifest) -> list[str]:
    calibration = manifest.calibration
    return [
        "## Calibration",
        "",
        (
            f"log-odds = {calibration.slope:.4f} x logit(score) + {calibration.intercept:.4f}, right at the training "
            f"prevalence of {calibration.training_prevalence:.3f}. Where the setting LUNGWATCH_SITE_PREVALENCE gives "
            f"another prevalence p, logit(p) - logit({calibration.training_prevalence:.3f}) is added to the log-odds, "
            "and probability, prevalence and offset are stored with each prediction. The outcome does not change: the "
            "threshold is on the score."
        ),
        "",
    ]


def _subgroups(manifest: Manifest) -> list[str]:
    if not manifest.subgroups:
        return []
    part, groups = list(manifest.subgroups.items())[-1]
    rows = [
        (
            name + (" (few patients)" if group.few else ""),
            group.n,
            group.normal,
            group.pneumonia,
            group.patients,
            *(cell(group.metrics.get(figure)) for figure in _OF_SUBGROUPS),
        )
        for name, group in groups.items()
    ]
    return [
        "## Subgroups",
        "",
        (
            f"Of the {part} patients, at the operating point. A kind of pneumonia is held against all normals. "
            "What is not listed (sex, age, view, device) is not known of these images."
        ),
        "",
        *_table(
            ("subgroup", "images", "normal", "pneumonia", "patients", *(_FIGURES[name] for name in _OF_SUBGROUPS)), rows
        ),
        "",
    ]


def _failures(manifest: Manifest) -> list[str]:
    """Say how often it was wrong, and where it is weakest."""
    lines = []
    for part, metrics in manifest.metrics.items():
        counts = manifest.data.images.get(part, {})
        for label, name, words in (
            ("PNEUMONIA", "sensitivity", "pneumonias were NOT_SUSPECTED"),
            ("NORMAL", "specificity", "normals were SUSPECTED"),
        ):
            share, count = metrics[name].value, counts.get(label, 0)
            if share is not None and count:
                lines.append(f"- Of the {part} patients' images, {round((1 - share) * count)} of {count} {words}.")
    if manifest.subgroups:
        part, groups = list(manifest.subgroups.items())[-1]
        for name in ("sensitivity", "specificity"):
            known = [
                (group.metrics[name].value, called, group.metrics[name])
                for called, group in groups.items()
                if name in group.metrics
            ]
            worst = min(((value, called, found) for value, called, found in known if value is not None), default=None)
            if worst is not None:
                lines.append(
                    f"- Lowest {name} of a subgroup of the {part} patients: {_plain(worst[1])}, {cell(worst[2])}."
                )
    return ["## Known failures", "", *lines, ""]


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    cells = [columns, *rows]
    head, *body = ["| " + " | ".join(_plain(str(cell)) for cell in row) + " |" for row in cells]
    return [head, "|" + "---|" * len(columns), *body]


def _plain(text: str) -> str:
    """Return text that stays in its cell: a device may be called anything."""
    return "".join(character if character.isprintable() else " " for character in text).replace("|", "\\|")


def _unfamiliarity(manifest: Manifest) -> list[str]:
    found = manifest.familiarity
    if found is None:
        return []
    alarms = "; ".join(f"{split} {cell(interval)}" for split, interval in found.false_alarms.items())
    lines = [
        "## Unfamiliar images",
        "",
        (
            f"An unfamiliarity of {found.threshold:.4f} or more is UNFAMILIAR, and never NOT_SUSPECTED: the "
            f"{found.chosen_how} ({found.images} images of {found.patients} patients). False alarms: {alarms}."
        ),
        "",
    ]
    if not found.noticed:
        return lines
    missed = [name for name, one in found.noticed.items() if one.unfamiliar < _NOTICED * one.n]
    return [
        *lines,
        "Pictures of other things, none of which any choice was made with; drawn ones are no radiographs:",
        "",
        *_table(
            ("pictures", "n", "called unfamiliar"),
            [(_with_sources(name, one), one.n, f"{one.unfamiliar / one.n:.3f}") for name, one in found.noticed.items()],
        ),
        "",
        f"Not reliably noticed (under {_NOTICED:.0%}): {', '.join(missed) or 'none of these'}.",
        "",
    ]


def _with_sources(name: str, noticed: Noticed) -> str:
    """Name a class with how many pictures it is parts of: of one or two, a figure says little."""
    if noticed.sources is None:
        return name
    return f"{name} (parts of {noticed.sources} picture{'' if noticed.sources == 1 else 's'})"
