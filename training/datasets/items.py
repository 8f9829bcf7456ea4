"""The words of a data set: labels, layouts, one labelled image, one opened image."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

LABELS: Final = ("NORMAL", "PNEUMONIA")
PUBLISHED_SPLITS: Final = frozenset({"train", "val", "test"})


class Layout(StrEnum):
    """How a data set says what its images are."""

    PUBLISHED = "PUBLISHED"
    """``{train,val,test}/{NORMAL,PNEUMONIA}/*.jpeg``, with any of the three."""
    CLASS_FOLDERS = "CLASS_FOLDERS"
    """``{NORMAL,PNEUMONIA}/*.jpeg``."""
    TABLE = "TABLE"
    """A CSV beside DICOM files (or pictures)."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What is known of patient and device, for figures by subgroup; None where nothing says it. Never an identifier.

    Attributes
    ----------
    sex : str or None
        F, M or O, as (0010,0040).
    age_days : int or None
    view : str or None
        Such as AP, see `imaging.view`.
    device : str or None
        Manufacturer and model.
    """

    sex: str | None = None
    age_days: int | None = None
    view: str | None = None
    device: str | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One labelled image of a data set.

    Attributes
    ----------
    key : str
        ``split/class/file`` or ``class/file``: the same wherever the data set lies.
        For a DICOM file of a table its SOP Instance UID stands for the file.
    path : str
        Where its bytes are, relative to the data set.
    label : str
        NORMAL or PNEUMONIA.
    published_split : str or None
        train, val, test, or None where the data set does not say.
    patient : str
        See `training.datasets.patients.patient_of`, and `training.datasets.table` for tables.
    subgroup : str or None
        ``bacterial``, ``viral``, what a table says, or None.
    traits : Traits
        Of tables and DICOM files; folders say nothing of them.
    """

    key: str
    path: str
    label: str
    published_split: str | None
    patient: str
    subgroup: str | None
    traits: Traits = Traits()


@dataclass(frozen=True)
class Rendered:
    """An image that has been opened.

    Attributes
    ----------
    file_digest : str
        SHA-256 of its file, 64 hexadecimal digits.
    size : int
        Bytes of its file.
    rows, columns : int
        Of the original, pixels.
    master : ndarray of uint16, shape (rows, columns) of at most 512
        See `imaging.master`.
    """

    file_digest: str
    size: int
    rows: int
    columns: int
    master: NDArray[np.uint16]
