"""Who is fitted on and who is scored: the notebook's split by image, the published one, by patient, by style."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.datasets.assignment import Digests, assign
from training.datasets.dataset import LABELS, Dataset, Item
from training.datasets.patients import Split
from training.errors import DatasetError
from training.examination.generalise import folds, framed

Rows = NDArray[np.int64]

NOTEBOOK_SEED: Final = 13
SCORED_SHARE: Final = 0.2
PATIENT_FOLDS: Final = 5
TUNE_SHARE: Final = 0.15


class Protocol(StrEnum):
    """How a data set is divided.

    SEED is the notebook's: every image, 80 % to 20 % by image, so that patients fall on both sides.
    PUBLISHED fits on ``train/`` and ``val/`` and scores ``test/``. PATIENT is 5-fold cross-validation by
    patient, or several of them. STYLES leaves one style of normals out at a time, see
    `training.examination.generalise`; the frozen test share takes no part.
    """

    SEED = "seed"
    PUBLISHED = "published"
    PATIENT = "patient"
    STYLES = "styles"


@dataclass(frozen=True)
class Fold:
    """One division of a data set; rows are places in its items.

    Attributes
    ----------
    fit : ndarray of int64
        Shapes the weights.
    tune : ndarray of int64
        Sets calibration and operating point; empty where the scored images do, half by half.
    scored : ndarray of int64
        Shapes nothing.
    """

    name: str
    fit: Rows
    tune: Rows
    scored: Rows


@dataclass(frozen=True)
class Plan:
    """Every division of a protocol, what is to be known about it, and each image's digests by key."""

    folds: tuple[Fold, ...]
    notes: tuple[str, ...]
    digests: dict[str, Digests]


def shuffle_split(count: int, seed: int = NOTEBOOK_SEED, share: float = SCORED_SHARE) -> tuple[Rows, Rows]:
    """Divide images as scikit-learn's ``train_test_split(random_state=seed, test_size=share)`` does.

    Returns
    -------
    fit, scored : ndarray of int64
        In scikit-learn's order. The legacy generator is what it draws from, and NumPy never changes it.
    """
    scored = math.ceil(share * count)
    order = np.random.RandomState(seed).permutation(count).astype(np.int64)
    return order[scored:], order[:scored]


def plan(
    protocol: Protocol,
    dataset: Dataset,
    patient_folds: int = 5,
    seed: int = NOTEBOOK_SEED,
    advance: Callable[[], None] = lambda: None,
) -> Plan:
    """Divide a data set.

    Parameters
    ----------
    patient_folds : int
        Of PATIENT: five are one cross-validation, more begin another with patients in another order.
    seed : int
        PATIENT's; the notebook's own is fixed.
    advance : callable
        Called after each image that is read.

    Raises
    ------
    DatasetError
        Naming what cannot be read, which pictures carry two labels, or which part lacks a class.
    """
    assignment = assign(dataset, advance=advance)
    items, digests = dataset.items, assignment.digests
    place = {item.key: row for row, item in enumerate(items)}

    def rows(*splits: Split) -> Rows:
        return np.array(sorted(place[item.key] for split in splits for item in assignment.items[split]), np.int64)

    notes: list[str] = []
    match protocol:
        case Protocol.SEED:
            fit, scored = shuffle_split(len(items))
            found = [Fold("seed", fit, np.empty(0, np.int64), scored)]
            notes.append(_shared(items, digests, fit, scored))
            notes.append(
                "Calibration and operating point come from the scored images themselves: each half of their patients "
                "is judged by what the other half chose."
            )
        case Protocol.PUBLISHED:
            fitted = rows(Split.FIT, Split.WATCH, Split.RESERVED)
            found = [Fold("published", fitted, rows(Split.VALIDATION), rows(Split.TEST))]
            if not any(item.published_split == "test" for item in items):
                notes.append(
                    "The data set has no test/: the scored images are our own frozen test share of the patients, "
                    "which are of the same source as those fitted on. It says little about other patients."
                )
            notes.append("Calibration and operating point come from patients of train/ that were not fitted on.")
        case Protocol.STYLES:
            found = _by_style(dataset, rows(Split.FIT, Split.WATCH, Split.VALIDATION), digests)
            notes.append(
                "One style of normals by their frame is left out at a time, with as large a share of the patients with "
                "pneumonia: neither fitted on nor met by calibration and operating point. Figures are means over the "
                "styles; what counts is the worst of them. The frozen test share takes no part."
            )
        case Protocol.PATIENT:
            found = [_by_patient(items, digests, seed, number) for number in range(patient_folds)]
            notes.append(
                f"Cross-validation by patient, {patient_folds} of {PATIENT_FOLDS} folds."
                if patient_folds <= PATIENT_FOLDS
                else f"{PATIENT_FOLDS}-fold cross-validation by patient, repeated: {patient_folds} folds in all."
            )
            notes.append(
                "Figures are means over the folds, and intervals resample patients across all. Calibration and "
                "operating point come from other patients than fit and score."
            )
    for fold in found:
        _refuse_missing_class(dataset.name, items, fold)
    return Plan(tuple(found), tuple(notes), digests)


