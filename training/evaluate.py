"""Measuring a model on a data set, in the JSON shape others rely on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np

from bundle.load import LoadedModel
from bundle.manifest import Interval, Manifest
from training.assignment import Assignment, assign
from training.datasets import Item, open_dataset
from training.errors import DatasetError
from training.metrics import Scored, intervals
from training.patients import Split, patient_digest
from training.pixels import Examples, load
from training.score import score, scored

_OF_A_SUBGROUP: Final = ("auc", "sensitivity", "average_precision")


class Part(StrEnum):
    """What of a data set to score."""

    TEST = "test"
    VALIDATION = "validation"
    TRAIN = "train"
    RESERVED = "reserved"
    ALL = "all"


@dataclass(frozen=True)
class Subgroup:
    """Images with pneumonia of one kind, held against all normals."""

    n: int
    metrics: dict[str, Interval]


@dataclass(frozen=True)
class Evaluation:
    """A model's figures on a part of a data set.

    Attributes
    ----------
    patients : int
        How many the images belong to.
    patients_fitted_on : int
        How many of those the model was fitted on: above 0 the figures flatter it.
    """

    manifest: Manifest
    digest: str
    data: str
    split: Part
    n: int
    patients: int
    patients_fitted_on: int
    counts: dict[str, int]
    metrics: dict[str, Interval]
    subgroups: dict[str, Subgroup]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON of ``lungwatch evaluate --json``."""
        point = self.manifest.operating_point
        return {
            "model": self.manifest.title,
            "model_digest": self.digest,
            "data": self.data,
            "split": self.split.value,
            "n": self.n,
            "patients": self.patients,
            "patients_fitted_on": self.patients_fitted_on,
            "counts": self.counts,
            "operating_point": {
                "score_threshold": point.threshold,
                "required_sensitivity": point.required_sensitivity,
                "confidence": point.confidence,
            },
            "metrics": {name: interval.model_dump() for name, interval in self.metrics.items()},
            "subgroups": {
                name: {"n": group.n, "metrics": {key: found.model_dump() for key, found in group.metrics.items()}}
                for name, group in self.subgroups.items()
            },
        }


def items_of(assignment: Assignment, part: Part) -> tuple[Item, ...]:
    """Return the items of a part, sorted by key."""
    splits = {
        Part.TEST: (Split.TEST,),
        Part.VALIDATION: (Split.VALIDATION,),
        Part.TRAIN: (Split.FIT, Split.WATCH),
        Part.RESERVED: (Split.RESERVED,),
        Part.ALL: tuple(Split),
    }[part]
    chosen = [item for split in splits for item in assignment.items[split]]
    if part is Part.ALL:
        chosen += assignment.dropped
    return tuple(sorted(chosen, key=lambda item: item.key))


def evaluate(
    model: LoadedModel,
    fitted_patients: frozenset[str],
    location: Path,
    part: Part,
    begin: Callable[[int], Callable[[], None]] = lambda _: lambda: None,
) -> Evaluation:
    """Score a part of a data set through the same pixels and runtime as the worker.

    Parameters
    ----------
    fitted_patients : frozenset of str
        Keyed digests from the bundle's ``patients_fitted.txt``.
    begin : callable
        Called with the number of images; returns what to call after each.

    Raises
    ------
    DatasetError
        If the part is empty or a picture is unreadable.
    """
    with open_dataset(location) as dataset:
        chosen = items_of(assign(dataset), part)
        if not chosen:
            raise DatasetError(f"{dataset.name}: no image in the split {part.value}; --split all scores everything")
        examples = load(dataset, chosen, model.spec, begin(len(chosen)))
    found = scored(examples, score(model.runtime, examples), model.manifest.calibration)
    threshold = model.manifest.operating_point.threshold
    patients = {item.patient for item in chosen}
    return Evaluation(
        manifest=model.manifest,
        digest=model.digest,
        data=location.name,
        split=part,
        n=len(found),
        patients=len(patients),
        patients_fitted_on=sum(patient_digest(patient) in fitted_patients for patient in patients),
        counts={"NORMAL": int((found.labels == 0).sum()), "PNEUMONIA": int((found.labels == 1).sum())},
        metrics=intervals(found, threshold),
        subgroups=subgroups(examples, found, threshold),
    )


def subgroups(examples: Examples, found: Scored, threshold: float) -> dict[str, Subgroup]:
    """Return figures of each kind of pneumonia the file names tell, against all normals."""
    kinds = np.array([item.subgroup or "" for item in examples.items])
    return {
        kind: Subgroup(
            int((kinds == kind).sum()),
            intervals(found.only((kinds == kind) | (found.labels == 0)), threshold, _OF_A_SUBGROUP),
        )
        for kind in sorted(set(kinds) - {""})
    }
