"""The stress table of one or more bundles on the same images, as data and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bundle.load import LoadedModel
from bundle.manifest import Interval, Manifest
from training.datasets.dataset import LABELS, Item
from training.datasets.patients import patient_digest
from training.datasets.pixels import Squares, load_squares
from training.errors import DatasetError
from training.examination.part import Chosen, Part
from training.examination.stress import DISTORTIONS, Stressed, stress

COLUMNS: Final = ("auc", "auc_change", "sensitivity", "specificity")
_TITLES: Final = {"auc": "AUC", "auc_change": "change of AUC"}


@dataclass(frozen=True)
class ModelStressed:
    """One model's rows; `patients_fitted_on` above 0 says that it has seen some of the images' patients."""

    manifest: Manifest
    digest: str
    patients_fitted_on: int
    rows: tuple[Stressed, ...]


@dataclass(frozen=True)
class StressTable:
    """Models side by side; `counts` are the images of each class."""

    data: str
    split: Part
    counts: dict[str, int]
    patients: int
    models: tuple[ModelStressed, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON of ``lungwatch stress --json``."""
        return {
            "data": self.data,
            "split": self.split.value,
            "counts": self.counts,
            "patients": self.patients,
            "models": [
                {
                    "model": one.manifest.title,
                    "model_digest": one.digest,
                    "score_threshold": one.manifest.operating_point.threshold,
                    "patients_fitted_on": one.patients_fitted_on,
                    "distortions": [
                        {
                            "name": row.name,
                            **{name: getattr(row, name).model_dump() for name in COLUMNS},
                            "moved": row.moved,
                        }
                        for row in one.rows
                    ],
                }
                for one in self.models
            ],
        }


def stress_table(
    models: Sequence[tuple[LoadedModel, frozenset[str]]],
    chosen: Chosen,
    begin: Callable[[str, int], Callable[[], None]] = lambda _name, _total: lambda: None,
    resamples: int = 1000,
) -> StressTable:
    """Put models through every distortion of `training.examination.stress`.

    Parameters
    ----------
    models : sequence of tuple
        Each with the keyed digests of the patients it was fitted on.
    begin : callable
        Begins a stage of so many steps; returns what to call after each step.

    Raises
    ------
    DatasetError
        If the part lacks a class or a picture is unreadable.
    """
    dataset, items = chosen.dataset, chosen.items
    for label in LABELS:
        if not any(item.label == label for item in items):
            raise DatasetError(
                f"{dataset.name}: no image of class {label} in the split {chosen.part.value}; choose another"
            )
    squares: dict[int, Squares] = {}
    for model, _ in models:
        side = model.spec.triangle_size
        if side not in squares:
            squares[side] = load_squares(dataset, items, model.spec, begin("read", len(items)))
    found = []
    for model, fitted in models:
        rows = stress(
            model.spec,
            model.runtime,
            model.manifest.operating_point.threshold,
            squares[model.spec.triangle_size],
            advance=begin(model.manifest.title, len(DISTORTIONS)),
            resamples=resamples,
        )
        seen = sum(patient_digest(patient) in fitted for patient in _patients(items))
        found.append(ModelStressed(model.manifest, model.digest, seen, rows))
    counts = {label: sum(item.label == label for item in items) for label in LABELS}
    return StressTable(chosen.name, chosen.part, counts, len(_patients(items)), tuple(found))


def _patients(items: Sequence[Item]) -> set[str]:
    return {item.patient for item in items}


def markdown(table: StressTable) -> str:
    """Return the table as Markdown, a row a distortion and the models side by side."""
    titles = [_TITLES.get(name, name) for name in COLUMNS] + ["log-odds moved"]
    several = len(table.models) > 1
    columns = ["distortion"]
    for one in table.models:
        columns += [f"{one.manifest.title}: {title}" if several else title for title in titles]
    lines = [
        f"# Stress table: {', '.join(one.manifest.title for one in table.models)}",
        "",
        (
            f"{table.data}, split {table.split.value}: {table.counts['NORMAL']} normal and {table.counts['PNEUMONIA']} "
            f"pneumonia images of {table.patients} patients, each distorted before the bundle's own preprocessing; "
            "threshold as it stands. Intervals are 95 %, by resampling patients; the change of AUC is of the same "
            "patients. The last column is the median distance that log-odds of the score moved."
        ),
        "",
    ]
    lines += [
        f"{one.patients_fitted_on} of these patients shaped {one.manifest.title}: its figures flatter.\n"
        for one in table.models
        if one.patients_fitted_on
    ]
    lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for rows in zip(*(one.rows for one in table.models), strict=True):
        cells = [rows[0].name]
        for row in rows:
            cells += [*(_cell(name, getattr(row, name)) for name in COLUMNS), f"{row.moved:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(name: str, interval: Interval) -> str:
    form = "+.4f" if name == "auc_change" else ".3f"
    if interval.value is None:
        return "not defined"
    return f"{interval.value:{form}} ({interval.low:{form}} to {interval.high:{form}})"


def json_text(table: StressTable) -> str:
    """Return the table as JSON."""
    return json.dumps(table.to_dict(), indent=1, allow_nan=False) + "\n"


REPORTS: Final = {"stress.md": markdown, "stress.json": json_text}
