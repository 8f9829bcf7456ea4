"""Fit a network: seeds fixed, both classes weighing alike, the epoch chosen on other patients, resumable."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.architectures.table import ARCHITECTURES
from bundle.tensorflow_settings import before_tensorflow
from core.logging import get
from training.datasets.dataset import LABELS
from training.datasets.pixels import Examples
from training.errors import FitFailed, no_finite_loss
from training.fitting.computing import PLAIN, Computing
from training.fitting.plain_batches import PlainBatches, Weighted, columns, shared
from training.fitting.recipe import Recipe
from training.fitting.run import Epoch, Run
from training.fitting.stopwatch import Stopwatch
from training.fitting.streaming import epochs, parts

_log = get(__name__)


def class_weights(labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return a weight per image such that both classes weigh alike and the mean is 1.

    Raises
    ------
    FitFailed
        If a class has no image.
    """
    counts = np.bincount(labels, minlength=len(LABELS))
    if (counts == 0).any():
        missing = LABELS[int(np.argmin(counts))]
        raise FitFailed(f"no image of class {missing} among the patients to fit on or to watch; use more data")
    return (len(labels) / (len(LABELS) * counts))[labels].astype(np.float32)


def fit(
    recipe: Recipe,
    run: Run,
    fingerprint: str,
    train: Examples,
    watch: Examples,
    *,
    report: Callable[[Epoch], None] = lambda _: None,
    advance: Callable[[int, int], None] = lambda _epoch, _batch: None,
    network: Callable[[], Any] | None = None,
    computing: Computing = PLAIN,
) -> Any:
    """Fit, or go on fitting, and return the network of the best epoch.

    Parameters
    ----------
    run : Run
        The working folder and the epochs already done.
    watch : Examples
        Patients held out from `train`; their loss chooses the epoch and nothing else uses them.
    report, advance : callable
        Called after each epoch and each batch.
    network : callable, optional
        Builds what is fitted; else the recipe's architecture.
    computing : Computing
        Precision and devices; the network that is returned is float32 on one.

    Returns
    -------
    keras.Model
        Without optimiser.

    Raises
    ------
    FitFailed
        If the loss is no finite number, a class is empty, or the disk refuses.
    """
    before_tensorflow()
    import keras  # noqa: PLC0415 - only those who fit pay for TensorFlow

    from training.fitting.keras_hooks import EachEpoch, rate_of  # noqa: PLC0415 - likewise

    train_weights, watch_weights = class_weights(train.labels), class_weights(watch.labels)
    make = network or ARCHITECTURES[recipe.architecture]
    keras.utils.set_random_seed(recipe.seed)
    batches = PlainBatches(train, train_weights, recipe, computing.shares)
    with computing.building():
        model = _compiled(computing.spread(make()), recipe, len(batches))
        if run.epochs:
            model.load_weights(run.weights(run.epochs[-1].number))
            _log.info("fit_resumed", epochs_done=len(run.epochs))

    def watched(rows: slice) -> Weighted:
        part = watch.inputs(rows), columns(watch.labels[rows]), watch_weights[rows]
        return shared(part, computing.shares)

    state = run

    def each_batch(epoch: int, batch: int, logs: dict[str, float]) -> None:
        if not math.isfinite(logs["loss"]):
            raise no_finite_loss(f"in epoch {epoch}")
        advance(epoch, batch)

    def each_epoch(number: int, logs: dict[str, float], stopwatch: Stopwatch) -> bool:
        nonlocal state
        took = stopwatch.read()
        epoch = Epoch(
            number,
            logs["loss"],
            logs["val_loss"],
            logs["val_accuracy"],
            took.seconds,
            rate_of(model.optimizer),
            took.processor_seconds,
        )
        if not (math.isfinite(epoch.loss) and math.isfinite(epoch.watch_loss)):
            raise no_finite_loss(f"after epoch {number}")
        state.keep(number, model)
        state = state.after(epoch, fingerprint)
        report(epoch)
        return state.finished(recipe.epochs, recipe.patience)

    if not state.finished(recipe.epochs, recipe.patience):
        model.fit(
            epochs(batches, len(run.epochs), recipe.epochs),
            steps_per_epoch=len(batches),
            epochs=recipe.epochs,
            initial_epoch=len(run.epochs),
            validation_data=parts(watched, len(watch)),
            callbacks=[EachEpoch(recipe.seed, each_epoch, each_batch)],
            shuffle=False,
            verbose=0,
        )
    model.load_weights(state.weights(state.best.number))
    bare = make()
    bare.set_weights(model.get_weights())
    return bare


def _compiled(model: Any, recipe: Recipe, batches: int) -> Any:
    import keras  # noqa: PLC0415 - only those who fit pay for TensorFlow

    schedule = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, batches * recipe.epochs, alpha=0.01)
    model.compile(
        optimizer=keras.optimizers.Adam(schedule),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing),
        # weighted like the loss, so that the report shows balanced accuracy on the watched patients
        weighted_metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
    )
    # without its slots a resumed optimiser would start its averages anew
    model.optimizer.build(model.trainable_variables)
    return model
