from __future__ import annotations

import numpy as np
import pytest

from core.errors import RejectedInput
from imaging.decode.module import PixelModule, check_budget, read_pixel_module, to_stored_values
from imaging.reasons import Rejection
from tests.factories.dicom_objects import phantom


def module(**changes: object) -> PixelModule:
    values = {
        "rows": 1,
        "columns": 4,
        "bits_allocated": 16,
        "bits_stored": 12,
        "high_bit": 11,
        "signed": False,
        "monochrome1": False,
    }
    return PixelModule(**{**values, **changes})  # type: ignore[arg-type]


def words(*values: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint16]]:
    return np.array([values], np.uint16)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("Rows", 0),
        ("Columns", None),
        ("SamplesPerPixel", 3),
        ("BitsAllocated", 1),
        ("BitsAllocated", 12),
        ("BitsAllocated", 32),
        ("BitsStored", 0),
        ("BitsStored", 17),
        ("HighBit", 10),
        ("HighBit", 16),
        ("PixelRepresentation", 2),
        ("PixelRepresentation", None),
        ("NumberOfFrames", 2),
        ("NumberOfFrames", 0),
        ("PhotometricInterpretation", "PALETTE COLOR"),
        ("PhotometricInterpretation", ""),
    ],
)
def test_an_impossible_pixel_module_is_refused_by_name(keyword: str, value: object) -> None:
    dataset = phantom()
    if value is None:
        del dataset[keyword]
    else:
        setattr(dataset, keyword, value)
    with pytest.raises(RejectedInput, match=keyword) as caught:
        read_pixel_module(dataset)
    assert caught.value.reason == Rejection.BAD_PIXEL_MODULE


@pytest.mark.parametrize("bits", range(6, 17))
def test_odd_depths_are_read(bits: int) -> None:
    read = read_pixel_module(phantom(bits_stored=bits))
    assert (read.bits_stored, read.bits_allocated) == (bits, 8 if bits <= 8 else 16)
    assert read.shift == 0


def test_the_budget_counts_allocated_bytes() -> None:
    large = module(rows=65535, columns=65535)
    check_budget(large, 65535 * 65535 * 2)
    with pytest.raises(RejectedInput) as caught:
        check_budget(large, 512 << 20)
    assert caught.value.reason == Rejection.OVER_BUDGET


def test_signed_values_are_extended_from_bits_stored() -> None:
    # 12 bits: 0x7FF is 2047, 0x800 is -2048, 0xFFF is -1
    stored = to_stored_values(words(0x7FF, 0x800, 0xFFF, 0), module(signed=True), 12)
    assert stored.tolist() == [[2047, -2048, -1, 0]]
    assert stored.dtype == np.int16


def test_values_already_sign_extended_are_no_stray_bits() -> None:
    stored = to_stored_values(words(0xFFFF, 0xF800, 1, 2), module(signed=True), 12)
    assert stored.tolist() == [[-1, -2048, 1, 2]]


def test_eight_bit_signed_values_become_sixteen_bit() -> None:
    raw = np.array([[0x7F, 0x80, 0xFF, 0]], np.uint8)
    stored = to_stored_values(raw, module(bits_allocated=8, bits_stored=8, high_bit=7, signed=True), 8)
    assert stored.tolist() == [[127, -128, -1, 0]]


def test_bits_above_bits_stored_are_refused_unless_overlays_lie_there() -> None:
    stray = words(0x1001, 0x2002, 3, 4)
    with pytest.raises(RejectedInput) as caught:
        to_stored_values(stray, module(), 12)
    assert caught.value.reason == Rejection.BAD_PIXEL_MODULE
    assert to_stored_values(stray, module(has_overlay_bits=True), 12).tolist() == [[1, 2, 3, 4]]


def test_a_few_stray_pixels_are_masked() -> None:
    picture = np.full((10, 20), 5, np.uint16)
    picture[0, :2] = 0xF005
    assert (to_stored_values(picture, module(), 12) == 5).all()
