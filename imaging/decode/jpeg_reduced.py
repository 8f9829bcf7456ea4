"""Baseline JPEG at a half, a quarter or an eighth of its size, through Pillow's libjpeg-turbo ("draft mode")."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL.JpegImagePlugin import JpegImageFile

from imaging.decode.codestream import check, read_jpeg
from imaging.decode.finish import finish
from imaging.decode.module import PixelModule
from imaging.master import LONGEST_SIDE, OVERSAMPLING
from imaging.sampling import Sampling

_BASELINE: Final = 0xC0
_PRECISION: Final = 8
_STEPS: Final = (8, 4, 2)


def reduced_jpeg(code: bytes, module: PixelModule) -> Iterator[tuple[NDArray[np.integer], Sampling]]:
    """Decode 8-bit baseline JPEG at the smallest size that is enough for a master; as `reduced_jpeg_2000`.

    A sample of a scaled cosine transform stands for a block of pixels and
    lies in its middle, like the means that `imaging.master.shrink` takes.
    """
    declared = read_jpeg(code)
    check(declared, module)
    if declared.process != _BASELINE or declared.precision != _PRECISION or module.signed:
        return
    longest = max(module.rows, module.columns)
    step = next((one for one in _STEPS if longest // one >= OVERSAMPLING * LONGEST_SIDE), 1)
    if step == 1:
        return
    smaller = replace(module, rows=-(-module.rows // step), columns=-(-module.columns // step))
    try:
        with JpegImageFile(io.BytesIO(code)) as image:
            image.draft("L", (module.columns // step, module.rows // step))
            image.load()
            samples = np.asarray(image)
    except (OSError, SyntaxError, ValueError):
        return
    if samples.shape == (smaller.rows, smaller.columns):
        yield finish(samples, declared, smaller), Sampling(step, step / 2)
