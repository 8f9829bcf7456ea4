"""From a decoder's samples to stored values: the last steps that every compressed syntax shares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.errors import RejectedInput
from imaging.decode.codestream import Declared, damaged
from imaging.decode.module import PixelModule, to_stored_values
from imaging.reasons import Rejection


def finish(samples: NDArray[np.integer], declared: Declared, module: PixelModule) -> NDArray[np.integer]:
    """Check what came out of a decoder and make stored values of it.

    Encoders disagree on the sign: a header that says signed may come with a
    code stream that says unsigned, whose words are then two's complement of
    the code stream's precision. The reverse has no meaning and is refused,
    unless no sample is negative.

    Parameters
    ----------
    samples : ndarray of an 8 or 16 bit type
        As decoded; shape (rows, columns), or with a last axis of one.

    Raises
    ------
    RejectedInput
        ``DECODE_FAILED`` if shape or type are not what the code stream
        declared; ``BAD_PIXEL_MODULE`` if sign or bit position contradict the
        header.
    """
    if samples.shape == (module.rows, module.columns, 1):
        samples = samples[:, :, 0]
    if samples.shape != (module.rows, module.columns) or samples.dtype.kind not in "ui" or samples.itemsize > 2:  # noqa: PLR2004 - bytes of 16 bits
        raise damaged("decoded to something other than it declared")
    if samples.dtype.kind == "i" and not module.signed and samples.min() < 0:
        raise RejectedInput(Rejection.BAD_PIXEL_MODULE, "the code stream has negative values, the header says unsigned")
    raw: NDArray[np.unsignedinteger] = samples.view(f"u{samples.itemsize}")
    if module.shift:
        if declared.precision <= module.high_bit:
            raise RejectedInput(Rejection.BAD_PIXEL_MODULE, "HighBit lies above the precision of the code stream")
        raw = raw >> raw.dtype.type(module.shift)
    return to_stored_values(raw, module, min(module.bits_stored, declared.precision))
