"""Drawing soft shapes in body coordinates, by Pillow alone.

Body coordinates: x to the right of the picture, y downwards, one unit about
half the width of the thorax. Every shape is a patch of weights from 0 to 1 that
the caller adds to, or takes from, the attenuation along the beam.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import cos, sin
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Plane: TypeAlias = NDArray[np.float32]
Point: TypeAlias = tuple[float, float]
_FULL = 255


@dataclass(frozen=True, slots=True)
class Shape:
    """Weights within a box of the plane; outside of the box they are 0."""

    weights: Plane
    top: int
    left: int
    plane: tuple[int, int]

    def add_to(self, target: Plane, strength: float) -> None:
        """Add the shape to a plane, in place."""
        rows, columns = self.weights.shape
        target[self.top : self.top + rows, self.left : self.left + columns] += np.float32(strength) * self.weights

    def whole(self) -> Plane:
        """Return the weights on the whole plane, shape (rows, columns)."""
        target = np.zeros(self.plane, np.float32)
        self.add_to(target, 1.0)
        return target


@dataclass(frozen=True, slots=True)
class Canvas:
    """A plane of anatomy, coarser than the radiograph it is enlarged to.

    Attributes
    ----------
    rows, columns : int
        Pixels of the plane.
    centre : (float, float)
        Where body coordinate (0, 0) lies, as shares of width and height.
    unit : float
        Pixels of one body unit.
    turn : float
        How far the body lies turned in the plane, radians.
    """

    rows: int
    columns: int
    centre: Point
    unit: float
    turn: float = 0.0
    _axes: tuple[float, float] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_axes", (cos(self.turn), sin(self.turn)))

    def pixel(self, point: Point) -> Point:
        """Return the pixel coordinates (column, row) of a body point."""
        along, across = self._axes
        return (
            self.centre[0] * self.columns + (point[0] * along - point[1] * across) * self.unit,
            self.centre[1] * self.rows + (point[0] * across + point[1] * along) * self.unit,
        )

    def empty(self) -> Plane:
        """Return a plane of zeros, shape (rows, columns)."""
        return np.zeros((self.rows, self.columns), np.float32)

    def grid(self) -> tuple[Plane, Plane]:
        """Return body coordinates x and y of every pixel, each of shape (rows, columns)."""
        along, across = self._axes
        right = (np.arange(self.columns, dtype=np.float32) - self.centre[0] * self.columns)[None, :] / self.unit
        down = (np.arange(self.rows, dtype=np.float32) - self.centre[1] * self.rows)[:, None] / self.unit
        return (
            np.asarray(right * along + down * across, np.float32),
            np.asarray(down * along - right * across, np.float32),
        )

    def fill(self, outline: Sequence[Point], soft: float) -> Shape:
        """Fill a closed smooth outline; `soft` is the blur of its border in body units."""
        path = [self.pixel(point) for point in smooth(outline, closed=True)]
        return self._draw([(path, None)], soft)

    def ellipse(self, centre: Point, radii: Point, soft: float) -> Shape:
        """Fill an ellipse whose axes are the body's."""
        angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        path = [self.pixel((centre[0] + radii[0] * cos(a), centre[1] + radii[1] * sin(a))) for a in angles]
        return self._draw([(path, None)], soft)

    def stroke(self, points: Sequence[Point], width: float, soft: float, taper: float = 1.0) -> Shape:
        """Draw a smooth line whose width ends at `taper` times that of its start."""
        return self._draw([self._tapered(points, width, taper)], soft)

    def strokes(self, lines: Sequence[tuple[Sequence[Point], float]], soft: float) -> Shape:
        """Draw many (points, width) lines at once; where they cross they do not add up."""
        return self._draw([self._tapered(points, width, 0.6) for points, width in lines], soft)

    def tube(self, points: Sequence[Point], width: float, wall: float = 0.5, taper: float = 1.0) -> Shape:
        """Draw a hollow tube seen from the side, such as a rib: brighter along its two borders.

        `wall` is how much brighter, as a share: the middle of a cylinder's
        wall is crossed twice, its border along the wall's whole length.
        """
        soft = width * 0.08
        outer = self._draw([self._tapered(points, width, taper)], soft)
        inner = self._draw([self._tapered(points, width * 0.64, taper)], soft * 1.7, like=outer)
        return Shape(outer.weights - np.float32(wall) * inner.weights, outer.top, outer.left, outer.plane)

    def _tapered(self, points: Sequence[Point], width: float, taper: float) -> tuple[list[Point], list[float]]:
        path = [self.pixel(point) for point in smooth(points, closed=False)]
        return path, [max(0.6, 0.5 * width * self.unit * (1 + (taper - 1) * i / len(path))) for i in range(len(path))]

    def _draw(
        self, parts: Sequence[tuple[list[Point], list[float] | None]], soft: float, like: Shape | None = None
    ) -> Shape:
        """Draw outlines (no radii) and lines (a radius a point) in the smallest box that holds them and their blur."""
        blurred = soft * self.unit
        if like is None:
            margin = 3 * blurred + 2 + max((max(radii) for _, radii in parts if radii), default=0.0)
            xs = [x for path, _ in parts for x, _ in path]
            ys = [y for path, _ in parts for _, y in path]
            left, right = _clip(min(xs) - margin, max(xs) + margin, self.columns)
            top, bottom = _clip(min(ys) - margin, max(ys) + margin, self.rows)
        else:
            top, left = like.top, like.left
            bottom, right = top + like.weights.shape[0], left + like.weights.shape[1]
        image = Image.new("L", (right - left, bottom - top))
        draw = ImageDraw.Draw(image)
        for path, radii in parts:
            moved = [(x - left, y - top) for x, y in path]
            if radii is None:
                draw.polygon(moved, fill=_FULL)
                continue
            for (x0, y0), (x, y), radius in zip(moved, moved[1:], radii[1:], strict=False):
                draw.line([(x0, y0), (x, y)], fill=_FULL, width=max(1, round(2 * radius)))
                draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_FULL)
        weights = np.asarray(image.filter(ImageFilter.GaussianBlur(blurred)), np.float32) / np.float32(_FULL)
        return Shape(weights, top, left, (self.rows, self.columns))


