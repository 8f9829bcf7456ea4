"""Measuring a model on a data set, in the JSON shape others rely on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bundle.load import LoadedModel
from bundle.manifest import Interval, Manifest, PredictiveValues, Subgroup
from training.datasets.dataset import Dataset, Item
from training.datasets.patients import patient_digest
from training.datasets.pixels import labels_of, load, patients_of
from training.examination.examine import examine
from training.examination.metrics import CALIBRATION_NAMES, NAMES, Scored
from training.examination.part import Chosen
from training.examination.score import probabilities, score

# images whose pixels are held at once, however many there are
_AT_ONCE: Final = 256


@dataclass(frozen=True)
class Evaluation:
    """A model's figures on a part of a data set.

    Attributes
    ----------
    split : str
        A `Part` of a data set, or ``sealed``.
    patients : int
        How many the images belong to.
    patients_fitted_on : int
        How many of those the model was fitted on: above 0 the figures flatter it.
    metrics, calibration : dict of str to Interval
        Figures of `training.examination.metrics.NAMES`, and of its `CALIBRATION_NAMES`.
    """

    manifest: Manifest
    digest: str
    data: str
    split: str
    n: int
    patients: int
    patients_fitted_on: int
    counts: dict[str, int]
    metrics: dict[str, Interval]
    calibration: dict[str, Interval]
    predictive_values: tuple[PredictiveValues, ...]
    subgroups: dict[str, Subgroup]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON of ``lungwatch evaluate --json``."""
        point = self.manifest.operating_point
        return {
            "model": self.manifest.title,
            "model_digest": self.digest,
            "data": self.data,
            "split": self.split,
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
            "calibration": {name: interval.model_dump() for name, interval in self.calibration.items()},
            "predictive_values": [values.model_dump() for values in self.predictive_values],
            "subgroups": {name: group.model_dump() for name, group in self.subgroups.items()},
        }


def evaluate(
    model: LoadedModel,
    fitted_patients: frozenset[str],
    chosen: Chosen,
    advance: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Score a part of a data set through the same pixels and runtime as the worker.

    Parameters
    ----------
    fitted_patients : frozenset of str
        Keyed digests from the bundle's ``patients_fitted.txt``.
    advance : callable
        Called after each image.

    Raises
    ------
    DatasetError
        If a picture is unreadable.
    """
    patients = {item.patient for item in chosen.items}
    return measure(
        model,
        chosen.dataset,
        chosen.items,
        data=chosen.name,
        split=chosen.part.value,
        fitted_on=sum(patient_digest(patient) in fitted_patients for patient in patients),
        advance=advance,
    )


def measure(
    model: LoadedModel,
    dataset: Dataset,
    items: Sequence[Item],
    *,
    data: str,
    split: str,
    fitted_on: int,
    advance: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Score images of an opened data set, and say what they are called.

    Parameters
    ----------
    fitted_on : int
        How many of their patients the model was fitted on.
    advance : callable
        Called after each image.

    Raises
    ------
    DatasetError
        If a picture is unreadable.
    """
    found, sizes = _scored(model, dataset, items, advance)
    examination = examine(items, sizes, found, model.manifest.operating_point.threshold)
    return Evaluation(
        manifest=model.manifest,
        digest=model.digest,
        data=data,
        split=split,
        n=len(found),
        patients=len({item.patient for item in items}),
        patients_fitted_on=fitted_on,
        counts={"NORMAL": int((found.labels == 0).sum()), "PNEUMONIA": int((found.labels == 1).sum())},
        metrics={name: examination.metrics[name] for name in NAMES},
        calibration={name: examination.metrics[name] for name in CALIBRATION_NAMES},
        predictive_values=examination.predictive_values,
        subgroups=examination.subgroups,
    )


def _scored(
    model: LoadedModel, dataset: Dataset, items: Sequence[Item], advance: Callable[[], None]
) -> tuple[Scored, NDArray[np.int64]]:
    """Score images part by part; returned with rows and columns of the originals."""
    scores, sizes = np.empty(len(items)), np.empty((len(items), 2), np.int64)
    for start in range(0, len(items), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        examples = load(dataset, items[rows], model.spec, advance)
        scores[rows] = score(model.runtime, examples)
        if examples.sizes is not None:
            sizes[rows] = examples.sizes
    calibrated = probabilities(scores, model.manifest.calibration)
    return Scored(labels_of(items), scores, calibrated, patients_of(items)), sizes
