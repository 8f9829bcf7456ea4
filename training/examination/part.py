"""Which images of a data set are scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from imaging.instance import ReadingRules
from training.datasets.assignment import Assignment, assign
from training.datasets.dataset import Dataset, Item, open_dataset
from training.datasets.patients import Split
from training.errors import DatasetError


class Part(StrEnum):
    """What of a data set to score."""

    TEST = "test"
    VALIDATION = "validation"
    TRAIN = "train"
    RESERVED = "reserved"
    ALL = "all"


@dataclass(frozen=True)
class Chosen:
    """The images of a part, and the opened data set that they are of.

    Attributes
    ----------
    name : str
        Of the data set's folder or zip.
    items : tuple of Item
        Sorted by key.
    own_share : bool
        Whether TEST is our frozen share of the patients, for want of a published ``test/``.
    """

    dataset: Dataset
    name: str
    part: Part
    items: tuple[Item, ...]
    own_share: bool


@contextmanager
def choose(
    location: Path,
    part: Part,
    rules: ReadingRules | None = None,
    begin: Callable[[str, int], Callable[[], None]] = lambda _name, _total: lambda: None,
) -> Iterator[Chosen]:
    """Open a data set and choose a part of it, for as long as the block lasts.

    Parameters
    ----------
    rules : ReadingRules, optional
        What DICOM files are held against, see `training.datasets.dataset.open_dataset`.
    begin : callable
        Begins a stage of so many steps; returns what to call after each step.

    Raises
    ------
    DatasetError
        If the part is empty, or the data set cannot be opened or assigned.
    """
    with open_dataset(location, rules) as dataset:
        items = items_of(assign(dataset, advance=begin("look for copies", len(dataset.items))), part)
        if not items:
            raise DatasetError(f"{dataset.name}: no image in the split {part.value}; --split all scores everything")
        published = any(item.published_split == "test" for item in dataset.items)
        yield Chosen(dataset, location.name, part, items, part is Part.TEST and not published)


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
