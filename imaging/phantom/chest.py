"""Attenuation of a small child's chest from the front, as paths through soft tissue, bone and air."""

from __future__ import annotations

from typing import Final

import numpy as np

from imaging.phantom.canvas import Canvas, Plane, Point, blur, octaves
from imaging.phantom.skeleton import Build, mirror, skeleton

# what a full path adds or takes; soft tissue through the middle of the trunk is about 1
_BONE: Final = 0.20
_LUNG_AIR: Final = 0.52
_THINNEST_VESSEL: Final = 0.007


def frontal(canvas: Canvas, rng: np.random.Generator, *, opacity: bool) -> Plane:
    """Return attenuation, shape (rows, columns), 0 in air and about 1 through the trunk."""
    child = Build.draw(rng)
    total = _soft_tissue(canvas, child) * np.float32(child.depth)
    air = np.maximum(_lung(canvas, child, side=-1), _lung(canvas, child, side=1))
    heart = _heart(canvas, child)
    lungs = air * (0.62 + 0.38 * blur(air, 0.16 * canvas.unit)) * (1 - 0.70 * heart)
    vessels = _vessels(canvas, rng)
    if opacity:
        cloud = consolidation(canvas, rng, [(side, 0.38, 0.72, -0.45, 0.45) for side in (-1, 1)]) * air
        lungs *= 1 - cloud
        total += 0.05 * cloud
    total -= np.float32(_LUNG_AIR) * lungs
    total += 0.095 * lungs * vessels
    total += np.float32(0.022) * lungs * lung_grain(canvas, rng)
    total += 0.05 * lungs * _hila(canvas)
    total += 0.08 * heart * (1 - 0.4 * air)
    total += _abdomen(canvas, rng, child)
    total -= 0.10 * _airway(canvas, child)
    total += np.float32(_BONE) * skeleton(canvas, rng, child)
    return np.asarray(np.maximum(total, 0), np.float32)


def lung_grain(canvas: Canvas, rng: np.random.Generator) -> Plane:
    """Return the fine texture of aerated lung: small vessels and septa in four bands."""
    return octaves(rng, canvas.rows, canvas.columns, ((3, 0.25), (6, 0.4), (13, 0.45), (40, 0.4)))


def consolidation(
    canvas: Canvas, rng: np.random.Generator, places: list[tuple[int, float, float, float, float]]
) -> Plane:
    """Return one to three ill-defined clouds in one of the places, patchy within.

    A place is (side, x from, x to, y from, y to), x counted away from the middle.
    """
    side, left, right, top, bottom = places[int(rng.integers(len(places)))]
    cloud = canvas.empty()
    for _ in range(int(rng.integers(1, 4))):
        centre = (side * float(rng.uniform(left, right)), float(rng.uniform(top, bottom)))
        radii = (float(rng.uniform(0.14, 0.26)), float(rng.uniform(0.14, 0.3)))
        cloud = np.maximum(cloud, canvas.ellipse(centre, radii, 0.085).whole())
    bands = ((0.05 * canvas.unit, 0.5), (0.11 * canvas.unit, 0.7), (0.25 * canvas.unit, 0.6))
    patches = octaves(rng, canvas.rows, canvas.columns, bands)
    return np.asarray(np.clip(cloud * (0.60 + 0.15 * patches), 0, 0.85), np.float32)


def _soft_tissue(canvas: Canvas, child: Build) -> Plane:
    """Trunk, neck, chin and raised arms, thick in the middle and thin at the skin."""
    half = [(0.28, -1.22), (0.75, -1.14), (1.14, -1.0), (1.22, -0.72), (1.15, -0.3), (1.12, 0.3), (1.14, 1.0)]
    trunk = canvas.fill([*mirror(half, -1), (-1.2, 2.6), (1.2, 2.6), *reversed(half)], 0.012).whole()
    x, _ = canvas.grid()
    # an elliptic cross-section, flattened
    round_trunk = np.sqrt(np.clip(1 - (x / 1.26) ** 2, 0.03, 1))
    soft = trunk * (0.22 + 0.70 * round_trunk)
    neck = canvas.fill([(-0.34, -2.6), (-0.31, -1.0), (0.31, -1.0), (0.34, -2.6)], 0.02).whole()
    soft = np.maximum(soft, 0.74 * neck)
    soft = np.maximum(soft, 1.12 * canvas.ellipse((0, -1.86), (0.58, 0.44), 0.03).whole())
    for side in (-1, 1):
        path = [(0.95, -0.86), (1.35, -1.04 + child.arms * 0.4), (2.2, -1.17 + child.arms * 2)]
        arm = canvas.stroke(mirror(path, side), 0.5, 0.03).whole()
        soft = np.maximum(soft, 0.54 * arm * (0.8 + 0.2 * blur(arm, 0.12 * canvas.unit)))
    return np.asarray(soft, np.float32)