def _by_patient(items: Sequence[Item], digests: dict[str, Digests], seed: int, number: int) -> Fold:
    images: dict[str, list[int]] = defaultdict(list)
    for row, item in enumerate(items):
        images[item.patient].append(row)
    # patients with any pneumonia and patients without are divided apart, so that the prevalence stays
    strata: dict[bool, list[str]] = {False: [], True: []}
    for patient in sorted(images):
        strata[any(items[row].label == LABELS[1] for row in images[patient])].append(patient)
    parts: dict[str, list[int]] = {"scored": [], "tune": [], "fit": []}
    repetition, fold = divmod(number, PATIENT_FOLDS)
    rng = np.random.default_rng([seed, repetition])
    for patients in strata.values():
        fifths = np.array_split(rng.permutation(len(patients)), PATIENT_FOLDS)
        # the fifth whose turn it is comes first
        order = [patients[int(place)] for place in np.concatenate(fifths[fold:] + fifths[:fold])]
        scored = len(fifths[fold])
        tune = scored + math.ceil(TUNE_SHARE * len(order))
        for part, chosen in (("scored", order[:scored]), ("tune", order[scored:tune]), ("fit", order[tune:])):
            parts[part] += [row for patient in chosen for row in images[patient]]
    sides = _apart(items, digests, *(parts[part] for part in ("fit", "tune", "scored")))
    return Fold(f"fold-{number + 1}", *sides)


def _by_style(dataset: Dataset, known: Rows, digests: dict[str, Digests]) -> list[Fold]:
    items = [dataset.items[int(row)] for row in known]
    frames = framed(dataset, [item for item in items if item.label == LABELS[0]])
    return [
        Fold(
            f"style-{fold.number + 1}",
            *_apart(
                dataset.items, digests, *(known[rows].tolist() for rows in (fold.fitted, fold.choosing, fold.judged))
            ),
        )
        for fold in folds(items, frames)
    ]


def _apart(
    items: Sequence[Item], digests: dict[str, Digests], fit: list[int], tune: list[int], scored: list[int]
) -> tuple[Rows, Rows, Rows]:
    """Keep the same picture under another patient's name from two sides; what is scored is never thinned out."""
    held = {digests[items[row].key].picture for row in scored}
    tuned = [row for row in tune if digests[items[row].key].picture not in held]
    held |= {digests[items[row].key].picture for row in tuned}
    fitted = [row for row in fit if digests[items[row].key].picture not in held]
    first, second, third = (np.array(sorted(part), np.int64) for part in (fitted, tuned, scored))
    return first, second, third


def _shared(items: Sequence[Item], digests: dict[str, Digests], fit: Rows, scored: Rows) -> str:
    patients = {items[int(row)].patient for row in fit}
    pictures = {digests[items[int(row)].key].picture for row in fit}
    known = sum(items[int(row)].patient in patients for row in scored)
    copies = sum(digests[items[int(row)].key].picture in pictures for row in scored)
    return (
        f"Divided by image, as the notebook did: {known} of the {len(scored)} scored images are of patients fitted on, "
        f"and {copies} show a picture fitted on. The figures flatter."
    )


def _refuse_missing_class(name: str, items: Sequence[Item], fold: Fold) -> None:
    for part, rows in (("fitted on", fold.fit), ("tuned on", fold.tune), ("scored", fold.scored)):
        labels = {items[int(row)].label for row in rows}
        if part == "tuned on" and len(rows) == 0 and fold.name == "seed":
            continue
        for label in LABELS:
            if label not in labels:
                raise DatasetError(
                    f"{name}: too few patients: none with {label} falls to those {part} in {fold.name}; use more data"
                )
