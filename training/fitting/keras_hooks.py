"""What Keras calls back while it fits. Imports Keras at once, so import it only where fitting happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from training.fitting.stopwatch import Stopwatch


class EachEpoch(keras.callbacks.Callback):  # type: ignore[misc] # Keras ships no types
    """Hand the figures of each batch and each epoch out; stop when told so."""

    def __init__(
        self,
        seed: int,
        each_epoch: Callable[[int, dict[str, float], Stopwatch], bool],
        each_batch: Callable[[int, int, dict[str, float]], None],
    ) -> None:
        super().__init__()
        self._seed = seed
        self._each_epoch = each_epoch
        self._each_batch = each_batch
        self._number = 0
        self._stopwatch = Stopwatch()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Note when the epoch began, and start dropout anew.

        Its state is not saved with the weights: as a function of seed
        and epoch alone, a resumed run drops what it would have dropped.
        """
        del logs
        for place, layer in enumerate(self.model.layers):
            if (generator := getattr(layer, "seed_generator", None)) is not None:
                fresh = keras.random.SeedGenerator(
                    int(np.random.default_rng([self._seed, epoch, place]).integers(2**31))
                )
                generator.state.assign(fresh.state)
        self._number = epoch + 1
        self._stopwatch = Stopwatch()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Hand each batch's figures out: the means of the epoch so far."""
        self._each_batch(self._number, batch, _floats(logs))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Hand the figures out, and the watch that runs since the epoch began."""
        if self._each_epoch(epoch + 1, _floats(logs), self._stopwatch):
            self.model.stop_training = True


def rate_of(optimizer: Any) -> float:
    """Return an optimiser's learning rate as it is now."""
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))


def _floats(logs: Any) -> dict[str, float]:
    return {name: float(value) for name, value in (logs or {}).items()}
