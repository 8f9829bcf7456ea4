"""JPEG baseline, extended and lossless through libjpeg-turbo (PS3.5 sections 8.2.1 and annexes A.4.1, A.4.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from core.transfer_syntaxes import JPEG_BASELINE, JPEG_EXTENDED, JPEG_LOSSLESS, JPEG_LOSSLESS_SV1
from imaging.decode.codestream import check, damaged, read_jpeg
from imaging.decode.finish import finish
from imaging.decode.module import PixelModule

# Frame markers each syntax may carry. Encoders write baseline images as extended and the reverse; both are sequential.
_SEQUENTIAL: Final = frozenset({0xC0, 0xC1})
_LOSSLESS: Final = frozenset({0xC3})
_PROCESSES: Final = {
    JPEG_BASELINE: _SEQUENTIAL,
    JPEG_EXTENDED: _SEQUENTIAL,
    JPEG_LOSSLESS: _LOSSLESS,
    JPEG_LOSSLESS_SV1: _LOSSLESS,
}


def decoder(transfer_syntax_uid: str) -> Callable[[bytes, PixelModule], NDArray[np.integer]]:
    """Return the decoder of one JPEG transfer syntax."""

    def decode(code: bytes, module: PixelModule) -> NDArray[np.integer]:
        declared = read_jpeg(code)
        if declared.process not in _PROCESSES[transfer_syntax_uid]:
            raise damaged("is of a JPEG process other than its transfer syntax says")
        check(declared, module)
        return finish(_samples(code), declared, module)

    return decode


def _samples(code: bytes) -> NDArray[np.integer]:
    try:
        samples: NDArray[np.integer] = imagecodecs.jpeg8_decode(code)
    except (RuntimeError, ValueError) as error:  # imagecodecs' own errors are RuntimeErrors
        raise damaged("cannot be decoded as JPEG") from error
    return samples
