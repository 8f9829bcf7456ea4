"""What Keras calls back while it fits. Imports Keras at once, so import it only where fitting happens."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from training.augment import augment
from training.pixels import Examples
from training.recipe import Recipe

_ORDER = 0
_CHANGES = 1


class Batches(keras.utils.PyDataset):  # type: ignore[misc] # Keras ships no types
    """Training batches, a pure function of seed, epoch and batch number: a resumed run sees what it would have seen."""

    def __init__(self, examples: Examples, weights: NDArray[np.float32], recipe: Recipe, first_epoch: int) -> None:
        super().__init__()
        self._examples = examples
        self._weights = weights
        self._recipe = recipe
        self._epoch = first_epoch

    def __len__(self) -> int:
        return math.ceil(len(self._examples) / self._recipe.batch_size)

    def __getitem__(self, number: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        seed = self._recipe.seed
        order = np.random.default_rng([seed, self._epoch, _ORDER]).permutation(len(self._examples))
        which = order[number * self._recipe.batch_size : (number + 1) * self._recipe.batch_size]
        inputs = self._examples.inputs(which)
        if self._recipe.augmented:
            rng = np.random.default_rng([seed, self._epoch, _CHANGES, number])
            for image, row in zip(inputs, which, strict=True):
                other = self._examples.planes[int(rng.integers(len(self._examples)))]
                image[:] = augment(self._examples.planes[row], other, rng)[:, :, np.newaxis]
        columns = np.eye(2, dtype=np.float32)[self._examples.labels[which]]
        return inputs, columns, self._weights[which]

    def on_epoch_end(self) -> None:
        """Go on to the next epoch's order and changes."""
        self._epoch += 1


class EachEpoch(keras.callbacks.Callback):  # type: ignore[misc] # Keras ships no types
    """Hand the figures of each batch and each epoch out; stop when told so."""

    def __init__(
        self,
        each_epoch: Callable[[int, dict[str, float], float], bool],
        each_batch: Callable[[int, int, dict[str, float]], None],
    ) -> None:
        super().__init__()
        self._each_epoch = each_epoch
        self._each_batch = each_batch
        self._number = 0
        self._begun = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Note when the epoch began, and start dropout anew.

        Its state is not saved with the weights: as a function of the epoch
        alone, a resumed run drops what it would have dropped.
        """
        del logs
        for place, layer in enumerate(self.model.layers):
            if (generator := getattr(layer, "seed_generator", None)) is not None:
                fresh = keras.random.SeedGenerator(int(np.random.default_rng([epoch, place]).integers(2**31)))
                generator.state.assign(fresh.state)
        self._number = epoch + 1
        self._begun = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Hand each batch's figures out: the means of the epoch so far."""
        self._each_batch(self._number, batch, _floats(logs))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Hand the figures out."""
        if self._each_epoch(epoch + 1, _floats(logs), time.monotonic() - self._begun):
            self.model.stop_training = True


def _floats(logs: Any) -> dict[str, float]:
    return {name: float(value) for name, value in (logs or {}).items()}
