"""Batches for the notebook's networks: every image once an epoch, both classes weighing alike."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from training.datasets.dataset import LABELS
from training.datasets.pixels import Examples
from training.fitting.augment import augment
from training.fitting.recipe import Recipe

# What a stream of chance is for; part of its seed.
_ORDER = 0
_CHANGES = 1

Weighted = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


class PlainBatches:
    """Training batches; see `training.fitting.streaming.Batches`.

    Parameters
    ----------
    weights : ndarray of float32, shape (n,)
        Of each image in the loss.
    devices : int
        Among so many each batch will be shared.
    """

    def __init__(self, examples: Examples, weights: NDArray[np.float32], recipe: Recipe, devices: int = 1) -> None:
        self._examples = examples
        self._weights = weights
        self._recipe = recipe
        self._devices = devices
        # several threads work on the same epoch, and ahead on the next
        self._order = lru_cache(maxsize=2)(self._drawn)

    def __len__(self) -> int:
        return math.ceil(len(self._examples) / self._recipe.batch_size)

    def batch(self, epoch: int, number: int) -> Weighted:
        """Return inputs, targets and weights."""
        which = self._order(epoch)[number * self._recipe.batch_size : (number + 1) * self._recipe.batch_size]
        inputs = self._examples.inputs(which)
        if self._recipe.augmented:
            rng = np.random.default_rng([self._recipe.seed, epoch, _CHANGES, number])
            for image, row in zip(inputs, which, strict=True):
                other = self._examples.planes[int(rng.integers(len(self._examples)))]
                image[:] = augment(self._examples.planes[row], other, rng)[:, :, np.newaxis]
        return shared((inputs, columns(self._examples.labels[which]), self._weights[which]), self._devices)

    def _drawn(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([self._recipe.seed, epoch, _ORDER]).permutation(len(self._examples))


def columns(labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return labels one-hot in two columns."""
    return np.eye(len(LABELS), dtype=np.float32)[labels]


def shared(batch: Weighted, devices: int) -> Weighted:
    """Fill a batch up so that every device gets as many images of it; those that are added weigh nothing.

    A device without an image would give a loss that is no number.
    """
    count = len(batch[0])
    if (missing := -count % devices) == 0:
        return batch
    inputs, targets, weights = (np.concatenate([part, part[[0] * missing]]) for part in batch)
    weights[count:] = 0
    # Keras' mean is over the images that were added, too
    return inputs, targets, weights * np.float32(len(weights) / count)
