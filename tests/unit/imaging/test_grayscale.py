"""Each expectation is worked out by hand; 65535 is white."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset

from core.errors import RejectedInput
from imaging.decode.module import PixelModule
from imaging.grayscale import pixels_digest, render
from imaging.reasons import Rejection


def module(bits: int = 12, *, signed: bool = False, monochrome1: bool = False) -> PixelModule:
    return PixelModule(1, 1, 8 if bits <= 8 else 16, bits, bits - 1, signed, monochrome1)


def header(**elements: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def lut(first: int, *entries: int, bits: int = 16) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries), first, bits])
    item.add_new("LUTData", "US", list(entries))
    return item


def grey(values: list[int], dataset: Dataset, pixels: PixelModule | None = None) -> list[int]:
    pixels = pixels or module()
    kind: Any = np.int16 if pixels.signed else (np.uint8 if pixels.bits_allocated == 8 else np.uint16)
    stored = np.array([values], kind)
    result: list[int] = render(stored, pixels, dataset).apply(stored)[0].tolist()
    return result


FULL = {"WindowCenter": 2048, "WindowWidth": 4096}


def test_a_full_window_spreads_twelve_bits_over_sixteen() -> None:
    # x / 4095 * 65535
    assert grey([0, 1, 2730, 4095], header(**FULL)) == [0, 16, 43690, 65535]


def test_monochrome1_is_inverted() -> None:
    assert grey([0, 2730, 4095], header(**FULL), module(monochrome1=True)) == [65535, 21845, 0]


def test_inverse_shape_and_monochrome1_are_one_inversion() -> None:
    inverse = header(**FULL, PresentationLUTShape="INVERSE")
    assert grey([0, 4095], inverse, module(monochrome1=True)) == [65535, 0]
    assert grey([0, 4095], inverse) == [65535, 0]
    assert grey([0, 4095], header(**FULL, PresentationLUTShape="IDENTITY")) == [0, 65535]


def test_rescale_comes_before_the_window() -> None:
    # 2x - 1000: 500 is 0, 1000 is 1000; LINEAR_EXACT 500 +- 500
    dataset = header(
        RescaleSlope="2", RescaleIntercept="-1000", WindowCenter=500, WindowWidth=1000, VOILUTFunction="LINEAR_EXACT"
    )
    assert grey([0, 500, 750, 1000, 4095], dataset) == [0, 0, 32768, 65535, 65535]


def test_modality_lut_comes_before_rescale() -> None:
    dataset = header(RescaleSlope="100", RescaleIntercept="5", WindowCenter=128, WindowWidth=256)
    dataset.ModalityLUTSequence = [lut(0, 0, 51, 255)]
    assert grey([0, 1, 2, 9], dataset) == [0, 13107, 65535, 65535]


def test_voi_lut_comes_before_the_window() -> None:
    dataset = header(**FULL)
    dataset.VOILUTSequence = [lut(10, 0, 32768, 65535), lut(0, 65535, 0)]
    assert grey([0, 10, 11, 12, 4095], dataset) == [0, 0, 32768, 65535, 65535]


def test_of_several_windows_the_first_is_used() -> None:
    assert grey([0, 255, 4095], header(WindowCenter=[128, 2048], WindowWidth=[256, 4096])) == [0, 65535, 65535]


def test_a_forbidden_width_is_passed_over() -> None:
    assert grey([0, 4095], header(WindowCenter=[128, 2048], WindowWidth=[0.5, 4096])) == [0, 65535]


def test_eight_bits_without_a_window_are_grey_as_shown() -> None:
    assert grey([10, 51, 200], header(), module(8)) == [2570, 13107, 51400]


def test_eight_bits_with_an_identity_window_are_the_same() -> None:
    window = header(WindowCenter=128, WindowWidth=256, RescaleSlope="1", RescaleIntercept="0")
    every = list(range(256))
    assert grey(every, window, module(8)) == [257 * value for value in every] == grey(every, header(), module(8))


def test_more_bits_without_a_window_are_stretched_between_percentiles() -> None:
    # 1000 pixels 1000 to 1999, one dead and one hot: 0.5 and 99.5 per cent of 1002 pixels are the 6th and the 997th
    values = [0, 4095, *range(1000, 2000)]
    low, high = 1004, 1995
    expected = [round((value - low) / (high - low) * 65535) for value in (1004, 1500, 1995)]
    result = grey(values, header())
    assert [result[2 + value - 1000] for value in (1004, 1500, 1995)] == expected
    assert result[0] == 0
    assert result[1] == 65535


def test_padding_counts_neither_for_percentiles_nor_as_content() -> None:
    pad: NDArray[np.uint16] = np.full(3000, 0)
    values = [*pad.tolist(), *range(1000, 1200)]
    padded = grey(values, header(PixelPaddingValue=0))
    assert padded[:3000] == [0] * 3000
    # of 200 pixels the 0.5 per cent mark is the first, the 99.5 per cent mark the last but one
    assert padded[3000:3002] == [0, round(65535 / 198)]
    assert padded[-2] == 65535


def test_padding_of_signed_pixels_may_be_written_unsigned() -> None:
    # 63488 is -2048 in 16 bits
    padded = header(WindowCenter=0, WindowWidth=4096, PixelPaddingValue=63488)
    assert grey([-2048, 1, 2047], padded, module(signed=True))[0] == 0
    inverted = module(signed=True, monochrome1=True)
    assert grey([-2048, 1, 2047], padded, inverted)[0] == 0


def test_a_padding_value_no_pixel_can_have_pads_nothing() -> None:
    assert grey([0, 4095], header(**FULL, PixelPaddingValue=65535)) == [0, 65535]


def test_padding_is_black_after_inversion_too() -> None:
    dataset = header(**FULL, PixelPaddingValue=0, PixelPaddingRangeLimit=9)
    assert grey([0, 5, 9, 10, 4095], dataset, module(monochrome1=True))[:3] == [0, 0, 0]


def test_signed_values_keep_their_order() -> None:
    dataset = header(WindowCenter=0, WindowWidth=4096)
    # by LINEAR, 0 lies half a step above the middle
    expected = [0, round((0.5 / 4095 + 0.5) * 65535), 65535]
    assert grey([-2048, 0, 2047], dataset, module(signed=True)) == expected


@pytest.mark.parametrize("depth", range(1, 17))
def test_every_depth_reaches_black_and_white(depth: int) -> None:
    top = (1 << depth) - 1
    dataset = header(WindowCenter=(top + 1) / 2, WindowWidth=top + 1)
    assert grey([0, top], dataset, module(depth)) == [0, 65535]


@pytest.mark.parametrize(
    ("values", "dataset"),
    [
        ([7, 7, 7], header()),
        ([0, 0, 7], header(PixelPaddingValue=0)),
        ([0, 0, 0], header(PixelPaddingValue=0)),
        ([1, 2, 3], header(WindowCenter=4000, WindowWidth=10)),
    ],
)
def test_an_image_that_shows_nothing_is_blank(values: list[int], dataset: Dataset) -> None:
    with pytest.raises(RejectedInput) as caught:
        grey(values, dataset)
    assert caught.value.reason == Rejection.BLANK


def test_a_slope_of_zero_is_refused() -> None:
    with pytest.raises(RejectedInput) as caught:
        grey([0, 1], header(RescaleSlope="0", RescaleIntercept="0"))
    assert caught.value.reason == Rejection.BAD_PIXEL_MODULE


def test_the_digest_covers_pixels_and_pipeline() -> None:
    def digest(values: list[int], **elements: Any) -> str:
        stored = np.array([values], np.uint16)
        return pixels_digest(stored, render(stored, module(), header(**elements)))

    assert digest([1, 2], **FULL) == digest([1, 2], **FULL, PresentationLUTShape="IDENTITY")
    assert digest([1, 2], **FULL) != digest([1, 3], **FULL)
    assert digest([1, 2], **FULL) != digest([1, 2], WindowCenter=2048, WindowWidth=4095)
    assert digest([1, 2], **FULL) != digest([1, 2], **FULL, PixelPaddingValue=2000)
