"""JPEG 2000 without its finest levels, through Pillow's OpenJPEG; imagecodecs decodes all of them or none."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile

from imaging.decode.codestream import check, read_jpeg_2000
from imaging.decode.finish import finish
from imaging.decode.jpeg_2000 import unboxed
from imaging.decode.module import PixelModule
from imaging.master import LONGEST_SIDE
from imaging.sampling import Sampling

# Longest side that must be left, as a multiple of the master's: closer to it, what the wavelet's short filters let
# through from the finer levels shows in the master (0018).
_OVERSAMPLING: Final = 1.25
_MOST_LEVELS: Final = 5


def reduced_jpeg_2000(code: bytes, module: PixelModule) -> Iterator[tuple[NDArray[np.integer], Sampling]]:
    """Decode JPEG 2000, high throughput or not, at the resolutions that are enough for a master.

    The samples of a lower resolution lie on every second, fourth ... pixel,
    the first on the first (ISO/IEC 15444-1 annex F: whole-sample symmetric
    filters), not in the middle of the pixels they stand for.

    Parameters
    ----------
    code : bytes
        As for `imaging.decode.jpeg_2000.decode_jpeg_2000`.
    module : PixelModule
        Of the whole image.

    Yields
    ------
    stored : ndarray of uint8, uint16 or int16
        Stored values, the smallest image first. Nothing where the stream has
        not so many levels or cannot be decoded by them: that it is damaged,
        only the full decode may say.
    sampling : Sampling
        Which pixels they are.

    Raises
    ------
    RejectedInput
        ``DECODE_FAILED`` or ``BAD_PIXEL_MODULE``, as the full decode would.
    """
    stream = unboxed(code)
    declared = read_jpeg_2000(stream)
    check(declared, module)
    # where header and stream do not agree on what a word means, a mean of words means nothing
    if not declared.regular or declared.signed != module.signed or declared.precision > module.bits_stored:
        return
    longest = max(module.rows, module.columns)
    for level in range(_MOST_LEVELS, 0, -1):
        if longest >> level < _OVERSAMPLING * LONGEST_SIDE:
            continue
        step = 1 << level
        smaller = replace(module, rows=-(-module.rows // step), columns=-(-module.columns // step))
        words = _words(stream, level)
        if words is None or words.shape != (smaller.rows, smaller.columns):
            continue
        # Pillow moves values to the top of 8 or 16 bits, and signed ones up so that none is negative
        values: NDArray[np.integer] = words >> words.dtype.type(8 * words.itemsize - declared.precision)
        if declared.signed:
            values = (values.astype(np.int32) - (1 << (declared.precision - 1))).astype(np.int16)
        yield finish(values, declared, smaller), Sampling(step, 0.5)


def _words(stream: bytes, level: int) -> NDArray[np.unsignedinteger] | None:
    """Decode; None if it cannot be done."""
    try:
        with Jpeg2KImageFile(io.BytesIO(stream)) as image:
            step = 1 << level
            # Pillow rounds the smaller size where OpenJPEG rounds it up, and calls the stream broken if they differ
            width, height = image.size
            image._size = (-(-width // step) * step, -(-height // step) * step)  # noqa: SLF001
            image.reduce = level
            image.load()
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError):
        return None
