"""A snapshot as a data set: its pictures are read from their masters, and each is in the split its patient gives it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from core.settings import Settings
from db.vocabulary import Share, Side
from imaging.master import MissingMaster, load_master, master_path
from training.datasets.assignment import Assignment, Digests
from training.datasets.dataset import Dataset, Item, Layout, Rendered
from training.datasets.patients import Split
from training.errors import DatasetError
from training.nightly.snapshot.manifest import Manifest, Picture

_SHOWN: Final = 12
_SPLITS: Final = {
    Side.FIT: Split.FIT,
    Side.WATCH: Split.WATCH,
    Side.VALIDATION: Split.VALIDATION,
    Side.HELD_OUT: Split.RESERVED,
}


@dataclass(frozen=True)
class Material:
    """What fitting and scoring take.

    Attributes
    ----------
    dataset : Dataset
        `Item.patient` is the patient's digest, `Item.path` the master's.
    assignment : Assignment
        FIT, WATCH and VALIDATION by side; TEST is the share of the frozen test set that is open, with its frozen
        labels; RESERVED is what else is held out, the sealed share too. None is dropped.
    """

    dataset: Dataset
    assignment: Assignment

    def items(self, pictures: Sequence[Picture]) -> tuple[Item, ...]:
        """Return the items of some of the snapshot's pictures, in their order."""
        by_key = {item.key: item for item in self.dataset.items}
        return tuple(by_key[key_of(picture)] for picture in pictures)


def key_of(picture: Picture) -> str:
    """Return the key of a picture's item: class and number, so that it is another where the label is."""
    return f"{picture.label.value}/{picture.labelled_image_id:09}"


def split_of(picture: Picture) -> Split:
    """Say what a picture is used for."""
    return Split.TEST if picture.share is Share.TEST else _SPLITS[picture.side]


def material(settings: Settings, manifest: Manifest) -> Material:
    """Return a snapshot as a data set; nothing is read yet.

    Opening an image raises `DatasetError` where its master has gone since the
    snapshot was taken: another snapshot lists it among what is gone.
    """
    pictures = sorted(manifest.pictures, key=key_of)
    items = tuple(_item(picture) for picture in pictures)
    dataset = _Masters(
        name=f"snapshot {manifest.digest[:_SHOWN]}",
        items=items,
        _read=lambda digest: master_path(settings.masters, digest).read_bytes(),
        layout=Layout.TABLE,
        folder=settings.masters,
        sizes={picture.master_digest: picture.size for picture in pictures if picture.size is not None},
    )
    by_split: dict[Split, list[Item]] = {split: [] for split in Split}
    for picture, item in zip(pictures, items, strict=True):
        by_split[split_of(picture)].append(item)
    assignment = Assignment(
        items={split: tuple(found) for split, found in by_split.items()},
        dropped=(),
        digests={item.key: Digests(item.path, item.path) for item in items},
    )
    return Material(dataset, assignment)


@dataclass(frozen=True)
class _Masters(Dataset):
    """Pictures that are masters already: nothing is decoded, scaled or windowed again.

    Attributes
    ----------
    folder : Path
        The masters directory.
    sizes : dict of str to (int, int)
        Rows and columns of originals by master, where they are known; else the master's stand for them.
    """

    folder: Path = Path()
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)

    def render(self, item: Item) -> Rendered:
        """Load one master, checked against its digest."""
        try:
            master = load_master(self.folder, item.path)
        except MissingMaster as error:
            raise DatasetError(
                f"{self.name}: the master of {item.key} has gone since, or is damaged; take another snapshot"
            ) from error
        content = self.read(item)
        rows, columns = self.sizes.get(item.path, master.shape)
        return Rendered(hashlib.sha256(content).hexdigest(), len(content), rows, columns, master)


def _item(picture: Picture) -> Item:
    return Item(
        key=key_of(picture),
        path=picture.master_digest,
        label=picture.label.value,
        published_split=None,
        patient=picture.patient_digest,
        subgroup=picture.subgroup,
        traits=picture.traits,
    )
