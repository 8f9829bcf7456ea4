"""Bones of the chest from the front: spine, ribs as slanting hoops, collar bones, shoulders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from imaging.phantom.canvas import Canvas, Plane, Point

_RIBS: Final = 11
PITCH: Final = 0.165  # from rib to rib at the spine, body units
FIRST_RIB: Final = -0.90
_VERTEBRAE: Final = range(-6, 18)  # counted from the first rib's


@dataclass(frozen=True, slots=True)
class Build:
    """One child's proportions, drawn once a picture.

    Attributes
    ----------
    heart, depth : float
        Size of the heart and thickness of the trunk; 1 is usual.
    dome, rib_drop, lean : float
        Height of the diaphragm, slant of the ribs, bend of the spine, in body units.
    arms : float
        How far the arms are raised: the more negative the higher.
    """

    heart: float
    depth: float
    dome: float
    rib_drop: float
    lean: float
    arms: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Build:
        """Draw proportions within what looks like a child of one to five."""
        return cls(
            heart=float(rng.uniform(0.88, 1.06)),
            depth=float(rng.uniform(0.94, 1.05)),
            dome=float(rng.uniform(-0.05, 0.07)),
            rib_drop=float(rng.uniform(0.56, 0.74)),
            lean=float(rng.uniform(-0.03, 0.03)),
            arms=float(rng.uniform(-0.3, 0.12)),
        )


def mirror(points: list[Point], side: int) -> list[Point]:
    """Turn points given for the right half of the picture to side 1 (right) or -1 (left)."""
    return [(side * x, y) for x, y in points]


def skeleton(canvas: Canvas, rng: np.random.Generator, child: Build) -> Plane:
    """Return thickness of bone, shape (rows, columns); a rib counts about 1."""
    bones = canvas.empty()
    _spine(canvas, bones, child)
    for side in (-1, 1):
        for index in range(_RIBS):
            _rib(canvas, bones, rng, child, (index, side))
        _shoulder(canvas, bones, child, side)
    return bones


def _rib(canvas: Canvas, bones: Plane, rng: np.random.Generator, child: Build, place: tuple[int, int]) -> None:
    """Draw a rib: a slanting hoop around an elliptic chest, its back half the denser.

    The hoop is followed by its angle from the spine (0) past the side (90
    degrees) to where bone turns into cartilage, which casts no shadow.
    """
    index, side = place
    height = FIRST_RIB + PITCH * index + float(rng.normal(0, 0.006))
    reach = float(np.interp(index, [0, 1, 2, 3, 4, 6, 8, 10], [0.46, 0.66, 0.80, 0.88, 0.94, 1.00, 1.03, 1.02]))
    reach += float(rng.normal(0, 0.008))
    end = float(np.interp(index, [0, 2, 5, 8, 10], [152, 142, 132, 116, 92])) + float(rng.normal(0, 3))
    drop = child.rib_drop * float(np.interp(index, [0, 2, 6, 10], [0.62, 0.85, 1.0, 1.0])) + float(rng.normal(0, 0.01))

    def at(degrees: float) -> Point:
        angle = np.radians(degrees)
        x = 0.08 + (reach - 0.08) * float(np.sin(angle)) ** 0.9
        y = height - 0.05 * float(np.sin(2 * angle)) + drop * float((1 - np.cos(angle)) / 2) ** 1.15
        return (side * x + 0.25 * child.lean, y)

    hoop = [at(degrees) for degrees in np.linspace(1, end, 22)]
    dense = float(np.interp(index, [0, 7, 10], [1.0, 0.95, 0.5]))
    width = (0.058 if index else 0.05) * float(rng.uniform(0.94, 1.06))
    canvas.tube(hoop, width, 0.5, 1.1).add_to(bones, 0.66 * dense)
    back = [at(degrees) for degrees in np.linspace(1, 74, 10)]
    canvas.stroke(back, width * 0.86, 0.012, 0.7).add_to(bones, 0.3 * dense)
    canvas.ellipse(at(2), (0.05, 0.034), 0.012).add_to(bones, 0.25)


def _spine(canvas: Canvas, bones: Plane, child: Build) -> None:
    """Draw vertebral bodies with brighter end plates, pedicles, spinous and transverse processes."""
    for index in _VERTEBRAE:
        y = FIRST_RIB + 0.02 + PITCH * index
        half = 0.088 + 0.0035 * max(index, 0)
        high = 0.37 * PITCH
        x = child.lean * (0.4 - 0.1 * y)
        body = [(x - half, y - high), (x + half, y - high), (x + half * 0.92, y), (x + half, y + high)]
        body += [(x - half, y + high), (x - half * 0.92, y)]
        canvas.fill(body, 0.007).add_to(bones, 0.42)
        for edge in (-0.88, 0.88):
            plate = [(x - half * 0.9, y + edge * high), (x, y + edge * high), (x + half * 0.9, y + edge * high)]
            canvas.stroke(plate, 0.016, 0.004).add_to(bones, 0.36)
        for side in (-1, 1):
            canvas.ellipse((x + side * half * 0.6, y - 0.15 * high), (0.02, 0.032), 0.005).add_to(bones, 0.4)
            process = [(x + side * half, y - 0.3 * high), (x + side * (half + 0.06), y - 0.5 * high)]
            canvas.stroke(process, 0.036, 0.008).add_to(bones, 0.3)
        canvas.ellipse((x, y + 0.85 * high), (0.013, 0.034), 0.005).add_to(bones, 0.4)


def _shoulder(canvas: Canvas, bones: Plane, child: Build, side: int) -> None:
    """Draw collar bone, shoulder blade, head and shaft of the upper arm."""
    lift = child.arms * 0.12
    clavicle = mirror([(0.10, -0.86), (0.26, -0.965), (0.46, -1.015), (0.68, -1.02), (0.90, -1.10 + lift)], side)
    canvas.tube(clavicle, 0.054, 0.5, 0.9).add_to(bones, 1.05)
    blade = [(0.97, -0.98), (0.82, -0.86), (0.88, -0.44), (0.99, -0.22), (1.04, -0.45), (1.06, -0.8)]
    canvas.fill(mirror(blade, side), 0.012).add_to(bones, 0.22)
    canvas.stroke(mirror([(1.05, -0.8), (1.045, -0.5), (0.995, -0.25)], side), 0.022, 0.01, 0.5).add_to(bones, 0.3)
    spine = mirror([(0.84, -0.9), (0.97, -1.05), (1.12, -1.07)], side)
    canvas.stroke(spine, 0.055, 0.012, 1.3).add_to(bones, 0.4)
    canvas.ellipse((side * 1.17, -0.97 + lift), (0.085, 0.08), 0.012).add_to(bones, 0.6)
    shaft = mirror([(1.27, -1.0 + lift), (1.6, -1.09 + 2 * lift), (2.2, -1.17 + child.arms * 2)], side)
    canvas.tube(shaft, 0.13, 0.45).add_to(bones, 1.1)
