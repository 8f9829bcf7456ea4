"""Decoding no more of an image than its master needs: JPEG 2000 and baseline JPEG hold smaller images of themselves.

Through Pillow, whose OpenJPEG and libjpeg-turbo can leave the finer detail
undecoded; imagecodecs cannot. What a decoder here cannot do with a stream, it
answers with None, and the stream is decoded in full: only that says what is wrong with it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile

from imaging.decode.codestream import check, read_jpeg, read_jpeg_2000
from imaging.decode.finish import finish
from imaging.decode.jpeg_2000 import unboxed
from imaging.decode.module import PixelModule
from imaging.master import LONGEST_SIDE
from imaging.sampling import Sampling

Reduced = tuple[NDArray[np.integer], Sampling]
# The smallest image whose longest side is at least so many times the master's is enough. A wavelet's smaller image is
# as sharp as its size allows; scaled cosines are means of blocks, and share their bound (`imaging.master.shrink`).
_WAVELET_OVERSAMPLING: Final = 1
_COSINE_OVERSAMPLING: Final = 2
_COSINE_SCALES: Final = (8, 4, 2)
_LARGEST_LEVEL: Final = 5
_EIGHT, _SIXTEEN = 8, 16


def reduced_jpeg_2000(code: bytes, module: PixelModule) -> Reduced | None:
    """Decode JPEG 2000, high throughput or not, without its finest levels.

    The samples of a lower resolution lie on every second, fourth ... pixel,
    the first on the first (ISO/IEC 15444-1 F.3, whole-sample symmetric
    filters), not between the pixels they stand for.

    Parameters
    ----------
    code : bytes
        As for `imaging.decode.jpeg_2000.decode_jpeg_2000`.
    module : PixelModule
        Of the whole image.

    Returns
    -------
    (ndarray, Sampling) or None
        Stored values; None if the stream must be decoded in full, because it
        has not the levels, is not regular, or cannot be decoded.
    """
    stream = unboxed(code)
    declared = read_jpeg_2000(stream)
    check(declared, module)
    # header and stream must agree on what a value is: means of words that only look like values are none
    if not declared.regular or declared.signed != module.signed or declared.precision > module.bits_stored:
        return None
    for level in _levels(max(module.rows, module.columns)):
        step = 1 << level
        words = _words(stream, level)
        rows, columns = (-(-side // step) for side in (module.rows, module.columns))
        if words is None or words.shape != (rows, columns):
            continue
        # Pillow moves values to the top of 8 or 16 bits, and signed ones above zero
        values = words >> words.dtype.type(8 * words.itemsize - declared.precision)
        if declared.signed:
            values = values.astype(np.int16) - np.int16(1 << (declared.precision - 1))
        return finish(values, declared, replace(module, rows=rows, columns=columns)), Sampling(step, 0.5)
    return None


def _levels(longest: int) -> Iterator[int]:
    """Yield how many levels may be left out, the most first."""
    for level in range(_LARGEST_LEVEL, 0, -1):
        if longest >> level >= _WAVELET_OVERSAMPLING * LONGEST_SIDE:
            yield level


def _words(stream: bytes, level: int) -> NDArray[np.unsignedinteger] | None:
    try:
        with Jpeg2KImageFile(io.BytesIO(stream)) as image:
            step = 1 << level
            # Pillow rounds the reduced size half up where OpenJPEG rounds up, and refuses the stream if they differ
            image._size = tuple(-(-side // step) * step for side in image.size)  # noqa: SLF001
            image.reduce = level
            image.load()
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError):
        return None


def reduced_jpeg(code: bytes, module: PixelModule) -> Reduced | None:
    """Decode 8-bit baseline JPEG at a half, a quarter or an eighth of its size; as `reduced_jpeg_2000`.

    A sample stands for a block of pixels and lies in its middle.
    """
    declared = read_jpeg(code)
    check(declared, module)
    longest = max(module.rows, module.columns)
    step = next((one for one in _COSINE_SCALES if longest // one >= _COSINE_OVERSAMPLING * LONGEST_SIDE), 1)
    if step == 1 or declared.precision != 8 or declared.process != 0xC0 or module.signed: 
        return None
    rows, columns = (-(-side // step) for side in (module.rows, module.columns))
    try:
        with JpegImageFile(io.BytesIO(code)) as image:
            image.draft("L", (module.columns // step, module.rows // step))
            image.load()
            samples = np.asarray(image)
    except (OSError, SyntaxError, ValueError):
        return None
    if samples.shape != (rows, columns):
        return None
    return finish(samples, declared, replace(module, rows=rows, columns=columns)), Sampling(step, step / 2)