def _clip(low: float, high: float, limit: int) -> tuple[int, int]:
    # never empty, so that a shape beyond the border is a harmless sliver
    start = min(max(int(low), 0), limit - 1)
    return start, max(min(int(high) + 1, limit), start + 1)


def smooth(points: Sequence[Point], *, closed: bool, pieces: int = 8) -> list[Point]:
    """Pass a Catmull-Rom curve through the points."""
    corners = np.asarray(points, np.float64)
    if closed:
        padded = np.vstack([corners[-1], corners, corners[:2]])
    else:
        padded = np.vstack([2 * corners[0] - corners[1], corners, 2 * corners[-1] - corners[-2]])
    p0, p1, p2, p3 = (padded[i : len(padded) - 3 + i, None, :] for i in range(4))
    t = np.linspace(0, 1, pieces, endpoint=False)[None, :, None]
    curve = 0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
    path = [(float(x), float(y)) for x, y in curve.reshape(-1, 2)]
    if not closed:
        path.append((float(corners[-1][0]), float(corners[-1][1])))
    return path


def resize(array: Plane, rows: int, columns: int) -> Plane:
    """Enlarge or shrink smoothly (bicubic, anti-aliased)."""
    return np.asarray(Image.fromarray(array).resize((columns, rows), Image.Resampling.BICUBIC), np.float32)


def blur(array: Plane, pixels: float) -> Plane:
    """Blur widely and cheaply by shrinking and enlarging again."""
    rows, columns = array.shape
    small = resize(array, max(2, round(rows / pixels)), max(2, round(columns / pixels)))
    return resize(small, rows, columns)


def octaves(rng: np.random.Generator, rows: int, columns: int, bands: Sequence[tuple[float, float]]) -> Plane:
    """Texture made of frequency bands, as a detector's spectrum is described.

    Parameters
    ----------
    bands : sequence of (float, float)
        Grain of each band in pixels, and its standard deviation.

    Returns
    -------
    ndarray of float32, shape (rows, columns)
        Mean zero.
    """
    texture = np.zeros((rows, columns), np.float32)
    for grain, deviation in bands:
        coarse = rng.standard_normal((round(rows / grain) + 3, round(columns / grain) + 3), np.float32)
        # bicubic enlargement keeps about 0.8 of the standard deviation
        texture += np.float32(deviation / 0.8) * resize(coarse, rows, columns)
    return texture
