"""Pictures that are no chest as the models know them: what an unfamiliarity score has to notice, class by class.

Nobody's radiographs of other body parts may ship, so these are drawn (and say so in their names), made from
the data set's own images, or come with the libraries of this project. Classes that choices are made with are
apart from those that are reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from imaging.master import FULL_SCALE, shrink
from imaging.phantom.canvas import octaves
from imaging.phantom.radiograph import View, radiograph
from training.familiarity.packaged import photographs, scans
from training.fitting.disguise import gaussian

Master = NDArray[np.uint16]
Plane = NDArray[np.float32]

_BLACK: Final = 0.0
_SIDE: Final = 224
_STORED_BITS: Final = 12
_TEXT: Final = "the quick brown fox jumps over the lazy dog and reads the film again "


@dataclass(frozen=True, slots=True)
class Unlike:
    """A class of pictures that are unlike the training data.

    Attributes
    ----------
    name : str
        Says what they are; "drawn" where a program drew what a device would have recorded.
    make : callable
        From a chest's master and the only source of chance to another master. Generators leave the chest alone.
    reported : bool
        Whether its figure is reported; the others are what choices are made with.
    sources : callable or None
        How many pictures of a library they are parts of, none where it is not installed; None where they are made.
    """

    name: str
    make: Callable[[Master, np.random.Generator], Master]
    reported: bool = True
    sources: Callable[[], int] | None = None


def pictures(kind: Unlike, chests: list[Master], count: int, seed: int = 0) -> Iterator[Master]:
    """Make pictures of a class, equal for equal seeds.

    Parameters
    ----------
    chests : list of ndarray of uint16
        Masters that transformed classes are made from, taken in turn.
    """
    for number in range(count):
        yield kind.make(chests[number % len(chests)], np.random.default_rng([seed, number, *kind.name.encode()]))


def _of_chest(change: Callable[[Plane, np.random.Generator], Plane]) -> Callable[[Master, np.random.Generator], Master]:
    def make(chest: Master, rng: np.random.Generator) -> Master:
        changed = change(chest.astype(np.float32) / np.float32(FULL_SCALE), rng)
        return _master(changed)

    return make


def _master(plane: Plane) -> Master:
    return shrink(np.rint(np.clip(plane, 0, 1) * FULL_SCALE).astype(np.uint16))


def _drawn(*views: View) -> Callable[[Master, np.random.Generator], Master]:
    """Draw one of the phantoms, as it is taken at some size and, in half of the cases, the other way round."""

    def make(_chest: Master, rng: np.random.Generator) -> Master:
        size = (int(rng.integers(440, 620)), int(rng.integers(400, 620)))
        stored = radiograph(views[int(rng.integers(len(views)))], int(rng.integers(1 << 31)), size)
        if rng.random() < 0.5:  # noqa: PLR2004 - the other hand, the other side
            stored = stored[:, ::-1]
        return shrink(np.ascontiguousarray(stored) << np.uint16(16 - _STORED_BITS))

    return make


def _turned(degrees: float) -> Callable[[Plane, np.random.Generator], Plane]:
    def turn(chest: Plane, rng: np.random.Generator) -> Plane:
        del rng
        image = Image.fromarray(np.ascontiguousarray(chest))
        turned = image.rotate(degrees, Image.Resampling.BILINEAR, expand=degrees % 90 == 0, fillcolor=_BLACK)
        return np.asarray(turned, np.float32)

    return turn


def _quarter(chest: Plane, rng: np.random.Generator) -> Plane:
    """Keep half of the height and half of the width, anywhere."""
    rows, columns = (side // 2 for side in chest.shape)
    top, left = int(rng.integers(rows + 1)), int(rng.integers(columns + 1))
    return chest[top : top + rows, left : left + columns]


def _noise(_chest: Master, rng: np.random.Generator) -> Master:
    shape = int(rng.integers(200, 513)), int(rng.integers(200, 513))
    match int(rng.integers(4)):
        case 0:
            plane = rng.random(shape, np.float32)
        case 1:
            plane = 0.5 + 0.15 * rng.standard_normal(shape, np.float32)
        case 2:
            plane = (rng.random(shape, np.float32) < rng.uniform(0.02, 0.5)).astype(np.float32)
        case _:
            # clouds: as much of every size as of any other
            bands = [(float(grain), 1.0) for grain in (2, 4, 8, 16, 32, 64)]
            plane = 0.5 + 0.07 * octaves(rng, *shape, bands)
    return _master(np.asarray(plane, np.float32))


def _packaged(find: Callable[[], tuple[Plane, ...]]) -> Callable[[Master, np.random.Generator], Master]:
    """Take a part of one of the pictures that libraries bring along, as large as half of it at least."""

    def make(_chest: Master, rng: np.random.Generator) -> Master:
        found = find()
        picture = found[int(rng.integers(len(found)))]
        share = rng.uniform(0.5, 1.0, 2)
        rows, columns = (max(1, int(side * part)) for side, part in zip(picture.shape, share, strict=True))
        top = int(rng.integers(picture.shape[0] - rows + 1))
        left = int(rng.integers(picture.shape[1] - columns + 1))
        part = picture[top : top + rows, left : left + columns]
        return _master(part[:, ::-1] if rng.random() < 0.5 else part)  # noqa: PLR2004 - mirrored or not

    return make


def _jigsaw(chest: Plane, rng: np.random.Generator) -> Plane:
    rows, columns = (side // 2 for side in chest.shape)
    parts = [chest[y : y + rows, x : x + columns] for y in (0, rows) for x in (0, columns)]
    # each part in another's place
    shift = int(rng.integers(1, 4))
    a, b, c, d = (parts[(place + shift) % 4] for place in range(4))
    return np.vstack([np.hstack([a, b]), np.hstack([c, d])])


def _side_by_side(chest: Plane, rng: np.random.Generator) -> Plane:
    del rng
    return np.hstack([chest, chest])


def _small(chest: Plane, rng: np.random.Generator) -> Plane:
    rows, columns = chest.shape
    share = float(rng.uniform(0.3, 0.45))
    size = (max(1, round(columns * share)), max(1, round(rows * share)))
    small = np.asarray(Image.fromarray(np.ascontiguousarray(chest)).resize(size, Image.Resampling.BILINEAR))
    plane = np.full_like(chest, _BLACK)
    top, left = int(rng.integers(rows - size[1] + 1)), int(rng.integers(columns - size[0] + 1))
    plane[top : top + size[1], left : left + size[0]] = small
    return plane


def _squeezed(chest: Plane, rng: np.random.Generator) -> Plane:
    """Squeeze to a third or less of its width, black on both sides."""
    rows, columns = chest.shape
    narrow = max(1, round(columns * float(rng.uniform(0.25, 0.35))))
    image = Image.fromarray(np.ascontiguousarray(chest)).resize((narrow, rows), Image.Resampling.BILINEAR)
    plane = np.full_like(chest, _BLACK)
    left = (columns - narrow) // 2
    plane[:, left : left + narrow] = np.asarray(image, np.float32)
    return plane


def _half(chest: Plane, rng: np.random.Generator) -> Plane:
    rows, columns = (side // 2 for side in chest.shape)
    parts = (chest[:rows], chest[rows:], chest[:, :columns], chest[:, columns:])
    return parts[int(rng.integers(len(parts)))]


def _sheared(chest: Plane, rng: np.random.Generator) -> Plane:
    rows, columns = chest.shape
    lean = float(rng.choice([-0.5, 0.5]))
    image = Image.fromarray(np.ascontiguousarray(chest))
    matrix = (1, lean, -lean * rows / 2, 0, 1, 0)
    return np.asarray(
        image.transform((columns, rows), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR), np.float32
    )


def _one_side_down(chest: Plane, rng: np.random.Generator) -> Plane:
    del rng
    turned, half = chest.copy(), chest.shape[1] // 2
    turned[:, half:] = chest[::-1, half:]
    return turned


def _solarised(chest: Plane, rng: np.random.Generator) -> Plane:
    fold = float(rng.uniform(0.35, 0.65))
    return np.where(chest < fold, chest / fold, (1 - chest) / (1 - fold)).astype(np.float32)


def _edges(chest: Plane, rng: np.random.Generator) -> Plane:
    del rng
    down, across = np.gradient(chest)
    strength = np.hypot(down, across)
    return np.asarray(strength / max(float(strength.max()), 1e-6), np.float32)


def _blurred(chest: Plane, rng: np.random.Generator) -> Plane:
    square = np.asarray(Image.fromarray(np.ascontiguousarray(chest)).resize((_SIDE, _SIDE)), np.float32)
    return gaussian(square, float(rng.uniform(14, 24)))


def _chart(_chest: Master, rng: np.random.Generator) -> Master:
    """Draw a step wedge or a grid, as a detector's tests show."""
    down, across = np.mgrid[0 : 1 : _SIDE * 1j, 0 : 1 : _SIDE * 1j]
    along = down if rng.random() < 0.5 else across  # noqa: PLR2004 - upright or not
    if rng.random() < 0.5:  # noqa: PLR2004 - wedge or grid
        steps = int(rng.integers(5, 20))
        plane = np.floor(along * steps) / steps
    else:
        lines = float(rng.uniform(5, 30))
        plane = 0.5 + 0.4 * np.sign(np.sin(2 * np.pi * lines * along))
    return _master(plane.astype(np.float32))


