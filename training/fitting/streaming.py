"""Batches as a `tf.data` pipeline: made by several threads ahead of need, in order, a few of them in memory.

Keras takes `tf.data` whatever its backend is, so this module needs TensorFlow and the networks do not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import numpy as np

from training.processors import processors

_PART: Final = 64


class Batches(Protocol):
    """Training batches, each a pure function of epoch and number: a resumed run sees what it would have seen."""

    def __len__(self) -> int:
        """Return how many make an epoch."""
        ...

    def batch(self, epoch: int, number: int) -> Any:
        """Return arrays as Keras' `fit` takes them: inputs, targets and perhaps weights. Threads ask side by side.

        Epochs are counted from 1 as in `training.fitting.run.Epoch`, batches of an epoch from 0.
        """
        ...


def epochs(batches: Batches, done: int, last: int) -> Any:
    """Return the batches of some epochs, one after the other, for a `fit` that is told the steps of each.

    Parameters
    ----------
    done, last : int
        Epochs that were seen already, and the last there shall be.

    Returns
    -------
    tf.data.Dataset
    """
    import tensorflow as tf  # noqa: PLC0415 - only those who fit pay for TensorFlow

    steps = len(batches)
    # of a length that it knew Keras would begin anew when the last epoch has ended
    numbers = tf.data.Dataset.counter(done * steps).take_while(lambda number: number < last * steps)
    return _made(numbers, lambda number: batches.batch(number // steps + 1, number % steps), done * steps)


def parts(make: Callable[[slice], Any], count: int) -> Any:
    """Return images that no chance changes, 64 at a time, as Keras' `predict` and `evaluate` take them.

    Parameters
    ----------
    make : callable
        From a slice of the images to arrays, as `Batches.batch`.
    count : int
        Of images.

    Returns
    -------
    tf.data.Dataset
    """
    import tensorflow as tf  # noqa: PLC0415 - only those who fit pay for TensorFlow

    numbers = tf.data.Dataset.range(-(-count // _PART))
    return _made(numbers, lambda number: make(slice(number * _PART, min((number + 1) * _PART, count))), 0)


def _made(numbers: Any, make: Callable[[int], Any], first: int) -> Any:
    import tensorflow as tf  # noqa: PLC0415 - only those who fit pay for TensorFlow

    like = make(first)
    flat = [np.asarray(array) for array in tf.nest.flatten(like)]

    def made(number: Any) -> list[Any]:
        return list(tf.nest.flatten(make(int(number))))

    def placed(number: Any) -> Any:
        tensors = tf.numpy_function(made, [number], [array.dtype for array in flat])
        for tensor, array in zip(tensors, flat, strict=True):
            # the last batch of an epoch may be smaller
            tensor.set_shape((None, *array.shape[1:]))
        return tf.nest.pack_sequence_as(like, tensors)

    threads = processors()
    return numbers.map(placed, num_parallel_calls=threads, deterministic=True).prefetch(threads)
