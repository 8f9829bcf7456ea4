"""Drawn chests whose classes overlap: one lung is filled, more so where there is pneumonia."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from db.vocabulary import ImageClass

_SPREAD = 0.2
_MEANS = {ImageClass.NORMAL: 0.15, ImageClass.PNEUMONIA: 0.75}


def drawn(label: ImageClass, seed: int, side: int = 96) -> NDArray[np.uint16]:
    """Return a master: two dark fields on a bright ground, one of them filled by a share that overlaps with the other
    class's.
    """
    rng = np.random.default_rng(seed)
    filled = float(np.clip(rng.normal(_MEANS[label], _SPREAD), 0, 1))
    rows, columns = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    grey = np.full((side, side), rng.uniform(0.6, 0.7))
    ill_side = rng.choice((-1, 1))
    for field in (-1, 1):
        middle = field * rng.uniform(0.38, 0.42)
        inside = ((columns - middle) / 0.3) ** 2 + ((rows + rng.uniform(0.1, 0.2)) / 0.65) ** 2
        dark = rng.uniform(0.4, 0.45) * (1 - filled if field == ill_side else 1)
        grey -= dark / (1 + np.exp(8 * (inside - 1)))
    grey += rng.normal(0, 0.02, grey.shape)
    return np.rint(np.clip(grey, 0, 1) * 65535).astype(np.uint16)