def _page(_chest: Master, rng: np.random.Generator) -> Master:
    """Write a page: a scanned letter, or a screen with a report."""
    dark = rng.random() < 0.5  # noqa: PLR2004 - paper or screen
    image = Image.new("L", (400, 520), 0 if dark else 255)
    draw, height = ImageDraw.Draw(image), int(rng.integers(12, 26))
    for row in range(20, 500, height + 4):
        start = int(rng.integers(len(_TEXT)))
        text = (_TEXT[start:] + _TEXT)[: int(rng.integers(8, 60))]
        draw.text((16, row), text, fill=255 if dark else 0, font=ImageFont.load_default(size=height))
    return _master(np.asarray(image, np.float32) / np.float32(255))


TUNING: Final = (
    Unlike("quarters exchanged", _of_chest(_jigsaw), reported=False),
    Unlike("two side by side", _of_chest(_side_by_side), reported=False),
    Unlike("small on black", _of_chest(_small), reported=False),
    Unlike("squeezed", _of_chest(_squeezed), reported=False),
    Unlike("half alone", _of_chest(_half), reported=False),
    Unlike("sheared", _of_chest(_sheared), reported=False),
    Unlike("one side upside down", _of_chest(_one_side_down), reported=False),
    Unlike("solarised", _of_chest(_solarised), reported=False),
    Unlike("edges alone", _of_chest(_edges), reported=False),
    Unlike("blurred away", _of_chest(_blurred), reported=False),
    Unlike("wedges and grids", _chart, reported=False),
    Unlike("pages of text", _page, reported=False),
)

REPORTED: Final = (
    Unlike("legs (drawn)", _drawn(View.LEG)),
    Unlike("hands (drawn)", _drawn(View.HAND)),
    Unlike("lateral chests (drawn)", _drawn(View.LATERAL)),
    Unlike("frontal chests (drawn)", _drawn(View.CLEAR, View.OPACITY)),
    Unlike("inverted", _of_chest(lambda chest, _rng: 1 - chest)),
    Unlike("rotated 90", _of_chest(_turned(90))),
    Unlike("rotated 180", _of_chest(_turned(180))),
    Unlike("rotated 270", _of_chest(_turned(270))),
    Unlike("rotated 45", _of_chest(_turned(45))),
    Unlike("cropped to a quarter", _of_chest(_quarter)),
    Unlike("noise", _noise),
    Unlike("photographs", _packaged(photographs), sources=lambda: len(photographs())),
    Unlike("CT, MR and ultrasound", _packaged(scans), sources=lambda: len(scans())),
)
