"""From attenuation to what a digital detector hands over for presentation: scatter, processing, noise, letters."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from imaging.phantom.canvas import Plane, blur, resize

BITS: Final = 12
_CEILING: Final = (1 << BITS) - 1
_BEAM: Final = 2.3  # natural logarithm of the attenuation of 1
_SCATTER: Final = 0.16
_NOISE: Final = 0.0085  # of the log signal in air


def develop(attenuation: Plane, rng: np.random.Generator, rows: int, columns: int) -> Plane:
    """Turn attenuation into a log image from 0 to 1 at full size, larger where more was absorbed."""
    primary = np.exp(-np.float32(_BEAM) * attenuation)
    scattered = blur(primary, attenuation.shape[1] / 14)
    log_signal = -np.log((primary + np.float32(_SCATTER) * scattered) / np.float32(1 + _SCATTER))
    # what every vendor's processing does: local detail lifted, the whole compressed
    detail = log_signal - blur(log_signal, attenuation.shape[1] / 30)
    fine = log_signal - blur(log_signal, attenuation.shape[1] / 150)
    shown = log_signal + np.float32(0.35) * detail + np.float32(0.6) * fine
    shown = 1 / (1 + np.exp(-(shown - np.float32(1.45)) / np.float32(0.62)))
    full = resize(shown.astype(np.float32), rows, columns)
    return full + _noise(rng, full)


def _noise(rng: np.random.Generator, signal: Plane) -> Plane:
    """Quantum noise in two frequency bands, stronger where fewer quanta arrive, and a trace of the detector's lines."""
    rows, columns = signal.shape
    grain = rng.standard_normal((rows, columns), np.float32)
    coarse = resize(rng.standard_normal((rows // 2 + 1, columns // 2 + 1), np.float32), rows, columns)
    lines = rng.standard_normal((rows, 1), np.float32) + rng.standard_normal((1, columns), np.float32)
    noise = 0.7 * grain + 0.9 * coarse
    noise *= np.float32(0.4) + np.float32(1.1) * signal
    noise += np.float32(0.12) * lines
    return np.asarray(np.float32(_NOISE) * noise, np.float32)


def collimate(image: Plane, rng: np.random.Generator) -> None:
    """Black the picture outside of a slightly turned rectangle, in place, as an electronic shutter does."""
    rows, columns = image.shape
    margins = rng.uniform(0.004, 0.035, 4)
    turn = float(rng.uniform(-0.012, 0.012))
    corners = [
        (margins[0] + turn, margins[1] - turn), (1 - margins[2] + turn, margins[1] + turn),
        (1 - margins[2] - turn, 1 - margins[3] + turn), (margins[0] - turn, 1 - margins[3] - turn),
    ]  # fmt: skip
    shutter = Image.new("L", (columns, rows), 0)
    ImageDraw.Draw(shutter).polygon([(x * columns, y * rows) for x, y in corners], fill=1)
    image *= np.asarray(shutter)


def letter(image: Plane, texts: dict[tuple[float, float], tuple[str, float]]) -> None:
    """Burn letters in, in place; ``{(x, y): (text, height)}`` in shares of width and height."""
    rows, columns = image.shape
    plane = Image.new("L", (columns, rows), 0)
    draw = ImageDraw.Draw(plane)
    for (x, y), (text, height) in texts.items():
        draw.text((x * columns, y * rows), text, fill=255, font=ImageFont.load_default(size=height * rows))
    np.maximum(image, np.asarray(plane, np.float32) * np.float32(0.97 / 255), out=image)


def quantise(image: Plane) -> NDArray[np.uint16]:
    """Return stored values of 12 bits."""
    return np.clip(np.rint(image * _CEILING), 0, _CEILING).astype(np.uint16)
