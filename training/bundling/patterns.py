"""Procedural masters for a bundle's self-test: nobody's radiographs, yet varied enough to move a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bundle.checks import Checks

_SIDE: Final = 224
_CANDIDATES: Final = 300
_KEPT: Final = 8
_GREY_TO_MASTER: Final = 257


def pattern(rng: np.random.Generator) -> NDArray[np.uint16]:
    """Return one master, uint16 of shape (224, 224): two dark fields on a bright ground, under smooth noise."""
    rows, columns = np.mgrid[-1 : 1 : _SIDE * 1j, -1 : 1 : _SIDE * 1j]
    grey = np.full((_SIDE, _SIDE), rng.uniform(0.4, 0.8))
    for side in (-1, 1):
        middle = side * rng.uniform(0.3, 0.5)
        depth = ((columns - middle) / rng.uniform(0.2, 0.4)) ** 2 + ((rows + 0.1) / rng.uniform(0.5, 0.8)) ** 2
        grey -= rng.uniform(0.1, 0.5) / (1 + np.exp(10 * (depth - 1)))
    coarse = rng.normal(0, rng.uniform(0.02, 0.2), (2, int(rng.integers(4, 40)))).astype(np.float32)
    noise = Image.fromarray(np.outer(coarse[0], coarse[1]).astype(np.float32) * 8)
    grey += np.asarray(noise.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC))
    # 256 grey levels, so that the file stays small
    levels: NDArray[np.uint16] = np.clip(np.rint(grey * 255), 0, 255).astype(np.uint16)
    return levels * np.uint16(_GREY_TO_MASTER)


def make_checks(score: Callable[[NDArray[np.uint16]], float], seed: int = 0) -> Checks:
    """Choose the patterns whose scores spread best: a saturated score hides a damaged weight.

    Parameters
    ----------
    score : callable
        From one master to the network's output for PNEUMONIA.
    """
    rng = np.random.default_rng(seed)
    masters = [pattern(rng) for _ in range(_CANDIDATES)]
    scores = np.array([score(master) for master in masters], np.float32)
    chosen: list[int] = []
    for target in np.linspace(0.05, 0.95, _KEPT):
        order = np.argsort(np.abs(scores - target), kind="stable")
        chosen.append(next(int(index) for index in order if index not in chosen))
    return Checks(np.stack([masters[index] for index in chosen]), scores[chosen])
