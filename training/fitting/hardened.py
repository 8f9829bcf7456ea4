"""Fit a network so that it cannot lean on frame, letters, sharpness or compression; resumable after every epoch.

Every image is disguised anew (`training.fitting.disguise`), drawn so that style of frame and class are
independent (`training.datasets.styles`), half of them mixed in pairs; a second head that is not served tells
bacterial from viral. What serves is the average of the weights over the last steps, with batch-norm
statistics measured on unchanged images. No epoch is chosen: the rate has fallen to nearly nothing at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bundle.architectures.table import ARCHITECTURES
from bundle.tensorflow_settings import before_tensorflow
from core.logging import get
from imaging.spec import PreprocessSpec
from training.datasets.pixels import Examples, Squares
from training.datasets.styles import frames, sampling, styles
from training.errors import no_finite_loss
from training.fitting.averaging import Average, measure_statistics
from training.fitting.computing import PLAIN, Computing
from training.fitting.fit import class_weights
from training.fitting.hardened_batches import KINDS, DisguisedBatches, clean
from training.fitting.recipe import HardenedRecipe
from training.fitting.run import Epoch, Run
from training.fitting.stopwatch import Stopwatch
from training.fitting.streaming import epochs, parts

_log = get(__name__)

# the gradient of a batch seldom exceeds it; one strange batch may not throw the weights about
_CLIP_NORM: Final = 5.0
_LOWEST_RATE: Final = 0.01
# unchanged images that statistics are measured on: few after each epoch, many at the end
_WATCHED_WITH: Final = 384
_SERVED_WITH: Final = 2048


def fit_hardened(  # noqa: PLR0917 - as `fit`, and the preprocessing
    recipe: HardenedRecipe,
    spec: PreprocessSpec,
    run: Run,
    fingerprint: str,
    train: Squares,
    watch: Examples,
    *,
    report: Callable[[Epoch], None] = lambda _: None,
    advance: Callable[[int, int], None] = lambda _epoch, _batch: None,
    computing: Computing = PLAIN,
    start: Callable[[], Any] | None = None,
) -> Any:
    """Fit, or go on fitting, and return the averaged network.

    Parameters
    ----------
    spec : PreprocessSpec
        The recipe's.
    run : Run
        The working folder and the epochs already done.
    watch : Examples
        Patients held out from `train`; their loss is reported and chooses nothing.
    report, advance : callable
        Called after each epoch and each batch.
    computing : Computing
        Precision and devices; the average is float32 on one.
    start : callable, optional
        Gives a network of the recipe's architecture whose weights the fit starts from; else they are drawn.

    Returns
    -------
    keras.Model
        Without optimiser and second head.

    Raises
    ------
    FitFailed
        If the loss is no finite number, a class is empty, the run is damaged, or the disk refuses.
    """
    before_tensorflow()
    import keras  # noqa: PLC0415 - only those who fit pay for TensorFlow

    from training.fitting.keras_hooks import EachEpoch, rate_of  # noqa: PLC0415 - likewise

    watch_weights = class_weights(watch.labels)
    class_weights(train.labels)  # refuses an empty class
    begun = None if start is None or run.epochs else start().get_weights()
    keras.utils.set_random_seed(recipe.seed)
    weights = sampling(train.labels, styles(frames(train.planes)), train.patients)
    batches = math.ceil(len(train) / recipe.batch_size)
    # any size while fitting; the judge is what the average is tried in, and what serves in the end
    with computing.building():
        served, model = _networks(recipe, batches, computing)
        if begun is not None:
            served.set_weights(begun)
        if run.epochs:
            done = run.epochs[-1].number
            model.load_weights(run.weights(done))
            _log.info("fit_resumed", epochs_done=done)
    judge = ARCHITECTURES[recipe.architecture]()
    average = _average(run, served, recipe)
    few = clean(train, weights, spec, _WATCHED_WITH, recipe.seed)

    state = run

    def each_batch(epoch: int, batch: int, logs: dict[str, float]) -> None:
        if not math.isfinite(logs["loss"]):
            raise no_finite_loss(f"in epoch {epoch}")
        average.step(served.trainable_variables)
        advance(epoch, batch)

    def each_epoch(number: int, logs: dict[str, float], stopwatch: Stopwatch) -> bool:
        nonlocal state
        average.put(judge.trainable_variables)
        measure_statistics(judge, few)
        loss, accuracy = _judge(judge, watch, watch_weights)
        took, rate = stopwatch.read(), rate_of(model.optimizer)
        epoch = Epoch(number, logs["loss"], loss, accuracy, took.seconds, rate, took.processor_seconds)
        if not (math.isfinite(epoch.loss) and math.isfinite(epoch.watch_loss)):
            raise no_finite_loss(f"after epoch {number}")
        state.keep(number, model, average)
        state = state.after(epoch, fingerprint)
        report(epoch)
        return False

    first = 0
    for stage in recipe.stages:
        last = first + stage.epochs
        begin = max(first, len(state.epochs))
        if begin < last:
            disguised = DisguisedBatches(train, weights, recipe, spec, stage.size)
            model.fit(
                epochs(disguised, begin, last),
                steps_per_epoch=batches,
                epochs=last,
                initial_epoch=begin,
                callbacks=[EachEpoch(recipe.seed, each_epoch, each_batch)],
                shuffle=False,
                verbose=0,
            )
        first = last
    average.put(judge.trainable_variables)
    measure_statistics(judge, clean(train, weights, spec, _SERVED_WITH, recipe.seed))
    return judge


def _average(run: Run, served: Any, recipe: HardenedRecipe) -> Average:
    """Return the average so far; at the start it is what the fit starts from."""
    if run.epochs:
        return Average.read(run.average(run.epochs[-1].number), recipe.averaging)
    return Average([variable.numpy() for variable in served.trainable_variables], recipe.averaging)


def _networks(recipe: HardenedRecipe, batches: int, computing: Computing) -> tuple[Any, Any]:
    """Return the network that will serve, taking any size, and the one with a second head that is fitted."""
    import keras  # noqa: PLC0415 - only those who fit pay for TensorFlow

    served = computing.spread(ARCHITECTURES[recipe.architecture](None))
    pooled = served.get_layer("pooled").output
    kind = keras.layers.Dense(len(KINDS), activation="softmax", dtype="float32", name="kind")(pooled)
    model = keras.Model(served.input, {"label": served.output, "kind": kind})
    rate = keras.optimizers.schedules.CosineDecay(
        0.0,
        batches * max(recipe.epochs - 1, 1),
        alpha=_LOWEST_RATE,
        warmup_target=recipe.learning_rate,
        warmup_steps=batches,
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay, global_clipnorm=_CLIP_NORM)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    model.compile(
        optimizer=optimizer,
        loss={
            "label": keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing),
            "kind": keras.losses.CategoricalCrossentropy(),
        },
        loss_weights={"label": 1.0, "kind": recipe.kind_weight},
    )
    # without its slots a resumed optimiser would start its averages anew
    model.optimizer.build(model.trainable_variables)
    return served, model


def _judge(network: Any, watch: Examples, weights: NDArray[np.float32]) -> tuple[float, float]:
    """Return loss and balanced accuracy on the watched patients."""
    shown = parts(lambda rows: (watch.inputs(rows),), len(watch))
    columns = np.asarray(network.predict(shown, verbose=0), np.float64)
    own = np.clip(columns[np.arange(len(watch)), watch.labels], 1e-7, 1)
    right = columns.argmax(axis=1) == watch.labels
    return float(np.mean(-np.log(own) * weights)), float(np.mean(right * weights))
