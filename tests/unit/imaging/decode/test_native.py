from __future__ import annotations

import numpy as np
import pytest

from core.errors import RejectedInput
from imaging.decode.module import PixelModule
from imaging.decode.native import decode_native
from imaging.reasons import Rejection


def module(**changes: object) -> PixelModule:
    values = {
        "rows": 2,
        "columns": 3,
        "bits_allocated": 16,
        "bits_stored": 12,
        "high_bit": 11,
        "signed": False,
        "monochrome1": False,
    }
    return PixelModule(**{**values, **changes})  # type: ignore[arg-type]


def test_words_are_little_endian_rows_first() -> None:
    value = bytes([1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 0xFF, 0x0F])
    assert decode_native(value, module()).tolist() == [[1, 2, 3], [4, 5, 4095]]


def test_a_high_bit_at_the_top_moves_values_down() -> None:
    # 12 bits in the upper end of 16: 0x0010 is 1, 0xFFF0 is 4095
    value = np.array([0x0010, 0x0020, 0xFFF0, 0, 0, 0x8000], "<u2").tobytes()
    assert decode_native(value, module(high_bit=15)).tolist() == [[1, 2, 4095], [0, 0, 2048]]


def test_odd_bytes_have_one_of_padding() -> None:
    eight = module(rows=1, bits_allocated=8, bits_stored=8, high_bit=7)
    assert decode_native(bytes([7, 8, 9, 0]), eight).tolist() == [[7, 8, 9]]


def test_missing_bytes_are_truncation() -> None:
    with pytest.raises(RejectedInput) as caught:
        decode_native(bytes(11), module())
    assert caught.value.reason == Rejection.TRUNCATED


def test_a_second_frame_nobody_declared_is_refused() -> None:
    with pytest.raises(RejectedInput) as caught:
        decode_native(bytes(24), module())
    assert caught.value.reason == Rejection.BAD_PIXEL_MODULE


def test_full_words_are_not_copied() -> None:
    value = memoryview(bytes(12))
    assert np.shares_memory(decode_native(value, module(bits_stored=16, high_bit=15)), np.frombuffer(value, np.uint8))
