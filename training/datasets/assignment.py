"""Which image of a data set is used for what: by patient, and never the same picture on two sides."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from imaging.master import master_digest
from training.datasets.dataset import Dataset, Item, Rendered
from training.datasets.patients import PUBLIC_KEY, Split, split_of
from training.datasets.scan import scan
from training.errors import DatasetError

# Where identical pictures fall on two sides, the first of these keeps them: what is scored is never thinned out.
_PRECEDENCE: Final = (Split.TEST, Split.RESERVED, Split.VALIDATION, Split.WATCH, Split.FIT)


class Digests(NamedTuple):
    """What tells one image from another.

    Attributes
    ----------
    file : str
        SHA-256 of its file.
    picture : str
        Of its master: the same pixels in another file, with another comment say, are the same picture.
    """

    file: str
    picture: str


@dataclass(frozen=True)
class Assignment:
    """Items by use.

    Attributes
    ----------
    items : dict of Split to tuple of Item
        Every split is a key, perhaps with nothing in it.
    dropped : tuple of Item
        Left out because the same picture is held out under another patient.
    digests : dict of str to Digests
        By item key.
    """

    items: dict[Split, tuple[Item, ...]]
    dropped: tuple[Item, ...]
    digests: dict[str, Digests]

    def data_digest(self) -> str:
        """Return one SHA-256 over every image's key, use and bytes, 64 hexadecimal digits."""
        lines = sorted(
            f"{item.key}\t{split}\t{self.digests[item.key].file}"
            for split, items in self.items.items()
            for item in items
        )
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def digests_of(
    dataset: Dataset, advance: Callable[[], None] = lambda: None, known: Mapping[str, str] | None = None
) -> dict[str, Digests]:
    """Read every image of a data set and return its digests by item key.

    Parameters
    ----------
    advance : callable
        Called after each image.
    known : mapping of str to str, optional
        Digests of pictures by those of their files, of an earlier time: such files are not decoded again.

    Raises
    ------
    DatasetError
        Naming the first that cannot be read.
    """
    found: dict[str, Digests] = {}
    strange = list(dataset.items)
    if known:
        strange.clear()
        for item in dataset.items:
            file = hashlib.sha256(dataset.read(item)).hexdigest()
            if (picture := known.get(file)) is None:
                strange.append(item)
            else:
                found[item.key] = Digests(file, picture)
                advance()

    def look(_: Item, rendered: Rendered) -> Digests:
        return Digests(rendered.file_digest, master_digest(rendered.master))

    for item, digests in scan(dataset, strange, look, advance):
        if isinstance(digests, DatasetError):
            raise digests
        found[item.key] = digests
    return found


def assign(
    dataset: Dataset,
    key: bytes = PUBLIC_KEY,
    digests: Mapping[str, Digests] | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Assignment:
    """Assign each image of a data set its use.

    A published ``test/`` is the test split as it stands. Everything else goes
    by the keyed hash of the patient; the hash's own test share is TEST in a
    data set without ``test/`` and RESERVED beside one. Patients never move;
    an image whose picture is held out under another is dropped instead.

    Parameters
    ----------
    digests : mapping of str to Digests, optional
        By item key, where the caller has them already; else every image is read.
    advance : callable
        Called after each image that is read.

    Raises
    ------
    DatasetError
        If a picture cannot be read, or identical pictures carry different labels.
    """
    if digests is None:
        digests = digests_of(dataset, advance)
    published_test = any(item.published_split == "test" for item in dataset.items)
    placed: dict[str, Split] = {}
    copies: dict[str, list[Item]] = defaultdict(list)
    for item in dataset.items:
        split = Split.TEST if item.published_split == "test" else split_of(item.patient, key)
        if split is Split.TEST and published_test and item.published_split != "test":
            split = Split.RESERVED
        placed[item.key] = split
        copies[digests[item.key].picture].append(item)

    chosen: dict[Split, list[Item]] = {split: [] for split in Split}
    dropped = []
    for item in dataset.items:
        twins = copies[digests[item.key].picture]
        if len({twin.label for twin in twins}) > 1:
            names = ", ".join(twin.path for twin in twins)
            raise DatasetError(f"{dataset.name}: the same picture carries different labels: {names}")
        keeper = min((placed[twin.key] for twin in twins), key=_PRECEDENCE.index)
        if placed[item.key] is keeper:
            chosen[keeper].append(item)
        else:
            dropped.append(item)
    return Assignment({split: tuple(items) for split, items in chosen.items()}, tuple(dropped), dict(digests))
