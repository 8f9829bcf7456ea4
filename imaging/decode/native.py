"""Uncompressed pixel data: little-endian words, one frame (PS3.5 section 8.1 and annexes A.1, A.2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.errors import RejectedInput
from imaging.decode.module import PixelModule, to_stored_values
from imaging.reasons import Rejection


def decode_native(value: bytes | memoryview, module: PixelModule) -> NDArray[np.integer]:
    """Return stored values, shape (rows, columns); without a copy where all allocated bits are stored.

    Raises
    ------
    RejectedInput
        ``TRUNCATED`` if bytes are missing, ``BAD_PIXEL_MODULE`` if there is
        at least half a frame too much.
    """
    expected = module.decoded_bytes
    if len(value) < expected:
        raise RejectedInput(Rejection.TRUNCATED, f"pixel data have {len(value)} bytes, {expected} are needed")
    # one padding byte makes the length even; writers that pad to a block are harmless, a second frame is not
    if len(value) - expected > max(1, expected // 2):
        raise RejectedInput(Rejection.BAD_PIXEL_MODULE, f"pixel data have {len(value)} bytes for {expected}")
    words = np.frombuffer(value, module.container, module.rows * module.columns)
    raw = words.reshape(module.rows, module.columns).astype(module.container.newbyteorder("="), copy=False)
    if module.shift:
        raw = raw >> raw.dtype.type(module.shift)
    return to_stored_values(raw, module, module.bits_stored)
