"""Fit the head of a network whose backbone is frozen: the backbone sees each image once, not once an epoch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
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


def backbone_digest(recipe: Recipe) -> str:
    """Return the SHA-256 over the weights of a recipe's backbone: a file's name does not tell what is in it.

    Raises
    ------
    FitFailed
        If they cannot be had; see `training.fitting.backbones.fill`.
    """
    return _filled(recipe)[1]


def _filled(recipe: Recipe) -> tuple[Any, str]:
    """Return the network with its backbone's weights, and their digest."""
    if recipe.backbone_weights is None:
        raise FitFailed("a frozen backbone needs weights")
    before_tensorflow()
    model = ARCHITECTURES[recipe.architecture]()
    return model, fill(model, recipe.backbone_weights)


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
    cache: Path | None = None,
    seen: Callable[[int], None] = lambda _: None,
) -> Any:
    """Fit, or go on fitting, and return the whole network; parameters and errors as `training.fit.fit`.

    Parameters
    ----------
    recipe : Recipe
        With `backbone_weights`, and without changes of the images: those would need the backbone anew.
    cache : Path, optional
        Where features are kept, for runs on the same images to share; else in the run's folder.
    seen : callable
        Told how many more images the backbone has seen, of `train` and `watch` together.
    """
    if recipe.augmented:
        raise FitFailed("a frozen backbone needs images that do not change from epoch to epoch")
    model, weights = _filled(recipe)

    def made_of(examples: Examples) -> Features:
        pixels = hashlib.sha256()
        for plane in examples.planes:
            pixels.update(np.ascontiguousarray(plane, "<f4").tobytes())
        return features(model, weights, examples, pixels.hexdigest(), cache or run.folder / "features", seen)

    def head() -> Any:
        return transfer.split(ARCHITECTURES[recipe.architecture]())[1]

    shown = made_of(train), made_of(watch)
    fitted = fit(recipe, run, fingerprint, *shown, report=report, advance=advance, network=head, computing=computing)
    transfer.split(model)[1].set_weights(fitted.get_weights())
    return model
