"""Data sets whose folders say what an image is: the published layout, or a plain folder per class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Final

from training.datasets.files import UNREADABLE, Files, is_rubbish
from training.datasets.items import LABELS, PUBLISHED_SPLITS, Item
from training.datasets.patients import patient_of, subgroup_of
from training.errors import DatasetError

_PICTURES: Final = frozenset({".jpeg", ".jpg", ".png"})


def catalogue(name: str, files: Files) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    """List the pictures in class folders, sorted by key.

    Returns
    -------
    items : tuple of Item
        Empty where no folder is named for a class.
    ignored : tuple of str
        Pictures that lie in no class folder, and whatever else lies in one.

    Raises
    ------
    DatasetError
        Naming a folder that stands where a class folder stands and is none,
        or two different pictures of one name.
    """
    above = _above(files)
    pictures = [path for path in files.names if _is_picture(path)]
    found: dict[str, list[Item]] = defaultdict(list)
    strays: list[str] = []
    for path in pictures:
        if (item := _item(path, above)) is None:
            strays.append(path)
        else:
            found[item.key].append(item)
    _refuse_unknown_labels(name, strays, (item for items in found.values() for item in items), above)
    items = []
    for key in sorted(found):
        # the public download carries the whole tree twice, one inside the other: the outer copy counts
        first, *others = sorted(found[key], key=lambda item: (item.path.count("/"), item.path))
        for other in others:
            if _read(name, files, other.path) != _read(name, files, first.path):
                raise DatasetError(f"{name}: {first.path} and {other.path} are different pictures of one name")
        items.append(first)
    besides = [path for path in files.names if not _is_picture(path) and not is_rubbish(path) and _label(path, above)]
    return tuple(items), tuple(sorted([*strays, *besides]))


def _above(files: Files) -> list[str]:
    """Return what is known from without: what is handed in may be a split (…/test), or a class of one (…/test/NORMAL).

    Where else it lies says nothing: somebody's ``train/plain`` is no split.
    """
    *over, own = files.above
    if own in LABELS:
        return [*(part for part in over if part in PUBLISHED_SPLITS), own]
    return [own] if own in PUBLISHED_SPLITS else []


def _is_picture(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in _PICTURES and not is_rubbish(path)


def _item(path: str, above: list[str]) -> Item | None:
    pure = PurePosixPath(path)
    folders = [*above, *pure.parts[:-1]]
    if (label := _label(path, above)) is None:
        return None
    split = next((part for part in reversed(folders) if part in PUBLISHED_SPLITS), None)
    key = "/".join(part for part in (split, label, pure.name) if part)
    return Item(key, path, label, split, patient_of(pure.stem, split), subgroup_of(pure.stem))


def _label(path: str, above: list[str]) -> str | None:
    folders = [*above, *PurePosixPath(path).parts[:-1]]
    return next((part for part in reversed(folders) if part in LABELS), None)


def _refuse_unknown_labels(name: str, strays: Iterable[str], items: Iterable[Item], above: list[str]) -> None:
    """Refuse a folder in a split, or beside a class folder, that is named for no class of ours."""
    beside = {_before_label(item, above) for item in items}
    for path in strays:
        folders = (*above, *PurePosixPath(path).parts[:-1])
        split = max((place for place, part in enumerate(folders) if part in PUBLISHED_SPLITS), default=None)
        if split is not None and split + 1 < len(folders):
            label = folders[split + 1]
        elif folders and folders[:-1] in beside:
            label = folders[-1]
        else:
            continue
        raise DatasetError(
            f"{name}: {path} lies under the label {label!r}, which is not in the vocabulary "
            f"({', '.join(LABELS)}); rename the folder, or move it out of the data set"
        )


def _before_label(item: Item, above: list[str]) -> tuple[str, ...]:
    folders = (*above, *PurePosixPath(item.path).parts[:-1])
    return folders[: max(place for place, part in enumerate(folders) if part in LABELS)]


def _read(name: str, files: Files, path: str) -> bytes:
    try:
        return files.read(path)
    except UNREADABLE as error:
        raise DatasetError(f"{name}: {path} cannot be read ({type(error).__name__})") from error
