"""Pixels for fitting and scoring: the same path as serving, through the master and the bundle's spec."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imaging.spec import PreprocessSpec
from training.datasets import LABELS, Dataset, Item


@dataclass(frozen=True)
class Examples:
    """Images ready for a network.

    Attributes
    ----------
    planes : ndarray of float32, shape (n, size, size)
        0 to 1; one plane each, since the spec's channels are equal copies.
    labels : ndarray of int64, shape (n,)
        Index into `training.datasets.LABELS`: 1 is PNEUMONIA.
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


def load(
    dataset: Dataset,
    items: Sequence[Item],
    spec: PreprocessSpec,
    advance: Callable[[], None] = lambda: None,
) -> Examples:
    """Read images and bring them to network input.

    Parameters
    ----------
    advance : callable
        Called after each image, for a progress bar.

    Raises
    ------
    DatasetError
        Naming the file that is no readable picture.
    """
    planes = np.empty((len(items), spec.input_size, spec.input_size), np.float32)
    sizes = np.empty((len(items), 2), np.int64)
    for row, item in enumerate(items):
        rendered = dataset.render(item)
        planes[row] = spec.apply(rendered.master)[:, :, 0]
        sizes[row] = rendered.rows, rendered.columns
        advance()
    return Examples(planes, labels_of(items), patients_of(items), tuple(items), spec.channels, sizes)


def load_squares(
    dataset: Dataset,
    items: Sequence[Item],
    spec: PreprocessSpec,
    advance: Callable[[], None] = lambda: None,
) -> Squares:
    """Read images and bring them to the spec's first square; parameters and errors as `load`."""
    planes = np.empty((len(items), spec.triangle_size, spec.triangle_size), np.uint16)
    for row, item in enumerate(items):
        planes[row] = np.rint(spec.square(dataset.master(item)))
        advance()
    return Squares(planes, labels_of(items), patients_of(items), tuple(items))


def labels_of(items: Sequence[Item]) -> NDArray[np.int64]:
    """Return each image's label, as `Examples` has it."""
    return np.array([LABELS.index(item.label) for item in items], np.int64)


def patients_of(items: Sequence[Item]) -> NDArray[np.int64]:
    """Return each image's patient, as `Examples` has it."""
    numbers = {patient: number for number, patient in enumerate(sorted({item.patient for item in items}))}
    return np.array([numbers[item.patient] for item in items], np.int64)
