"""RLE Lossless: PackBits segments, one a byte plane, most significant first (PS3.5 annex G)."""

from __future__ import annotations

import itertools
import struct
from typing import Final

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from imaging.decode.codestream import damaged
from imaging.decode.module import PixelModule, to_stored_values

_HEADER: Final = struct.Struct("<16L")


def decode_rle(code: bytes, module: PixelModule) -> NDArray[np.integer]:
    """Return stored values, shape (rows, columns).

    Raises
    ------
    RejectedInput
        ``DECODE_FAILED`` unless the segments are as many as bytes in a
        sample, lie in order within the frame, and each holds exactly one
        byte a pixel.
    """
    first, *others = (_plane(segment, module) for segment in _segments(code, module.bits_allocated // 8))
    raw: NDArray[np.unsignedinteger] = first.astype(module.container.newbyteorder("="), copy=False)
    for plane in others:
        # in place: a new array for each step would cost more than the decoder
        raw <<= np.uint16(8)
        raw |= plane
    if module.shift:
        raw = raw >> raw.dtype.type(module.shift)
    return to_stored_values(raw, module, module.bits_stored)


def _segments(code: bytes, expected: int) -> list[bytes]:
    if len(code) < _HEADER.size:
        raise damaged("is shorter than an RLE header")
    count, *offsets = _HEADER.unpack_from(code)
    if count != expected:
        raise damaged(f"has {count} RLE segments, {expected} are needed")
    bounds = [*offsets[:count], len(code)]
    if bounds[0] < _HEADER.size or any(after <= before for before, after in itertools.pairwise(bounds)):
        raise damaged("has RLE segments that overlap or lie outside of it")
    return [code[start:stop] for start, stop in itertools.pairwise(bounds)]


def _plane(segment: bytes, module: PixelModule) -> NDArray[np.uint8]:
    pixels = module.rows * module.columns
    try:
        # told the size, the decoder reserves no more and refuses a segment that holds more
        decoded = imagecodecs.packbits_decode(segment, out=pixels)
    except (RuntimeError, ValueError) as error:  # imagecodecs' own errors are RuntimeErrors
        raise damaged("holds an RLE segment that cannot be decoded") from error
    if len(decoded) != pixels:
        raise damaged(f"holds an RLE segment of {len(decoded)} bytes for {pixels} pixels")
    return np.frombuffer(decoded, np.uint8).reshape(module.rows, module.columns)
