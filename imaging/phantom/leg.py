"""Attenuation of a child's leg, from the front: thigh, knee and calf, or what of them the picture holds."""

from __future__ import annotations

from typing import Final

import numpy as np

from imaging.phantom.canvas import Canvas, Plane, Point, octaves

_BONE: Final = 0.62
# where the hip and the ankle lie, from the knee, in body units
_THIGH: Final = 1.7
_CALF: Final = 1.6


def leg(canvas: Canvas, rng: np.random.Generator) -> Plane:
    """Return attenuation, shape (rows, columns), 0 in air and about 1 through the knee."""
    soft, bones = canvas.empty(), canvas.empty()
    knee = (float(rng.uniform(-0.15, 0.15)), float(rng.uniform(-0.45, 0.45)))
    bend = float(rng.uniform(-0.16, 0.16))
    hip = (knee[0] - bend * _THIGH, knee[1] - _THIGH)
    ankle = (knee[0] + float(rng.uniform(-0.12, 0.12)) * _CALF, knee[1] + _CALF)
    stout = float(rng.uniform(0.85, 1.25))
    for path, width, taper in (((hip, knee), 0.86, 0.72), ((knee, ankle), 0.62, 0.66)):
        shape = canvas.stroke([path[0], _between(*path, 0.5), path[1]], width * stout, 0.02, taper)
        np.maximum(soft, shape.whole(), out=soft)
    calf = _between(knee, ankle, 0.3)
    np.maximum(soft, canvas.ellipse(calf, (0.28 * stout, 0.5), 0.03).whole(), out=soft)
    _bone(canvas, bones, (hip, _between(hip, knee, 0.9)), 0.17)
    _bone(canvas, bones, (_between(knee, ankle, 0.09), ankle), 0.15)
    beside = 0.2 if rng.random() < 0.5 else -0.2  # noqa: PLR2004 - left or right
    top, bottom = _between(knee, ankle, 0.14), _between(knee, ankle, 1.02)
    _bone(canvas, bones, ((top[0] + beside, top[1]), (bottom[0] + beside * 0.7, bottom[1])), 0.06)
    _ends(canvas, bones, knee)
    grain = octaves(rng, canvas.rows, canvas.columns, ((3, 0.5), (7, 0.6)))
    return np.asarray(np.maximum(0.5 * soft + np.float32(_BONE) * bones * (1 + 0.08 * grain), 0), np.float32)


def _between(start: Point, end: Point, share: float) -> Point:
    return (start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1]))


def _bone(canvas: Canvas, bones: Plane, path: tuple[Point, Point], width: float) -> None:
    """Draw a shaft, wider where it ends."""
    start, end = path
    canvas.tube([start, _between(start, end, 0.5), end], width, 0.5).add_to(bones, 0.9)
    for share in (0.0, 1.0):
        canvas.ellipse(_between(start, end, share), (width * 0.75, width * 0.5), 0.02).add_to(bones, 0.35)


def _ends(canvas: Canvas, bones: Plane, knee: Point) -> None:
    """Draw the caps beyond the growth plates, and the kneecap before them."""
    x, y = knee
    canvas.ellipse((x, y - 0.07), (0.2, 0.07), 0.012).add_to(bones, 0.75)
    canvas.ellipse((x, y + 0.07), (0.19, 0.05), 0.012).add_to(bones, 0.75)
    canvas.ellipse((x, y - 0.16), (0.09, 0.1), 0.02).add_to(bones, 0.25)
