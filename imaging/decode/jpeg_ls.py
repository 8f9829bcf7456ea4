"""JPEG-LS, lossless and near-lossless, through CharLS (PS3.5 section 8.2.3 and annex A.4.3)."""

from __future__ import annotations

from typing import Final

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from imaging.decode.codestream import check, damaged, read_jpeg
from imaging.decode.finish import finish
from imaging.decode.module import PixelModule

_JPEG_LS_FRAME: Final = 0xF7


def decode_jpeg_ls(code: bytes, module: PixelModule) -> NDArray[np.integer]:
    """Return stored values, shape (rows, columns).

    Raises
    ------
    RejectedInput
        ``DECODE_FAILED`` or ``BAD_PIXEL_MODULE``.
    """
    declared = read_jpeg(code)
    if declared.process != _JPEG_LS_FRAME:
        raise damaged("is not JPEG-LS, as its transfer syntax says")
    check(declared, module)
    try:
        samples = imagecodecs.jpegls_decode(code)
    except (RuntimeError, ValueError) as error:  # imagecodecs' own errors are RuntimeErrors
        raise damaged("cannot be decoded as JPEG-LS") from error
    return finish(samples, declared, module)
