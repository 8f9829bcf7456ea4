"""Attenuation of a small child's hand, palm down: no chest at all, as a PACS rule may forward by mistake."""

from __future__ import annotations

from typing import Final

import numpy as np

from imaging.phantom.canvas import Canvas, Plane, Point, octaves

_BONE: Final = 0.60
_KNUCKLES: Final[tuple[Point, ...]] = ((-0.42, 0.02), (-0.2, -0.14), (0.02, -0.17), (0.23, -0.12), (0.42, 0.0))
_LENGTHS: Final = (0.0, 0.72, 0.80, 0.74, 0.58)
_SPREAD: Final = (-0.62, -0.17, -0.02, 0.12, 0.30)


def hand(canvas: Canvas, rng: np.random.Generator) -> Plane:
    """Return attenuation, shape (rows, columns), 0 in air and about 0.9 through bone."""
    soft, bones = canvas.empty(), canvas.empty()
    palm = [(-0.34, 0.0), (0.05, -0.22), (0.47, -0.02), (0.46, 0.4), (0.30, 0.72), (0.28, 1.6)]
    palm += [(-0.28, 1.6), (-0.30, 0.76), (-0.46, 0.5)]
    soft = np.maximum(soft, canvas.fill(palm, 0.02).whole())
    for finger in range(1, 5):
        _finger(canvas, rng, soft, bones, finger)
    _thumb(canvas, soft, bones)
    for x, y, radius in ((-0.05, 0.60, 0.06), (0.10, 0.58, 0.055), (0.12, 0.70, 0.03)):
        canvas.ellipse((x, y), (radius, radius * 0.85), 0.01).add_to(bones, 0.9)
    for x, width in ((-0.11, 0.15), (0.15, 0.11)):
        canvas.tube([(x, 0.84), (x, 1.0), (x * 0.85, 1.7)], width, 0.4, 0.75).add_to(bones, 1.2)
    canvas.ellipse((-0.11, 0.78), (0.075, 0.022), 0.008).add_to(bones, 0.9)
    grain = octaves(rng, canvas.rows, canvas.columns, ((3, 0.5), (7, 0.6)))
    return np.asarray(np.maximum(0.40 * soft + np.float32(_BONE) * bones * (1 + 0.08 * grain), 0), np.float32)


def _finger(canvas: Canvas, rng: np.random.Generator, soft: Plane, bones: Plane, finger: int) -> None:
    """Draw a metacarpal and three phalanges, each with the growth plate's separate cap."""
    start, length = _KNUCKLES[finger], _LENGTHS[finger]
    angle = _SPREAD[finger] + float(rng.normal(0, 0.02))

    def at(share: float) -> Point:
        return (start[0] + length * share * float(np.sin(angle)), start[1] - length * share * float(np.cos(angle)))

    np.maximum(soft, canvas.stroke([at(-0.2), at(0.5), at(1.08)], 0.185, 0.012, 0.72).whole(), out=soft)
    base = (start[0] * 0.36, 0.46)
    canvas.tube([base, ((base[0] + start[0]) / 2, (base[1] + start[1]) / 2), at(-0.06)], 0.075, 0.45).add_to(bones, 1.0)
    canvas.ellipse(at(0.01), (0.035, 0.028), 0.008).add_to(bones, 0.8)
    for first, last, width in ((0.09, 0.46, 0.068), (0.55, 0.78, 0.056), (0.86, 1.02, 0.045)):
        canvas.tube([at(first), at((first + last) / 2), at(last)], width, 0.45, 0.8).add_to(bones, 1.0)
        canvas.ellipse(at(first - 0.035), (width * 0.5, 0.014), 0.006).add_to(bones, 0.8)


def _thumb(canvas: Canvas, soft: Plane, bones: Plane) -> None:
    path = [(-0.2, 0.5), (-0.44, 0.28), (-0.62, 0.02), (-0.72, -0.2)]
    np.maximum(soft, canvas.stroke(path, 0.24, 0.015, 0.7).whole(), out=soft)
    for first, last, width in (
        ((-0.22, 0.48), (-0.39, 0.32), 0.085),
        ((-0.46, 0.23), (-0.58, 0.05), 0.07),
        ((-0.63, -0.03), (-0.70, -0.16), 0.055),
    ):
        middle = ((first[0] + last[0]) / 2, (first[1] + last[1]) / 2)
        canvas.tube([first, middle, last], width, 0.45, 0.85).add_to(bones, 1.0)
