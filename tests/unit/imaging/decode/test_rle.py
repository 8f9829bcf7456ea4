from __future__ import annotations

import struct

import pytest

from core.errors import RejectedInput
from imaging.decode.module import PixelModule
from imaging.decode.rle import decode_rle
from imaging.reasons import Rejection


def module(bits: int = 16) -> PixelModule:
    return PixelModule(
        rows=2, columns=2, bits_allocated=bits, bits_stored=bits, high_bit=bits - 1, signed=False, monochrome1=False
    )


def stream(*segments: bytes, count: int | None = None) -> bytes:
    offsets, position = [], 64
    for segment in segments:
        offsets.append(position)
        position += len(segment)
    header = struct.pack("<16L", len(segments) if count is None else count, *offsets, *[0] * (15 - len(offsets)))
    return header + b"".join(segments)


def test_byte_planes_come_most_significant_first() -> None:
    # PackBits: 257 - n repeats a byte n times; n - 1 copies n bytes. High bytes 1 1 1 1, low bytes 0 1 2 3.
    code = stream(bytes([253, 1]), bytes([3, 0, 1, 2, 3]))
    assert decode_rle(code, module()).tolist() == [[256, 257], [258, 259]]


def test_bytes_have_one_plane() -> None:
    assert decode_rle(stream(bytes([3, 9, 8, 7, 6])), module(8)).tolist() == [[9, 8], [7, 6]]


@pytest.mark.parametrize(
    "code",
    [
        b"",
        bytes(63),
        stream(bytes([253, 1])),  # one plane of two
        stream(bytes([253, 1]), bytes([254, 1])),  # a byte short
        stream(bytes([253, 1]), bytes([251, 1])),  # bytes too many
        stream(bytes([253, 1]), bytes([3, 0, 1])),  # literal run cut short
        stream(bytes([253, 1]), bytes([253, 1]), count=15),
        struct.pack("<16L", 2, 64, 64, *[0] * 13) + bytes([253, 1]),  # overlapping
        struct.pack("<16L", 2, 64, 9999, *[0] * 13) + bytes([253, 1]),  # outside
        struct.pack("<16L", 2, 0, 66, *[0] * 13) + bytes([253, 1, 253, 1]),  # inside the header
    ],
)
def test_damaged_streams_are_refused(code: bytes) -> None:
    with pytest.raises(RejectedInput) as caught:
        decode_rle(code, module())
    assert caught.value.reason == Rejection.DECODE_FAILED
