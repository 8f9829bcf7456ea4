from __future__ import annotations

import numpy as np
import pytest
from pydicom import Dataset

from core.errors import RejectedInput
from imaging.lut import read_lut
from imaging.reasons import Rejection


def item(descriptor: list[int], data: bytes | list[int], vr: str = "US") -> Dataset:
    dataset = Dataset()
    dataset.add_new("LUTDescriptor", vr, descriptor)
    dataset.add_new("LUTData", "OW" if isinstance(data, bytes) else "US", data)
    return dataset


def test_values_outside_take_the_ends() -> None:
    table = read_lut(item([3, 10, 8], [5, 100, 255]), signed=False)
    assert table.apply(np.array([0.0, 10, 11, 12, 13, 1e6])).tolist() == [5, 5, 100, 255, 255, 255]
    assert table.full_scale == 255


def test_words_and_bytes_are_both_read() -> None:
    words = read_lut(item([2, 0, 12], np.array([7, 4095], "<u2").tobytes()), signed=False)
    assert words.entries.tolist() == [7, 4095]
    packed = read_lut(item([4, 0, 8], bytes([1, 2, 3, 4])), signed=False)
    assert packed.entries.tolist() == [1, 2, 3, 4]


def test_zero_entries_are_65536() -> None:
    table = read_lut(item([0, 0, 16], np.arange(65536).astype("<u2").tobytes()), signed=False)
    assert len(table.entries) == 65536
    assert table.apply(np.array([65535.0])).tolist() == [65535]


def test_the_first_value_is_signed_where_pixels_are() -> None:
    assert read_lut(item([2, 65526, 8], [0, 255]), signed=True).first == -10
    assert read_lut(item([2, -10, 8], [0, 255], "SS"), signed=False).first == 65526


def test_a_table_deeper_than_it_says_is_scaled_by_its_entries() -> None:
    assert read_lut(item([2, 0, 8], [0, 4095]), signed=False).full_scale == 4095


@pytest.mark.parametrize(
    "broken",
    [item([2, 0], [0, 1]), item([2, 0, 7], [0, 1]), item([2, 0, 17], [0, 1]), item([3, 0, 8], [0, 1]), Dataset()],
)
def test_tables_that_make_no_sense_are_refused(broken: Dataset) -> None:
    with pytest.raises(RejectedInput) as caught:
        read_lut(broken, signed=False)
    assert caught.value.reason == Rejection.BAD_PIXEL_MODULE
