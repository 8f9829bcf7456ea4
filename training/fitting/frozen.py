"""Fit the head of a network whose backbone is frozen: the backbone sees each image once, not once an epoch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

from bundle.architectures import transfer
from bundle.architectures.table import ARCHITECTURES
from bundle.tensorflow_settings import before_tensorflow
from training.datasets.pixels import Examples
from training.errors import FitFailed
from training.fitting.backbones import Features, features, fill
from training.fitting.computing import PLAIN, Computing
from training.fitting.fit import fit
from training.fitting.recipe import Recipe
from training.fitting.run import Epoch, Run


def fit_frozen(
    recipe: Recipe,
    run: Run,
    fingerprint: str,
    train: Examples,
    watch: Examples,
    *,
    report: Callable[[Epoch], None] = lambda _: None,
    advance: Callable[[int, int], None] = lambda _epoch, _batch: None,
    computing: Computing = PLAIN,
) -> Any:
    """Fit, or go on fitting, and return the whole network; parameters and errors as `training.fit.fit`.

    Parameters
    ----------
    recipe : Recipe
        With `backbone_weights`, and without changes of the images: those would need the backbone anew.
    run : Run
        Features are kept in its folder.
    """
    if recipe.backbone_weights is None or recipe.augmented:
        raise FitFailed("a frozen backbone needs weights, and images that do not change from epoch to epoch")
    before_tensorflow()
    model = ARCHITECTURES[recipe.architecture]()
    weights = fill(model, recipe.backbone_weights)

    def seen(examples: Examples) -> Features:
        pixels = hashlib.sha256()
        for plane in examples.planes:
            pixels.update(np.ascontiguousarray(plane, "<f4").tobytes())
        return features(model, weights, examples, pixels.hexdigest(), run.folder / "features")

    def head() -> Any:
        return transfer.split(ARCHITECTURES[recipe.architecture]())[1]

    shown = seen(train), seen(watch)
    fitted = fit(recipe, run, fingerprint, *shown, report=report, advance=advance, network=head, computing=computing)
    transfer.split(model)[1].set_weights(fitted.get_weights())
    return model
