"""Fit a network as the notebook did: Adam, every epoch, nothing weighted, nothing chosen. Resumable after each epoch.

Imports Keras at once, so import it only where fitting happens.
"""

from __future__ import annotations

import math
import resource
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from training.comparison.contenders import BATCH, LEARNING_RATE, Contender
from training.comparison.record import Point, Record
from training.comparison.shaking import shake
from training.datasets.dataset import LABELS
from training.datasets.pixels import Examples
from training.errors import no_finite_loss
from training.fitting.keras_hooks import EachEpoch
from training.fitting.stopwatch import Stopwatch
from training.fitting.weights import save_weights

_ORDER = 0
_CHANGES = 1


class NotebookBatches(keras.utils.PyDataset):  # type: ignore[misc] # Keras ships no types
    """Training batches, a pure function of seed, epoch and batch number: a resumed run sees what it would have seen."""

    def __init__(self, examples: Examples, contender: Contender, first_epoch: int) -> None:
        super().__init__()
        self._examples = examples
        self._contender = contender
        self._epoch = first_epoch

    def __len__(self) -> int:
        return math.ceil(len(self._examples) / BATCH)

    def __getitem__(self, number: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        seed = self._contender.seed
        order = np.random.default_rng([seed, self._epoch, _ORDER]).permutation(len(self._examples))
        which = order[number * BATCH : (number + 1) * BATCH]
        inputs = self._examples.inputs(which)
        if self._contender.shaken:
            rng = np.random.default_rng([seed, self._epoch, _CHANGES, number])
            for image in inputs:
                image[:] = shake(image[:, :, 0], rng)[:, :, np.newaxis]
        return inputs, columns(self._examples.labels[which])

    def on_epoch_end(self) -> None:
        """Go on to the next epoch's order and changes."""
        self._epoch += 1


def columns(labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return labels one-hot in two columns, as the notebook has them."""
    return np.eye(len(LABELS), dtype=np.float32)[labels]


def peak_memory() -> int:
    """Return the largest resident set of this process so far, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def fit_as_notebook(
    contender: Contender,
    record: Record,
    train: Examples,
    watched: Examples,
    network: Callable[[], Any],
    *,
    report: Callable[[Point], None] = lambda _: None,
    advance: Callable[[int, int], None] = lambda _epoch, _batch: None,
) -> tuple[Any, Record]:
    """Fit, or go on fitting.

    Parameters
    ----------
    watched : Examples
        Scored after each epoch for the curves; they choose nothing.
    network : callable
        Builds what is fitted.
    report, advance : callable
        Called after each epoch and each batch.

    Returns
    -------
    keras.Model
        After the last epoch.
    Record

    Raises
    ------
    FitFailed
        If the loss is no finite number.
    """
    keras.utils.set_random_seed(contender.seed)
    done = len(record.points)
    batches = NotebookBatches(train, contender, first_epoch=done)
    model = network()
    model.compile(
        optimizer=keras.optimizers.Adam(LEARNING_RATE),
        loss=keras.losses.CategoricalCrossentropy(),
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
    )
    # without its slots a resumed optimiser would start its averages anew
    model.optimizer.build(model.trainable_variables)
    if done:
        model.load_weights(record.weights(done))
    state = record

    def each_epoch(number: int, logs: dict[str, float], stopwatch: Stopwatch) -> bool:
        nonlocal state
        took = stopwatch.read()
        point = Point(
            number,
            logs["loss"],
            logs["accuracy"],
            logs["val_loss"],
            logs["val_accuracy"],
            took.seconds,
            took.processor_seconds,
        )
        if not (math.isfinite(point.loss) and math.isfinite(point.scored_loss)):
            raise no_finite_loss(f"after epoch {number} of {contender.name}")
        save_weights(model, state.weights(number))
        state = state.after(point, peak_memory())
        report(point)
        return False

    if done < contender.epochs:
        model.fit(
            batches,
            epochs=contender.epochs,
            initial_epoch=done,
            validation_data=(watched.inputs(slice(None)), columns(watched.labels)),
            validation_batch_size=64,
            callbacks=[EachEpoch(contender.seed, each_epoch, lambda epoch, batch, _: advance(epoch, batch))],
            shuffle=False,
            verbose=0,
        )
    return model, state
