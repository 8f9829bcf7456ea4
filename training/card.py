"""The model card: every figure from the manifest, none typed."""

from __future__ import annotations

from typing import Final

from bundle.manifest import Interval, Manifest

_FIGURES: Final = {
    "auc": "AUC",
    "accuracy": "accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "precision": "precision",
    "average_precision": "average precision",
    "brier": "Brier score",
    "ece": "expected calibration error",
}
_DAYS_A_YEAR: Final = 365.25
# share of a class of pictures from where on it counts as noticed
_NOTICED: Final = 0.95


def model_card(manifest: Manifest) -> str:
    """Return the card as Markdown; `manifest.files` need not be complete yet."""
    point, use, data = manifest.operating_point, manifest.intended_use, manifest.data
    low, high = (days / _DAYS_A_YEAR for days in use.age_days)
    calibration = manifest.calibration
    lines = [
        f"# Model card: {manifest.title}",
        "",
        f"{use.purpose} Research software, not a medical device.",
        "",
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
        "## Network",
        "",
        f"Architecture `{manifest.architecture}`; labels {', '.join(manifest.labels)}. Pixels: "
        + ", ".join(f"{name} {value}" for name, value in manifest.preprocess.items())
        + ". Fitted with "
        + ", ".join(f"{name} {value}" for name, value in manifest.training.items())
        + ".",
        "",
        "## Data",
        "",
        f"{data.name}. Split by patient with a keyed hash; no patient is on two sides.",
        "",
        "| use | normal | pneumonia | patients |",
        "|---|---|---|---|",
        *(
            f"| {split} | {counts.get('NORMAL', 0)} | {counts.get('PNEUMONIA', 0)} | {data.patients[split]} |"
            for split, counts in data.images.items()
        ),
        "",
        (
            "`fit` shaped the weights, `watch` chose the epoch, `validation` set calibration and threshold, "
            "`test` shaped nothing; it was scored when all else was fixed."
        ),
        "",
        "## Operating point",
        "",
        (
            f"Score at or above {point.threshold:.6g} is SUSPECTED: the {point.chosen_how}. On those "
            f"{point.images} images of {point.patients} patients: sensitivity {_cell(point.sensitivity)} "
            f"(lower bound {point.sensitivity_lower_bound:.3f}), "
            f"at the cost of a specificity of {_cell(point.specificity)}."
        ),
        (
            f"Scores from {manifest.uncertainty.low:.6g} up to {manifest.uncertainty.high:.6g} are flagged UNCERTAIN, "
            f"on whichever side of the threshold: {manifest.uncertainty.chosen_how}."
        ),
        (
            f"Probability: slope {calibration.slope:.4f} and intercept {calibration.intercept:.4f} on the log-odds of "
            f"the score, right at a prevalence of {calibration.training_prevalence:.3f}; another prevalence shifts it."
        ),
        "",
        "## Figures",
        "",
        (
            "95 % intervals by resampling patients; the yes-or-no figures are at the operating point. Resampling by "
            "itself adds to the calibration error, so its interval is shifted until its median is the figure: it tells "
            "how far the figure may vary, and not that the error could not be smaller."
        ),
        "",
        "| figure | " + " | ".join(manifest.metrics) + " |",
        "|---|" + "---|" * len(manifest.metrics),
        *(
            f"| {title} | " + " | ".join(_cell(found.get(name)) for found in manifest.metrics.values()) + " |"
            for name, title in _FIGURES.items()
        ),
        "",
        *_unfamiliarity(manifest),
        "## Attribution",
        "",
        manifest.attribution,
        "",
        "Made with " + ", ".join(f"{name} {version}" for name, version in manifest.libraries.items()) + ".",
        "",
    ]
    return "\n".join(lines)


def _unfamiliarity(manifest: Manifest) -> list[str]:
    found = manifest.familiarity
    if found is None:
        return []
    alarms = "; ".join(f"{split} {_cell(interval)}" for split, interval in found.false_alarms.items())
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
        "| pictures | n | called unfamiliar |",
        "|---|---|---|",
        *(f"| {name} | {one.n} | {one.unfamiliar / one.n:.3f} |" for name, one in found.noticed.items()),
        "",
        f"Not reliably noticed (under {_NOTICED:.0%}): {', '.join(missed) or 'none of these'}.",
        "",
    ]


def _cell(interval: Interval | None) -> str:
    if interval is None or interval.value is None:
        return "not defined"
    if interval.low is None or interval.high is None:
        return f"{interval.value:.3f}"
    return f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})"
