"""A heatmap as a picture: what a model's class activation map says, laid over the master it was made from.

Coarse by nature (five by five places, each of which saw most of the image), so every picture says in its pixels
and in its metadata that it locates nothing.
"""

from __future__ import annotations

import io
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from imaging.master import FULL_SCALE

WARNING: Final = "NOT LOCALISATION"
_MEANING: Final = "where the score came from, roughly"
_RESEARCH: Final = "research, not a medical device"
_COLOUR: Final = (255, 96, 0)
_STRONGEST: Final = 0.6
_FONT: Final = 14
_LINE: Final = 18
_MARGIN: Final = 6
# higher ones take ten times as long for a quarter less
_PNG_LEVEL: Final = 1
# narrower pictures stand in the middle of this, for the words
_NARROWEST: Final = 400


def spread_out(heat: NDArray[np.float32], shape: tuple[int, int], crop: float) -> NDArray[np.float32]:
    """Bring a map to the geometry of the master: squash and crop of the preprocessing undone.

    Parameters
    ----------
    heat : ndarray of float32, shape (places down, places across)
        Of the model's input.
    shape : (int, int)
        Rows and columns of the master.
    crop : float
        Share that the preprocessing cut off on each side.

    Returns
    -------
    ndarray of float32, shape `shape`
        0 where the model saw nothing.
    """
    rows, columns = shape
    top, left = round(crop * rows), round(crop * columns)
    size = (max(1, columns - 2 * left), max(1, rows - 2 * top))
    image = Image.fromarray(np.ascontiguousarray(heat, np.float32))
    whole = np.zeros(shape, np.float32)
    seen = np.asarray(image.resize(size, Image.Resampling.BILINEAR), np.float32)
    whole[top : top + size[1], left : left + size[0]] = seen
    return whole


def render(master: NDArray[np.uint16], heat: NDArray[np.float32], crop: float, model: str) -> bytes:
    """Draw a heatmap over its master.

    Parameters
    ----------
    master : ndarray of uint16, shape (rows, columns)
        0 black to 65535 white.
    heat : ndarray of float32, shape (places down, places across)
        0 and below leave the image as it is, 1 and above colour it fully; what is not finite is left out.
    crop : float
        The bundle's `imaging.spec.PreprocessSpec.crop`.
    model : str
        Name and version.

    Returns
    -------
    bytes
        A PNG file, RGB, as large as the master with a strip of words below. It names no patient.
    """
    strength = np.nan_to_num(spread_out(heat, (master.shape[0], master.shape[1]), crop), posinf=0.0, neginf=0.0)
    # squared: where everything speaks for the finding somewhat, the strongest places should still stand out
    alpha = np.square(np.clip(strength, 0, 1))[:, :, np.newaxis] * np.float32(_STRONGEST)
    grey = (master.astype(np.float32) * np.float32(255 / FULL_SCALE))[:, :, np.newaxis]
    coloured = np.rint(grey * (1 - alpha) + np.array(_COLOUR, np.float32) * alpha).astype(np.uint8)

    lines = (f"{WARNING}: {_MEANING}", f"{model}; {_RESEARCH}")
    rows, columns = master.shape
    width = max(columns, _NARROWEST)
    picture = Image.new("RGB", (width, rows + len(lines) * _LINE + 2 * _MARGIN), 0)
    picture.paste(Image.fromarray(coloured), ((width - columns) // 2, 0))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=_FONT)
    for number, line in enumerate(lines):
        draw.text((_MARGIN, rows + _MARGIN + number * _LINE), line, fill=(255, 255, 255), font=font)

    facts = PngInfo()
    facts.add_text("Title", f"Heatmap, {WARNING.lower()}")
    facts.add_text("Warning", f"{WARNING}: {_MEANING}; {_RESEARCH}")
    facts.add_text("Source", model)
    stream = io.BytesIO()
    picture.save(stream, "PNG", pnginfo=facts, compress_level=_PNG_LEVEL)
    return stream.getvalue()
