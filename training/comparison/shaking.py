"""Random changes of images of the plain kind that notebooks use: turned, enlarged, moved, mirrored.

Which ones the notebook used is not recorded. These say nothing about what gives the classes away
(`training.fitting.augment` does), and that is the point of comparing them.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.fitting.affine import around_middle

_DEGREES: Final = 10.0
_ZOOM: Final = 0.1
_SHIFT: Final = 0.1
_COIN: Final = 0.5


def shake(plane: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Change one image at random.

    Parameters
    ----------
    plane : ndarray of float32, shape (size, size)
        0 to 1.
    rng : numpy.random.Generator
        The only source of chance.

    Returns
    -------
    ndarray of float32, shape (size, size)
        Turned by up to 10 degrees, scaled and moved by up to 10 %, half the
        time mirrored; what comes in from outside is black.
    """
    size = plane.shape[0]
    angle = np.deg2rad(rng.uniform(-_DEGREES, _DEGREES))
    zoom = rng.uniform(1 - _ZOOM, 1 + _ZOOM)
    right, down = rng.uniform(-_SHIFT, _SHIFT, 2) * size
    mirror = -1.0 if rng.random() < _COIN else 1.0
    across = (mirror * np.cos(angle) * zoom, -np.sin(angle) * zoom)
    matrix = around_middle(size, across, (mirror * np.sin(angle) * zoom, np.cos(angle) * zoom), (right, down))
    image = Image.fromarray(np.ascontiguousarray(plane))
    return np.asarray(
        image.transform((size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR), np.float32
    )
