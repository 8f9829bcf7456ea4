"""Attenuation of a child's chest from the side; the face is to the left."""

from __future__ import annotations

from typing import Final

import numpy as np

from imaging.phantom.canvas import Canvas, Plane, blur
from imaging.phantom.chest import lung_grain

_BONE: Final = 0.15
_LUNG_AIR: Final = 0.66
_RIBS: Final = 11


def lateral(canvas: Canvas, rng: np.random.Generator) -> Plane:
    """Return attenuation, shape (rows, columns), 0 in air and about 1 through the trunk."""
    lean = float(rng.uniform(-0.03, 0.03))
    trunk_outline = [
        (-0.42, -1.15), (-0.66, -0.7), (-0.80, -0.2), (-0.84, 0.4), (-0.88, 1.0), (-0.86, 2.4),
        (0.82, 2.4), (0.80, 1.0), (0.92, 0.4), (0.96, -0.2), (0.88, -0.7), (0.52, -1.2),
    ]  # fmt: skip
    trunk = canvas.fill(trunk_outline, 0.014).whole()
    total = trunk * (0.35 + 0.62 * blur(trunk, 0.3 * canvas.unit) ** 2)
    neck = canvas.fill([(-0.34, -2.6), (-0.36, -1.0), (0.46, -1.0), (0.34, -2.6)], 0.02).whole()
    total = np.maximum(total, 0.6 * neck)
    # both arms are held up and cross the top of the picture
    for shift in (0.0, 0.10 + lean):
        arm = canvas.stroke([(0.05, -0.9), (-0.35 + shift, -1.3), (-0.9 + shift, -1.9)], 0.5, 0.03).whole()
        total = np.maximum(total, 0.55 * arm + 0.35 * trunk)
    air_outline = [
        (-0.28, -0.78), (-0.56, -0.4), (-0.68, 0.1), (-0.70, 0.48), (-0.45, 0.38), (-0.1, 0.42), (0.3, 0.56),
        (0.62, 0.86), (0.80, 1.0), (0.82, 0.5), (0.84, 0.0), (0.76, -0.5), (0.5, -0.86), (0.1, -0.92),
    ]  # fmt: skip
    air = canvas.fill(air_outline, 0.014).whole()
    second_dome = canvas.fill([(-0.7, 0.6), (-0.4, 0.46), (0.1, 0.56), (0.7, 1.1), (-0.7, 1.1)], 0.014).whole()
    heart = canvas.fill(
        [(-0.52, -0.02), (-0.64, 0.25), (-0.60, 0.5), (-0.2, 0.55), (0.12, 0.42), (0.10, 0.1), (-0.12, -0.16)], 0.04
    ).whole()
    above = canvas.fill([(-0.25, -0.9), (-0.34, -0.2), (0.12, -0.1), (0.18, -0.9)], 0.08).whole()
    lungs = air * (0.55 + 0.45 * blur(air, 0.2 * canvas.unit)) * (1 - 0.6 * heart) * (1 - 0.28 * above)
    lungs *= 1 - 0.45 * second_dome
    total = total - np.float32(_LUNG_AIR) * lungs
    total += np.float32(0.022) * lungs * lung_grain(canvas, rng)
    total += np.float32(_BONE) * _bones(canvas, rng, lean)
    airway = canvas.stroke([(0.05, -1.5), (0.06, -0.8), (0.12, -0.2)], 0.10, 0.014).whole()
    return np.asarray(np.maximum(total - 0.10 * airway, 0), np.float32)


def _bones(canvas: Canvas, rng: np.random.Generator, lean: float) -> Plane:
    bones = canvas.empty()
    for index in range(-6, 16):
        y = -0.86 + 0.165 * index
        x = 0.62 + 0.14 * float(np.sin((y + 1.2) * 1.4)) + lean
        half, high = 0.085 + 0.003 * index, 0.062
        body = [(x - half, y - high), (x + half, y - high), (x + half, y + high), (x - half, y + high)]
        canvas.fill(body, 0.008).add_to(bones, 0.75)
        for edge in (-high, high):
            canvas.stroke([(x - half, y + edge), (x, y + edge), (x + half, y + edge)], 0.016, 0.004).add_to(bones, 0.4)
        canvas.stroke([(x + half, y), (x + 0.16, y + 0.02), (x + 0.27, y + 0.09)], 0.05, 0.012).add_to(bones, 0.5)
    for index in range(_RIBS):
        top = -0.82 + 0.165 * index
        front = -0.30 - 0.045 * index if index < 7 else -0.62 + 0.16 * (index - 6)  # noqa: PLR2004 - lower ribs end free
        for shift in (0.0, 0.04):
            y = top + shift + float(rng.normal(0, 0.008))
            slope = 0.46 + 0.02 * index
            path = [(0.74, y), (0.55, y - 0.02), (0.15, y + 0.45 * slope), (front + shift, y + slope)]
            canvas.tube(path, 0.05, 0.5).add_to(bones, 0.5)
    canvas.stroke([(-0.36, -0.72), (-0.62, -0.3), (-0.75, 0.25)], 0.05, 0.01).add_to(bones, 0.9)
    for shift in (0.0, 0.1 + lean):
        path = [(-0.05 + shift, -1.0), (-0.35 + shift, -1.32), (-0.9 + shift, -1.92)]
        canvas.tube(path, 0.14, 0.45).add_to(bones, 1.1)
    return bones