def _lung(canvas: Canvas, child: Build, side: int) -> Plane:
    """One lung; side -1 is the patient's right, on the left of the picture."""
    dome = child.dome + (0.0 if side < 0 else 0.06)
    outline = [
        (0.19, -0.84), (0.32, -0.90), (0.50, -0.80), (0.70, -0.56), (0.86, -0.24), (0.95, 0.12), (0.99, 0.50),
        (0.99, 0.86 + dome), (0.87, 0.69 + dome), (0.65, 0.55 + dome), (0.40, 0.515 + dome), (0.21, 0.53 + dome),
        (0.12, 0.3), (0.11, -0.1), (0.13, -0.5),
    ]  # fmt: skip
    lung = canvas.fill(mirror(outline, side), 0.012).whole()
    # lung behind the dome: its border is sharp, but what lies below is not at once without air
    behind = [(x, y + (0.16 if y > 0.5 and x < 0.9 else 0.0)) for x, y in outline]  # noqa: PLR2004 - body coordinates
    return np.asarray(np.maximum(lung, 0.22 * canvas.fill(mirror(behind, side), 0.06).whole()), np.float32)


def _heart(canvas: Canvas, child: Build) -> Plane:
    """Heart, great vessels and thymus; wide, as in small children lying down."""
    size = child.heart
    outline = [
        (-0.22, -0.08), (-0.30 * size, 0.18), (-0.27 * size, 0.42), (-0.1, 0.62), (0.3, 0.68), (0.54 * size, 0.58),
        (0.60 * size, 0.38), (0.47 * size, 0.06), (0.30, -0.2), (0.2, -0.34), (0.05, -0.38), (-0.15, -0.3),
    ]  # fmt: skip
    heart = canvas.fill(outline, 0.018).whole()
    top = [(-0.18, -1.0), (-0.22, -0.6), (-0.24, -0.2), (0.26, -0.2), (0.24, -0.6), (0.18, -1.0)]
    return np.asarray(np.maximum(heart, 0.85 * canvas.fill(top, 0.03).whole()), np.float32)


def _hila(canvas: Canvas) -> Plane:
    """Haze of the roots of the lungs."""
    right = canvas.ellipse((-0.26, 0.02), (0.16, 0.26), 0.09).whole()
    return np.maximum(right, canvas.ellipse((0.28, -0.06), (0.16, 0.24), 0.09).whole())


def _abdomen(canvas: Canvas, rng: np.random.Generator, child: Build) -> Plane:
    """Below the domes: liver, and gas in stomach and bowel."""
    _, y = canvas.grid()
    below = 1 / (1 + np.exp(-(y - 0.86 - child.dome) / 0.10))
    gas = canvas.ellipse((0.50, 0.86 + child.dome), (0.15, 0.08), 0.02).whole()
    for _ in range(5):
        centre = (float(rng.uniform(-0.1, 0.8)), float(rng.uniform(1.05, 1.5)))
        gas = np.maximum(gas, canvas.ellipse(centre, (float(rng.uniform(0.05, 0.13)), 0.06), 0.02).whole())
    trunk = canvas.fill([(-1.08, 0.2), (-1.1, 2.6), (1.1, 2.6), (1.08, 0.2)], 0.05).whole()
    return np.asarray(0.07 * below * trunk - 0.24 * gas, np.float32)


def _airway(canvas: Canvas, child: Build) -> Plane:
    lean = child.lean
    trachea = canvas.stroke([(lean, -1.5), (lean - 0.02, -0.8), (lean - 0.01, -0.36)], 0.10, 0.012).whole()
    right = canvas.stroke([(lean, -0.38), (-0.10, -0.26), (-0.24, -0.08)], 0.075, 0.014, 0.7).whole()
    left = canvas.stroke([(lean, -0.38), (0.13, -0.28), (0.30, -0.16)], 0.07, 0.014, 0.7).whole()
    return np.asarray(np.maximum(trachea, 0.8 * np.maximum(right, left)), np.float32)


def _vessels(canvas: Canvas, rng: np.random.Generator) -> Plane:
    """Vessels branch from both hila and thin out towards the ribs."""
    lines: list[tuple[list[Point], float]] = []

    def grow(start: Point, angle: float, length: float, width: float) -> None:
        bend = float(rng.uniform(-0.25, 0.25))
        middle = (start[0] + 0.5 * length * float(np.cos(angle)), start[1] + 0.5 * length * float(np.sin(angle)))
        end = (start[0] + length * float(np.cos(angle + bend)), start[1] + length * float(np.sin(angle + bend)))
        lines.append(([start, middle, end], width))
        if width > _THINNEST_VESSEL:
            for turn in (float(rng.uniform(0.2, 0.6)), -float(rng.uniform(0.2, 0.6))):
                grow(end, angle + bend + turn, length * float(rng.uniform(0.6, 0.85)), width * 0.66)

    for side, hilum in ((-1, (-0.22, 0.0)), (1, (0.25, -0.06))):
        for spread in np.linspace(-1.25, 1.25, 7):
            angle = float(spread + rng.uniform(-0.12, 0.12))
            grow(hilum, angle if side > 0 else float(np.pi) - angle, float(rng.uniform(0.16, 0.26)), 0.034)
    return canvas.strokes(lines, 0.006).whole()
