"""Data sets: what is in them, and how their images are opened.

A data set is a folder or a zip of one of three layouts (docs/data.md):
``{train,val,test}/{NORMAL,PNEUMONIA}/*.jpeg`` at any depth, with any of the
three splits; a plain folder per class; or DICOM files with a CSV of labels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.errors import RejectedInput
from imaging.eight_bit import grey_from_picture, to_sixteen_bit
from imaging.instance import ReadingRules
from imaging.master import shrink
from training.datasets import folders, table
from training.datasets.decoding import Decoders, default_rules
from training.datasets.files import UNREADABLE, Files, open_files
from training.datasets.items import LABELS, PUBLISHED_SPLITS, Item, Layout, Rendered
from training.errors import DatasetError

__all__ = ["LABELS", "PUBLISHED_SPLITS", "Dataset", "Item", "Layout", "Rendered", "open_dataset"]

_TABLE_HINT: Final = "or a CSV with the columns label and file or sop_instance_uid"


@dataclass(frozen=True)
class Dataset:
    """An opened data set: its items in sorted order, and how to read them; for several threads at once.

    Attributes
    ----------
    name : str
        Of its folder or zip.
    items : tuple of Item
        Sorted by key.
    layout : Layout
        How it says what its images are.
    ignored : tuple of str
        Pictures in no class folder and other files in one, or files that the table does not name.
    """

    name: str
    items: tuple[Item, ...]
    _read: Callable[[str], bytes]
    layout: Layout = Layout.PUBLISHED
    ignored: tuple[str, ...] = ()
    _decode: Callable[[str], tuple[int, int, NDArray[np.uint16]]] | None = None

    def read(self, item: Item) -> bytes:
        """Return the bytes of one image's file.

        Raises
        ------
        DatasetError
            Naming the file, if it cannot be read or is too large.
        """
        try:
            content = self._read(item.path)
        except UNREADABLE as error:
            raise DatasetError(f"{self.name}: {item.path} cannot be read ({type(error).__name__})") from error
        if not content:
            raise DatasetError(f"{self.name}: {item.path} is empty")
        return content

    def render(self, item: Item) -> Rendered:
        """Open one image on the path that serving takes, up to its master.

        Raises
        ------
        DatasetError
            Naming the file, if it is no readable image.
        """
        content = self.read(item)
        try:
            if self._decode is None or content.startswith(table.PICTURES):
                grey = grey_from_picture(content)
                (rows, columns), master = grey.shape, shrink(grey, to_sixteen_bit)
            else:
                rows, columns, master = self._decode(item.path)
        except RejectedInput as error:
            what = "picture" if self._decode is None else "image"
            raise DatasetError(
                f"{self.name}: {item.path} is no readable {what}: {error.detail}; replace or remove it"
            ) from error
        except UNREADABLE as error:
            raise DatasetError(f"{self.name}: {item.path} cannot be read ({type(error).__name__})") from error
        return Rendered(hashlib.sha256(content).hexdigest(), len(content), rows, columns, master)

    def master(self, item: Item) -> NDArray[np.uint16]:
        """Return the master of one image; see `render`."""
        return self.render(item).master

    def require_classes(self) -> None:
        """Refuse a data set that lacks one of the classes: nothing can be fitted or judged with it.

        Raises
        ------
        DatasetError
            Naming the class that has no image.
        """
        for label in LABELS:
            if not any(item.label == label for item in self.items):
                expected = f"a folder {label}/ with pictures"
                if self.layout is Layout.TABLE:
                    expected = f"lines with the label {label}"
                raise DatasetError(f"{self.name}: no image of class {label}; expected {expected}")

    def require_whole_patients(self) -> None:
        """Refuse a data set that has images of one patient in two of its splits.

        Raises
        ------
        DatasetError
            Naming the patient and a file of each.
        """
        seen: dict[str, Item] = {}
        for item in self.items:
            first = seen.setdefault(item.patient, item)
            if first.published_split != item.published_split:
                raise DatasetError(
                    f"{self.name}: patient {item.patient} is in two splits: {first.path} "
                    f"({first.published_split or 'none'}) and {item.path} ({item.published_split or 'none'}); "
                    "a patient belongs to one"
                )


@contextmanager
def open_dataset(
    location: Path, rules: ReadingRules | None = None, *, whole_patients: bool = True
) -> Iterator[Dataset]:
    """Open a folder or zip of one of the layouts for as long as the block lasts.

    Parameters
    ----------
    rules : ReadingRules, optional
        What DICOM files are held against; else the shipped scope rules, for any age.
    whole_patients : bool
        Whether a patient in two splits is refused; who only looks may want to see more.

    Raises
    ------
    DatasetError
        If it is missing, is neither folder nor zip, has no image that is
        labelled, a label that is not in the vocabulary, two different files
        for one image, or a patient in two of its splits.
    """
    with open_files(location) as files:
        decoders = Decoders(rules or default_rules())
        try:
            dataset = _catalogue(location.absolute().name, files, decoders)
            if whole_patients:
                dataset.require_whole_patients()
            yield dataset
        finally:
            decoders.close()


def _catalogue(name: str, files: Files, decoders: Decoders) -> Dataset:
    labels = table.find_table(name, files)
    if labels is not None:

        def decode(path: str) -> tuple[int, int, NDArray[np.uint16]]:
            with files.local(path) as file:
                header, master = decoders.image(file)
            return header.rows or master.shape[0], header.columns or master.shape[1], master

        items, ignored = table.catalogue(name, files, labels, decoders)
        return Dataset(name, items, files.read, Layout.TABLE, ignored, decode)
    items, ignored = folders.catalogue(name, files)
    if not items:
        raise DatasetError(
            f"{name}: no pictures in folders named {' or '.join(LABELS)}; "
            f"expected train/, val/ or test/ with a folder per class, or a folder per class, {_TABLE_HINT}"
        )
    published = any(item.published_split is not None for item in items)
    return Dataset(name, items, files.read, Layout.PUBLISHED if published else Layout.CLASS_FOLDERS, ignored)
