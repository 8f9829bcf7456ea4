"""Batches for a hardened fit: disguised, drawn so that style and class are independent, mixed in pairs."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from imaging.spec import PreprocessSpec
from training.datasets.pixels import Squares
from training.datasets.styles import draw
from training.fitting.disguise import disguise, without_middle
from training.fitting.recipe import HardenedRecipe

KINDS: Final = ("bacterial", "viral")
_COIN: Final = 0.5
# What a stream of chance is for; part of its seed.
_ORDER: Final = 0
_CHANGES: Final = 1
_MIXTURE: Final = 2
_CLEAN: Final = 3

Targets = dict[str, NDArray[np.float32]]


def targets(squares: Squares) -> Targets:
    """Return the two heads' targets: class, and kind of pneumonia, which is all nought where there is none or unknown.

    Cross-entropy with a target of nought is nought, so such images do not move the second head.
    """
    kind = np.zeros((len(squares), len(KINDS)), np.float32)
    for row, item in enumerate(squares.items):
        if item.subgroup in KINDS:
            kind[row, KINDS.index(item.subgroup)] = 1
    return {"label": np.eye(2, dtype=np.float32)[squares.labels], "kind": kind}


class DisguisedBatches:
    """Training batches of one stage; see `training.fitting.streaming.Batches`."""

    def __init__(
        self,
        squares: Squares,
        weights: NDArray[np.float64],
        recipe: HardenedRecipe,
        spec: PreprocessSpec,
        size: int,
    ) -> None:
        self._squares = squares
        self._weights = weights
        self._targets = targets(squares)
        self._recipe = recipe
        self._spec = spec
        self._size = size
        # several threads work on the same epoch, and ahead on the next
        self._order = lru_cache(maxsize=2)(self._drawn)

    def __len__(self) -> int:
        return math.ceil(len(self._squares) / self._recipe.batch_size)

    def batch(self, epoch: int, number: int) -> tuple[NDArray[np.float32], Targets]:
        """Return inputs and the targets of both heads."""
        recipe = self._recipe
        rows = self._rows(epoch, number)
        images = np.empty((len(rows), self._size, self._size), np.float32)
        found = {name: columns[rows] for name, columns in self._targets.items()}
        for place, row in enumerate(rows):
            rng = np.random.default_rng([recipe.seed, epoch, _CHANGES, number, place])
            other = self._squares.planes[int(rng.integers(len(self._squares)))]
            plane = disguise(self._squares.planes[row], other, self._size, self._spec.crop, rng)
            if rng.random() < recipe.hollow:
                plane = without_middle(plane, rng)
                found["label"][place] = 1 / found["label"].shape[1]
                found["kind"][place] = 0
            images[place] = self._spec.normalise(plane)
        images, found = _mix(images, found, recipe.mixup, np.random.default_rng([recipe.seed, epoch, _MIXTURE, number]))
        return images[..., np.newaxis], found

    def _drawn(self, epoch: int) -> NDArray[np.int64]:
        return draw(self._weights, np.random.default_rng([self._recipe.seed, epoch, _ORDER]))

    def _rows(self, epoch: int, number: int) -> NDArray[np.int64]:
        order = self._order(epoch)
        # a last batch of a few images would give batch normalisation little to measure, so it takes from the front
        places = np.arange(number * self._recipe.batch_size, (number + 1) * self._recipe.batch_size) % len(order)
        return order[places]


def _mix(
    images: NDArray[np.float32], found: Targets, alpha: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], Targets]:
    """Mix about half of the images, and their targets alike, with another of the batch."""
    if alpha <= 0:
        return images, found
    count = len(images)
    share = rng.beta(alpha, alpha, count)
    share = np.where(rng.random(count) < _COIN, np.maximum(share, 1 - share), 1)
    partner = rng.permutation(count)

    def mixed(values: NDArray[np.float32]) -> NDArray[np.float32]:
        own = share.astype(np.float32).reshape(-1, *[1] * (values.ndim - 1))
        return values * own + values[partner] * (1 - own)

    return mixed(images), {name: mixed(columns) for name, columns in found.items()}


def clean(
    squares: Squares, weights: NDArray[np.float64], spec: PreprocessSpec, count: int, seed: int
) -> NDArray[np.float32]:
    """Return unchanged images as serving makes them, drawn as the batches are.

    Returns
    -------
    ndarray of float32, shape (count or fewer, input_size, input_size, 1)
    """
    rows = draw(weights, np.random.default_rng([seed, _CLEAN]))[:count]
    return np.stack([spec.finish(squares.planes[row].astype(np.float32)) for row in rows])
