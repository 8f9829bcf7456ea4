"""Figures by subgroup: kind of pneumonia, size of the original, and sex, age, view and device where they are known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bundle.manifest import POSITIVE, Subgroup
from training.datasets.dataset import Item
from training.examination.metrics import Scored, intervals

UNKNOWN: Final = "unknown"
# Of either class: with thirty patients and none missed, the lower bound of sensitivity is 0.905.
FEW_PATIENTS: Final = 30

# a kind of pneumonia is held against all normals, so what normals alone tell is that of the whole
_OF_A_KIND: Final = ("auc", "sensitivity", "average_precision")
_OF_A_GROUP: Final = ("auc", "accuracy", "sensitivity", "specificity", "average_precision", "brier")
_MEGAPIXEL: Final = 1e6
# Fixed, so that two data sets can be compared: copies of 224 pixels lie in the first, most radiographs in the last.
_MEGAPIXELS: Final = (0.25, 0.5, 1.0, 2.0, 4.0)
# first day of the first, third, sixth and eighteenth year completed; one to five years is what the models are made for
_AGES_DAYS: Final = (365, 1096, 2192, 6575)
_AGES: Final = ("under 1 year", "1 and 2 years", "3 to 5 years", "6 to 17 years", "18 years and over")


def subgroups(
    items: Sequence[Item], sizes: NDArray[np.int64] | None, scored: Scored, threshold: float
) -> dict[str, Subgroup]:
    """Return figures of every subgroup there is; none is left out for being small.

    Parameters
    ----------
    items : sequence of Item
        In the order of `scored`.
    sizes : ndarray of int64, shape (n, 2), or None
        Rows and columns of the originals.

    Returns
    -------
    dict of str to Subgroup
        By name: the kinds as they are called, the others as ``sex: F``. What
        nobody knows of any image has no groups; what is known of some has one ``unknown``.
    """
    found = {}
    kinds = np.array([item.subgroup or "" for item in items])
    for kind in sorted(set(kinds) - {""}):
        own = kinds == kind
        found[str(kind)] = _group(
            "kind", int(own.sum()), scored.only(own | (scored.labels == 0)), threshold, _OF_A_KIND
        )
    for what, words in _groupings(items, sizes):
        for word in dict.fromkeys((*sorted(set(words) - {UNKNOWN}, key=_rank), UNKNOWN)):
            own = np.array([other == word for other in words])
            if own.any() and not all(other == UNKNOWN for other in words):
                found[f"{what}: {word}"] = _group(what, int(own.sum()), scored.only(own), threshold, _OF_A_GROUP)
    return found


def members(items: Sequence[Item], sizes: NDArray[np.int64] | None) -> dict[str, NDArray[np.bool_]]:
    """Return which images belong to each subgroup, by the names that `subgroups` gives; kinds go with all normals."""
    found = {}
    kinds = np.array([item.subgroup or "" for item in items], np.str_)
    normal = np.array([item.label != POSITIVE for item in items])
    for kind in sorted(set(kinds.tolist()) - {""}):
        found[kind] = (kinds == kind) | normal
    for what, words in _groupings(items, sizes):
        for word in sorted(set(words) - {UNKNOWN}, key=_rank):
            found[f"{what}: {word}"] = np.array([other == word for other in words])
    return found


def _groupings(items: Sequence[Item], sizes: NDArray[np.int64] | None) -> Iterator[tuple[str, list[str]]]:
    """Give each way of grouping with the group of every image."""
    if sizes is not None:
        yield "size", [_size(int(rows) * int(columns)) for rows, columns in sizes]
    yield "sex", [item.traits.sex or UNKNOWN for item in items]
    yield "age", [_age(item.traits.age_days) for item in items]
    yield "view", [item.traits.view or UNKNOWN for item in items]
    yield "device", [item.traits.device or UNKNOWN for item in items]


def _size(pixels: int) -> str:
    place = int(np.searchsorted(_MEGAPIXELS, pixels / _MEGAPIXEL, side="right"))
    if place == 0:
        return f"under {_MEGAPIXELS[0]:g} megapixels"
    if place == len(_MEGAPIXELS):
        return f"{_MEGAPIXELS[-1]:g} megapixels and over"
    return f"{_MEGAPIXELS[place - 1]:g} to {_MEGAPIXELS[place]:g} megapixels"


def _age(days: int | None) -> str:
    return UNKNOWN if days is None else _AGES[int(np.searchsorted(_AGES_DAYS, days, side="right"))]


def _rank(word: str) -> tuple[int, str]:
    """Order bands from small to large, everything else by the alphabet."""
    bands = (
        *_AGES,
        *(_size(int(edge * _MEGAPIXEL) - 1) for edge in _MEGAPIXELS),
        _size(int(_MEGAPIXELS[-1] * _MEGAPIXEL)),
    )
    return (bands.index(word), "") if word in bands else (len(bands), word)


def _group(of: str, n: int, scored: Scored, threshold: float, names: Sequence[str]) -> Subgroup:
    ill = scored.labels == 1
    patients = [len(np.unique(scored.patients[which])) for which in (ill, ~ill) if which.any()]
    return Subgroup(
        of=of,
        n=n,
        normal=int((~ill).sum()),
        pneumonia=int(ill.sum()),
        patients=len(np.unique(scored.patients)),
        few=min(patients) < FEW_PATIENTS,
        metrics=intervals(scored, threshold, names),
    )
