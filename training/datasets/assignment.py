"""Which image of a data set is used for what: by patient, and never the same bytes on two sides."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from training.datasets.dataset import Dataset, Item
from training.datasets.patients import PUBLIC_KEY, Split, split_of
from training.errors import DatasetError

# Where identical pictures fall on two sides, the first of these keeps them: what is scored is never thinned out.
_PRECEDENCE: Final = (Split.TEST, Split.RESERVED, Split.VALIDATION, Split.WATCH, Split.FIT)


@dataclass(frozen=True)
class Assignment:
    """Items by use.

    Attributes
    ----------
    items : dict of Split to tuple of Item
        Every split is a key, perhaps with nothing in it.
    dropped : tuple of Item
        Left out because the same bytes are held out under another patient.
    digests : dict of str to str
        SHA-256 of each image's bytes by item key.
    """

    items: dict[Split, tuple[Item, ...]]
    dropped: tuple[Item, ...]
    digests: dict[str, str]

    def data_digest(self) -> str:
        """Return one SHA-256 over every image's key, use and bytes, 64 hexadecimal digits."""
        lines = sorted(
            f"{item.key}\t{split}\t{self.digests[item.key]}" for split, items in self.items.items() for item in items
        )
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def assign(dataset: Dataset, key: bytes = PUBLIC_KEY, digests: Mapping[str, str] | None = None) -> Assignment:
    """Assign each image of a data set its use.

    A published ``test/`` is the test split as it stands. Everything else goes
    by the keyed hash of the patient; the hash's own test share is TEST in a
    data set without ``test/`` and RESERVED beside one. Patients never move;
    an image of which an identical copy is held out is dropped instead.

    Parameters
    ----------
    digests : mapping of str to str, optional
        By item key, what tells one picture from another, where the caller has
        it already; else the SHA-256 of each file.

    Raises
    ------
    DatasetError
        If a picture cannot be read, or identical pictures carry different labels.
    """
    if digests is None:
        digests = {item.key: hashlib.sha256(dataset.read(item)).hexdigest() for item in dataset.items}
    published_test = any(item.published_split == "test" for item in dataset.items)
    placed: dict[str, Split] = {}
    copies: dict[str, list[Item]] = defaultdict(list)
    for item in dataset.items:
        split = Split.TEST if item.published_split == "test" else split_of(item.patient, key)
        if split is Split.TEST and published_test and item.published_split != "test":
            split = Split.RESERVED
        placed[item.key] = split
        copies[digests[item.key]].append(item)

    chosen: dict[Split, list[Item]] = {split: [] for split in Split}
    dropped = []
    for item in dataset.items:
        twins = copies[digests[item.key]]
        if len({twin.label for twin in twins}) > 1:
            names = ", ".join(twin.path for twin in twins)
            raise DatasetError(f"{dataset.name}: the same picture carries different labels: {names}")
        keeper = min((placed[twin.key] for twin in twins), key=_PRECEDENCE.index)
        if placed[item.key] is keeper:
            chosen[keeper].append(item)
        else:
            dropped.append(item)
    return Assignment({split: tuple(items) for split, items in chosen.items()}, tuple(dropped), dict(digests))
