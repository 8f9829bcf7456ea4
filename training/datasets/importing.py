"""From a data set to what the ledger keeps of it: masters in their store, and one entry an image."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from db.datasets import Entry
from db.vocabulary import ImageClass, PublishedSplit, Use
from training.datasets.assignment import Assignment, Digests, assign
from training.datasets.dataset import Dataset, Item, Rendered
from training.datasets.patients import PUBLIC_KEY, patient_digest
from training.datasets.scan import scan
from training.errors import DatasetError

_MOST_NAMED: Final = 10
# as wide as the ledger's column
_LONGEST_KEY: Final = 300


@dataclass(frozen=True)
class Prepared:
    """What an import enters.

    Attributes
    ----------
    entries : tuple of Entry
        By key.
    dropped : tuple of Item
        Whose picture is held out under another patient.
    """

    entries: tuple[Entry, ...]
    dropped: tuple[Item, ...]


def content_digest(dataset: Dataset, advance: Callable[[], None] = lambda: None) -> str:
    """Return the SHA-256 that tells this content from any other, wherever it lies and whatever it is called.

    Raises
    ------
    DatasetError
        Naming the file that cannot be read, or whose name the ledger cannot keep.
    """
    digest = hashlib.sha256()
    _refuse_odd_names(dataset)
    for item in dataset.items:
        file_digest = hashlib.sha256(dataset.read(item)).hexdigest()
        words = (item.key, item.label, item.published_split or "", item.patient, item.subgroup or "", file_digest)
        digest.update(("\t".join(words) + "\n").encode())
        advance()
    return digest.hexdigest()


def prepare(
    dataset: Dataset,
    keep: Callable[[NDArray[np.uint16]], str],
    advance: Callable[[], None] = lambda: None,
    key: bytes = PUBLIC_KEY,
) -> Prepared:
    """Read every image and say what the ledger is to keep of it.

    Parameters
    ----------
    keep : callable
        Given each master; keeps it (or only looks at it) and returns its digest.
    key : bytes
        Of the patients' digests and of the split.

    Raises
    ------
    DatasetError
        Naming the files that cannot be read, or one picture with different labels.
    TransientFailure
        If `keep` fails; what is kept already does no harm.
    """

    def look(_: Item, rendered: Rendered) -> Digests:
        return Digests(rendered.file_digest, keep(rendered.master))

    digests: dict[str, Digests] = {}
    unreadable = []
    for item, found in scan(dataset, dataset.items, look, advance):
        if isinstance(found, DatasetError):
            unreadable.append(str(found))
        else:
            digests[item.key] = found
    if unreadable:
        more = f"; and {len(unreadable) - _MOST_NAMED} more" if len(unreadable) > _MOST_NAMED else ""
        raise DatasetError("; ".join(unreadable[:_MOST_NAMED]) + more)
    assignment = assign(dataset, key, digests)
    uses = _uses(assignment)
    return Prepared(
        tuple(_entry(item, digests[item.key], uses[item.key], key) for item in dataset.items),
        assignment.dropped,
    )


def restore(
    dataset: Dataset,
    digests: Mapping[str, str],
    is_there: Callable[[str], bool],
    keep: Callable[[NDArray[np.uint16]], str],
) -> int:
    """Make the masters of an imported data set again that are gone, and return how many.

    Parameters
    ----------
    digests : mapping of str to str
        Of its masters, by key.
    is_there : callable
        Whether a master lies in the store.
    """
    gone = [item for item in dataset.items if not is_there(digests[item.key])]
    made = 0
    for _, found in scan(dataset, gone, lambda _, rendered: keep(rendered.master)):
        if isinstance(found, DatasetError):
            raise found
        made += 1
    return made


def _refuse_odd_names(dataset: Dataset) -> None:
    for item in dataset.items:
        # names that are no UTF-8 reach us with surrogates
        if len(item.key) > _LONGEST_KEY or not item.key.isprintable() or "\0" in item.patient:
            raise DatasetError(f"{dataset.name}: {item.path!a} is too long or not printable; rename the file")


def _uses(assignment: Assignment) -> dict[str, Use]:
    uses = {item.key: Use(split.value.upper()) for split, items in assignment.items.items() for item in items}
    return uses | {item.key: Use.DROPPED for item in assignment.dropped}


def _entry(item: Item, digests: Digests, use: Use, key: bytes) -> Entry:
    return Entry(
        key=item.key,
        file_sha256=digests.file,
        master_digest=digests.picture,
        patient_digest=patient_digest(item.patient, key),
        label=ImageClass(item.label),
        subgroup=item.subgroup,
        published_split=None if item.published_split is None else PublishedSplit(item.published_split.upper()),
        use=use,
    )
