"""What holds for other patients' normals: leave one style of normals out at a time, and judge on it.

Cross-validation by patient looks superb on this collection, because frame, letters and sharpness run through
all folds. Here the normals are grouped by how they are framed, one whole group is kept from fitting and from
setting the threshold, and the model has to tell it from pneumonias of patients it has not met either.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from imaging.spec import PreprocessSpec
from training.datasets.dataset import Dataset, Item
from training.datasets.patients import PUBLIC_KEY, patient_digest
from training.datasets.pixels import labels_of, load_squares
from training.datasets.styles import STYLES, frames, styles
from training.errors import DatasetError

Rows = NDArray[np.int64]

_CHOOSING_SHARE: Final = 0.15


@dataclass(frozen=True)
class LeftOut:
    """Rows of the images by use; a patient is in one of the three.

    Attributes
    ----------
    number : int
        Of the style of normals left out; 0 is the largest.
    fitted, choosing, judged : ndarray of int64
        Fitted on; calibrated and thresholded on; scored.
    """

    number: int
    fitted: Rows
    choosing: Rows
    judged: Rows


def framed(dataset: Dataset, items: Sequence[Item], advance: Callable[[], None] = lambda: None) -> NDArray[np.float64]:
    """Read images and return how they are framed, as `training.datasets.styles.frames`, at the training copies' size.

    Raises
    ------
    DatasetError
        Naming the file that is no readable picture.
    """
    return frames(load_squares(dataset, items, PreprocessSpec(), advance).planes)


def folds(items: Sequence[Item], frames_of_normals: NDArray[np.float64], count: int = STYLES) -> tuple[LeftOut, ...]:
    """Split images by style of normals and patients with pneumonia.

    Parameters
    ----------
    items : sequence of Item
        Everything but the frozen test share.
    frames_of_normals : ndarray of float64, shape (normals, places)
        See `framed`, in the order the normals have among the items.
    count : int
        How many styles; each fold judges one, and as large a share of the patients with pneumonia.

    Returns
    -------
    tuple of LeftOut
        The largest style first. A patient's normals all go where most of them lie.

    Raises
    ------
    DatasetError
        If the normals do not fall into so many styles.
    """
    normal = labels_of(items) == 0
    patients = np.array([item.patient for item in items])
    found = np.full(len(items), -1)
    found[normal] = styles(frames_of_normals, count)
    place = np.full(len(items), -1)
    for patient in np.unique(patients):
        own = patients == patient
        if (own & normal).any():
            place[own] = np.bincount(found[own & normal]).argmax()
        else:
            place[own] = int(_position(str(patient), "style") * count)
    if len(np.unique(place[normal])) < count:
        raise DatasetError(f"the normals do not fall into {count} styles of frame; use more data")
    choosing = np.array([_position(item.patient, "choosing") < _CHOOSING_SHARE for item in items])
    return tuple(
        LeftOut(
            number,
            np.flatnonzero((place != number) & ~choosing),
            np.flatnonzero((place != number) & choosing),
            np.flatnonzero(place == number),
        )
        for number in range(count)
    )


def _position(patient: str, purpose: str) -> float:
    """Return a number from 0 to 1 that depends on the patient alone."""
    digest = hashlib.sha256(f"{purpose}:{patient_digest(patient, PUBLIC_KEY)}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
