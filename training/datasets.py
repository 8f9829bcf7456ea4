"""Data sets of the published layout: what is in them, without reading a pixel.

A data set is a folder or a zip of it, holding ``{train,val,test}/{NORMAL,PNEUMONIA}/*.jpeg``
at any depth, with any of the three splits, or a plain folder per class.
"""

from __future__ import annotations

import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from training.errors import DatasetError
from training.patients import patient_of, subgroup_of

LABELS: Final = ("NORMAL", "PNEUMONIA")
PUBLISHED_SPLITS: Final = frozenset({"train", "val", "test"})
_PICTURES: Final = frozenset({".jpeg", ".jpg", ".png"})
_LARGEST_PICTURE: Final = 128 << 20
# what zipfile raises for damaged, encrypted and exotically compressed members, and what a disk does
_UNREADABLE: Final = (OSError, KeyError, ValueError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, slots=True)
class Item:
    """One labelled image of a data set.

    Attributes
    ----------
    key : str
        ``split/class/file`` or ``class/file``: the same wherever the data set lies.
    path : str
        Where its bytes are, relative to the data set.
    label : str
        NORMAL or PNEUMONIA.
    published_split : str or None
        train, val, test, or None for a plain folder per class.
    patient : str
        See `training.patients.patient_of`.
    subgroup : str or None
        ``bacterial``, ``viral`` or None.
    """

    key: str
    path: str
    label: str
    published_split: str | None
    patient: str
    subgroup: str | None


@dataclass(frozen=True)
class Dataset:
    """An opened data set: its items in sorted order, and how to read their bytes."""

    name: str
    items: tuple[Item, ...]
    _read: Callable[[str], bytes]

    def read(self, item: Item) -> bytes:
        """Return the bytes of one image.

        Raises
        ------
        DatasetError
            Naming the file, if it cannot be read or is too large.
        """
        try:
            content = self._read(item.path)
        except _UNREADABLE as error:
            raise DatasetError(f"{self.name}: {item.path} cannot be read ({type(error).__name__})") from error
        if not content:
            raise DatasetError(f"{self.name}: {item.path} is empty")
        return content

    def require_classes(self) -> None:
        """Refuse a data set that lacks one of the classes: nothing can be fitted or judged with it.

        Raises
        ------
        DatasetError
            Naming the class that has no image.
        """
        for label in LABELS:
            if not any(item.label == label for item in self.items):
                raise DatasetError(f"{self.name}: no image of class {label}; expected a folder {label}/ with pictures")


@contextmanager
def open_dataset(location: Path) -> Iterator[Dataset]:
    """Open a folder or zip of the published layout for as long as the block lasts.

    Raises
    ------
    DatasetError
        If it is missing, is neither folder nor zip, holds no picture in a
        class folder, or holds two different files for one image.
    """
    if location.is_dir():
        root = location.resolve()
        paths = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
        # the folder handed in may itself be a split (…/test) or sit in one (…/test/NORMAL)
        above = [part for part in root.parts[-2:] if part in PUBLISHED_SPLITS or part in LABELS]
        yield _catalogue(location.name, paths, lambda path: _read_file(root / path), above)
    elif location.is_file():
        try:
            archive = zipfile.ZipFile(location)
        except (zipfile.BadZipFile, OSError) as error:
            raise DatasetError(f"{location}: neither a folder nor a readable zip") from error
        with archive:
            names = sorted(name for name in archive.namelist() if not name.endswith("/"))
            yield _catalogue(location.name, names, lambda name: _read_member(archive, name), [])
    else:
        raise DatasetError(f"{location}: no such folder or zip; --data wants the collection's folder or a zip of it")


def _read_file(path: Path) -> bytes:
    if path.stat().st_size > _LARGEST_PICTURE:
        raise ValueError("larger than any picture")
    return path.read_bytes()


def _read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    # the declared size bounds what is inflated: zipfile stops there and checks the CRC
    if archive.getinfo(name).file_size > _LARGEST_PICTURE:
        raise ValueError("larger than any picture")
    return archive.read(name)


def _catalogue(name: str, paths: Iterable[str], read: Callable[[str], bytes], above: list[str]) -> Dataset:
    found: dict[str, list[Item]] = defaultdict(list)
    for path in paths:
        if (item := _item(path, above)) is not None:
            found[item.key].append(item)
    if not found:
        raise DatasetError(
            f"{name}: no pictures in folders named {' or '.join(LABELS)}; "
            "expected train/, val/ or test/ with a folder per class, or a folder per class"
        )
    items = []
    for key in sorted(found):
        # the public download carries the whole tree twice, one inside the other: the outer copy counts
        first, *others = sorted(found[key], key=lambda item: (item.path.count("/"), item.path))
        for other in others:
            if read(other.path) != read(first.path):
                raise DatasetError(f"{name}: {first.path} and {other.path} are different pictures of one name")
        items.append(first)
    return Dataset(name, tuple(items), read)


def _item(path: str, above: list[str]) -> Item | None:
    pure = PurePosixPath(path)
    if pure.suffix.lower() not in _PICTURES or any(part.startswith((".", "__MACOSX")) for part in pure.parts):
        return None
    folders = [*above, *pure.parts[:-1]]
    label = next((part for part in reversed(folders) if part in LABELS), None)
    if label is None:
        return None
    split = next((part for part in reversed(folders) if part in PUBLISHED_SPLITS), None)
    key = "/".join(part for part in (split, label, pure.name) if part)
    return Item(key, path, label, split, patient_of(pure.stem, split), subgroup_of(pure.stem))
