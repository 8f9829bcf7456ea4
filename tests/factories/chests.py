"""Drawn chests with a lesson and a shortcut: one lung is more or less filled, and the middle is more or less bright."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from db.vocabulary import ImageClass

_SPREAD = 0.22
_MEANS = {ImageClass.NORMAL: 0.2, ImageClass.PNEUMONIA: 0.8}


def drawn(label: ImageClass, seed: int, *, shortcut: bool = False, side: int = 96) -> NDArray[np.uint16]:
    """Return a master.

    Parameters
    ----------
    shortcut : bool
        Whether the bright middle tells the class, as in data from one ward, and the filled lung does not. Else it is
        the other way round. Either way the classes overlap.
    """
    rng = np.random.default_rng(seed)
    tells = float(np.clip(rng.normal(_MEANS[label], _SPREAD), 0, 1))
    filled, bright = (rng.uniform(), tells) if shortcut else (tells, rng.uniform())
    rows, columns = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    grey = np.full((side, side), rng.uniform(0.45, 0.5))
    ill_side = rng.choice((-1, 1))
    for field in (-1, 1):
        middle = field * rng.uniform(0.38, 0.42)
        inside = ((columns - middle) / 0.3) ** 2 + ((rows + rng.uniform(0.1, 0.2)) / 0.65) ** 2
        dark = rng.uniform(0.3, 0.33) * (1 - filled if field == ill_side else 1)
        grey -= dark / (1 + np.exp(8 * (inside - 1)))
    inside = (columns / 0.25) ** 2 + ((rows - 0.2) / 0.5) ** 2
    grey += 0.45 * bright / (1 + np.exp(8 * (inside - 1)))
    grey += rng.normal(0, 0.02, grey.shape)
    return np.rint(np.clip(grey, 0, 1) * 65535).astype(np.uint16)
