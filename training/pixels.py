"""Pixels for fitting and scoring: the same path as serving, through the master and the bundle's spec."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import RejectedInput
from imaging.eight_bit import master_from_picture
from imaging.spec import PreprocessSpec
from training.datasets import LABELS, Dataset, Item
from training.errors import DatasetError


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
    """

    planes: NDArray[np.float32]
    labels: NDArray[np.int64]
    patients: NDArray[np.int64]
    items: tuple[Item, ...]
    channels: int

    def __len__(self) -> int:
        return len(self.items)

    def inputs(self, which: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """Return network input, float32 of shape (n, size, size, channels)."""
        return np.repeat(self.planes[which][..., np.newaxis], self.channels, axis=3)


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
    for row, item in enumerate(items):
        try:
            master = master_from_picture(dataset.read(item))
        except RejectedInput as error:
            raise DatasetError(f"{dataset.name}: {item.path} is no readable picture: {error.detail}") from error
        planes[row] = spec.apply(master)[:, :, 0]
        advance()
    numbers = {patient: number for number, patient in enumerate(sorted({item.patient for item in items}))}
    return Examples(
        planes,
        np.array([LABELS.index(item.label) for item in items], np.int64),
        np.array([numbers[item.patient] for item in items], np.int64),
        tuple(items),
        spec.channels,
    )
