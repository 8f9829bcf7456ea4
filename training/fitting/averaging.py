"""Averaged weights: a running mean over the steps of a fit, and the batch-norm statistics that go with it."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from core.files import write_durably
from training.errors import FitFailed

# The mean over so many steps until the share kept has grown to the recipe's: the first weights are noise.
_WARM_UP: Final = 10
_BATCH: Final = 64


class Average:
    """Exponential moving average of a network's trainable weights.

    Not the optimiser's own: Keras' `fit` would overwrite the weights with it at its end, and a fit in stages
    has several ends.

    Parameters
    ----------
    weights : list of ndarray
        To begin with.
    kept : float
        Share of the average kept at each step, once warm.
    steps : int
        Already taken.
    """

    def __init__(self, weights: list[NDArray[np.float32]], kept: float, steps: int = 0) -> None:
        self._weights = [np.array(weight, np.float32) for weight in weights]
        self._kept = kept
        self.steps = steps

    @classmethod
    def read(cls, path: Path, kept: float) -> Self:
        """Read what `write` wrote.

        Raises
        ------
        FitFailed
            If the file is missing or damaged.
        """
        try:
            # from memory: of a damaged file, NumPy would leave the handle open
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
                count = len(arrays.files) - 1
                return cls([arrays[f"weight_{number}"] for number in range(count)], kept, int(arrays["steps"]))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise FitFailed(f"{path} is missing or damaged; remove {path.parent} to start again") from error

    def write(self, path: Path) -> None:
        """Write the average and its steps, whole or not at all."""
        stream = io.BytesIO()
        arrays = {f"weight_{number}": weight for number, weight in enumerate(self._weights)}
        np.savez(stream, steps=np.int64(self.steps), **arrays)  # type: ignore[arg-type] # its stub lacks **kwds of arrays
        write_durably(path, stream.getvalue())

    def step(self, variables: list[Any]) -> None:
        """Take the weights after one step of the optimiser in."""
        self.steps += 1
        fresh = 1 - min(self._kept, (1 + self.steps) / (_WARM_UP + self.steps))
        for average, variable in zip(self._weights, variables, strict=True):
            average += np.float32(fresh) * (variable.numpy() - average)  # noqa: PLW2901 - in place

    def put(self, variables: list[Any]) -> None:
        """Set a network's trainable weights to the average."""
        for weight, variable in zip(self._weights, variables, strict=True):
            variable.assign(weight)


def measure_statistics(network: Any, images: NDArray[np.float32]) -> None:
    """Set a network's batch-norm statistics to those of some images: the averaged weights never had any of their own.

    Parameters
    ----------
    network : keras.Model
        Changed in place.
    images : ndarray of float32, shape (n, size, size, channels)
        Network input.
    """
    import keras  # noqa: PLC0415 - only those who fit pay for TensorFlow

    norms = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    before = [layer.momentum for layer in norms]
    try:
        for number, start in enumerate(range(0, len(images), _BATCH)):
            for layer in norms:
                # the plain mean over batches
                layer.momentum = number / (number + 1)
            network(images[start : start + _BATCH], training=True)
    finally:
        for layer, momentum in zip(norms, before, strict=True):
            layer.momentum = momentum
