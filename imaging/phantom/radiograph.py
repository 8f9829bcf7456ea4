"""`radiograph`: one seed, one picture of nobody, always the same."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from imaging.phantom import finish
from imaging.phantom.canvas import Canvas, Plane
from imaging.phantom.chest import frontal
from imaging.phantom.hand import hand
from imaging.phantom.lateral import lateral
from imaging.phantom.leg import leg

_PLANE: Final = 1100  # longest side of the plane anatomy is drawn on; fine borders are blurred anyway


class View(StrEnum):
    """What the picture shows."""

    CLEAR = "clear"
    OPACITY = "opacity"
    LATERAL = "lateral"
    HAND = "hand"
    LEG = "leg"


# width and height in body units that the picture must hold, and where the body's origin lies
_FRAMES: Final[dict[View, tuple[float, float, float]]] = {
    View.CLEAR: (2.75, 2.3, 0.53),
    View.OPACITY: (2.75, 2.3, 0.53),
    View.LATERAL: (2.3, 2.5, 0.5),
    View.HAND: (1.9, 2.5, 0.48),
    View.LEG: (1.5, 2.2, 0.5),
}
_LETTERS: Final[dict[View, str]] = {
    View.CLEAR: "PHANTOM  AP",
    View.OPACITY: "PHANTOM  AP",
    View.LATERAL: "PHANTOM  LAT",
    View.HAND: "PHANTOM  PA",
    View.LEG: "PHANTOM  AP",
}


def radiograph(kind: str, seed: int, size: tuple[int, int] = (2000, 2400)) -> NDArray[np.uint16]:
    """Compute a radiograph.

    Parameters
    ----------
    kind : str
        A value of `View`.
    seed : int
        Equal seeds give equal pixels; not negative.
    size : (int, int)
        Rows and columns.

    Returns
    -------
    ndarray of uint16, shape ``size``
        Stored values of 12 bits, for presentation; larger is brighter (bone).
    """
    view = View(kind)
    rows, columns = size
    rng = np.random.default_rng([seed, list(View).index(view)])
    share = _PLANE / max(rows, columns)
    plane_rows, plane_columns = round(rows * share), round(columns * share)
    wide, high, middle = _FRAMES[view]
    unit = min(plane_columns / wide, plane_rows / high)
    canvas = Canvas(plane_rows, plane_columns, (0.5, middle), unit, float(rng.normal(0, 0.02)))
    image = finish.develop(_attenuation(view, canvas, rng), rng, rows, columns)
    finish.collimate(image, rng)
    finish.letter(image, {(0.07, 0.09): ("R", 0.055), (0.07, 0.92): (_LETTERS[view], 0.02)})
    return finish.quantise(image)


def _attenuation(view: View, canvas: Canvas, rng: np.random.Generator) -> Plane:
    match view:
        case View.CLEAR | View.OPACITY:
            return frontal(canvas, rng, opacity=view is View.OPACITY)
        case View.LATERAL:
            return lateral(canvas, rng)
        case View.HAND:
            return hand(canvas, rng)
        case View.LEG:
            return leg(canvas, rng)
