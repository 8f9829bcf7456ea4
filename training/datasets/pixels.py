"""Pixels for fitting and scoring: the same path as serving, through the master and the bundle's spec."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from imaging.spec import PreprocessSpec
from training.datasets.cache import cached, digest_of
from training.datasets.dataset import LABELS, Dataset, Item, Rendered
from training.datasets.scan import scan
from training.errors import DatasetError
from training.processors import processors

# bytes of images in memory at a time while they are put on disk
_PART: Final = 8 << 20


@dataclass(frozen=True)
class Examples:
    """Images ready for a network.

    Attributes
    ----------
    planes : ndarray of float32, shape (n, size, size)
        0 to 1; one plane each, since the spec's channels are equal copies.
    labels : ndarray of int64, shape (n,)
        Index into `training.datasets.dataset.LABELS`: 1 is PNEUMONIA.
    patients : ndarray of int64, shape (n,)
        Images of one patient share a number.
    items : tuple of Item
        What each image is.
    channels : int
        How often a plane is repeated for the network.
    sizes : ndarray of int64, shape (n, 2), optional
        Rows and columns of the originals, where they were read with the images.
    """

    planes: NDArray[np.float32]
    labels: NDArray[np.int64]
    patients: NDArray[np.int64]
    items: tuple[Item, ...]
    channels: int
    sizes: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.items)

    def inputs(self, which: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """Return network input, float32 of shape (n, size, size, channels)."""
        return np.repeat(self.planes[which][..., np.newaxis], self.channels, axis=3)


@dataclass(frozen=True)
class Squares:
    """Images as squares before the network's own size and scale, for fits that change them first.

    Attributes
    ----------
    planes : ndarray of uint16, shape (n, side, side)
        See `imaging.spec.PreprocessSpec.square`; rounded, which training copies need not be.
    labels, patients, items
        As in `Examples`.
    """

    planes: NDArray[np.uint16]
    labels: NDArray[np.int64]
    patients: NDArray[np.int64]
    items: tuple[Item, ...]

    def __len__(self) -> int:
        return len(self.items)

    def only(self, which: NDArray[np.int64]) -> Squares:
        """Return some of the images."""
        items = tuple(self.items[int(row)] for row in which)
        return Squares(self.planes[which], self.labels[which], self.patients[which], items)

    def finished(self, spec: PreprocessSpec) -> Examples:
        """Return the images as network input, as serving makes it."""
        planes = np.empty((len(self), spec.input_size, spec.input_size), np.float32)
        for row, square in enumerate(self.planes):
            planes[row] = spec.finish(square.astype(np.float32))[:, :, 0]
        return Examples(planes, self.labels, self.patients, self.items, spec.channels)


@dataclass(frozen=True, slots=True)
class Kept:
    """Where decoded images are kept, for data that memory does not hold and for runs that go on.

    Attributes
    ----------
    folder : Path
        See `training.datasets.cache.cached`.
    data_digest : str
        Over every image's key and bytes.
    """

    folder: Path
    data_digest: str


def load(
    dataset: Dataset,
    items: Sequence[Item],
    spec: PreprocessSpec,
    advance: Callable[[], None] = lambda: None,
    kept: Kept | None = None,
) -> Examples:
    """Read images, several at a time, and bring them to network input.

    Parameters
    ----------
    advance : callable
        Called after each image, for a progress bar.
    kept : Kept, optional
        Where the result lies, mapped from disk; else it is in memory.

    Raises
    ------
    DatasetError
        Naming the file that is no readable picture.
    FitFailed
        If the disk has no room for what is to be kept.
    """

    def bring(rendered: Rendered) -> tuple[NDArray[np.float32], tuple[int, int]]:
        return spec.apply(rendered.master)[:, :, 0], (rendered.rows, rendered.columns)

    side = spec.input_size
    row = np.dtype([("plane", np.float32, (side, side)), ("size", np.int32, (2,))])
    found = _Rows(dataset, items, bring).all((len(items),), row, ("planes and sizes", spec.digest()), advance, kept)
    planes, sizes = found["plane"], found["size"].astype(np.int64)
    return Examples(planes, labels_of(items), patients_of(items), tuple(items), spec.channels, sizes)


def load_squares(
    dataset: Dataset,
    items: Sequence[Item],
    spec: PreprocessSpec,
    advance: Callable[[], None] = lambda: None,
    kept: Kept | None = None,
) -> Squares:
    """Read images and bring them to the spec's first square; parameters and errors as `load`."""
    side = spec.triangle_size
    coming = _Rows(dataset, items, lambda rendered: np.rint(spec.square(rendered.master)))
    planes = coming.all((len(items), side, side), np.dtype(np.uint16), ("squares", spec.digest()), advance, kept)
    return Squares(planes, labels_of(items), patients_of(items), tuple(items))


class _Rows:
    """What is made of each image, decoded side by side, given out in order."""

    def __init__(self, dataset: Dataset, items: Sequence[Item], bring: Callable[[Rendered], Any]) -> None:
        self._dataset = dataset
        self._items = items
        self._bring = bring

    def all(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        made_by: tuple[str, str],
        advance: Callable[[], None],
        kept: Kept | None,
    ) -> NDArray[Any]:
        """Return all of them as one array, in memory or mapped from where they are kept."""
        if kept is None:
            rows = np.empty(shape, dtype)
            with closing(self._from(0, advance)) as found:
                for place, row in enumerate(found):
                    rows[place] = row
            return rows
        with ExitStack() as stack:
            coming: Iterator[Any] | None = None

            def make(part: slice) -> NDArray[Any]:
                nonlocal coming
                # once for all parts: decode processes last as long as the threads that ask them
                if coming is None:
                    coming = stack.enter_context(closing(self._from(part.start, lambda: None)))
                made = np.empty((part.stop - part.start, *shape[1:]), dtype)
                for place in range(len(made)):
                    made[place] = next(coming)
                return made

            def tell(count: int) -> None:
                for _ in range(count):
                    advance()

            rows_at_once = max(1, _PART // (math.prod(shape[1:]) * dtype.itemsize))
            digest = digest_of(*made_by, kept.data_digest, [item.key for item in self._items])
            return cached(kept.folder, digest, shape, make, tell, rows_at_once, dtype)

    def _from(self, first: int, advance: Callable[[], None]) -> Generator[Any]:
        look = lambda _item, rendered: self._bring(rendered)  # noqa: E731
        with closing(scan(self._dataset, self._items[first:], look, advance, processors())) as found:
            for _, row in found:
                if isinstance(row, DatasetError):
                    raise row
                yield row


def labels_of(items: Sequence[Item]) -> NDArray[np.int64]:
    """Return each image's label, as `Examples` has it."""
    return np.array([LABELS.index(item.label) for item in items], np.int64)


def patients_of(items: Sequence[Item]) -> NDArray[np.int64]:
    """Return each image's patient, as `Examples` has it."""
    numbers = {patient: number for number, patient in enumerate(sorted({item.patient for item in items}))}
    return np.array([numbers[item.patient] for item in items], np.int64)
