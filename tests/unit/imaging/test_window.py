"""Expected values are worked out by hand from the formulas of PS3.3 C.11.2."""

from __future__ import annotations

import math

import numpy as np
import pytest

from imaging.window import VoiFunction, Window, first_usable_window


def shown(window: Window, *values: float) -> list[float]:
    result: list[float] = window.apply(np.array(values, float)).tolist()
    return result


def test_linear_maps_the_full_byte_range_exactly() -> None:
    # C.11.2.1.2.1: centre 128, width 256: ((x - 127.5) / 255 + 0.5) is x / 255
    assert shown(Window(128, 256), -1, 0, 51, 255, 256) == [0, 0, pytest.approx(0.2), 1, 1]


def test_linear_has_half_pixel_offsets() -> None:
    # centre 2048, width 4096: x / 4095
    assert shown(Window(2048, 4096), 819, 4095) == [pytest.approx(0.2), 1]
    # centre 0, width 100, the standard's own note: -50 is 0, 49 is 1, and 0 is 0.5 + 0.5 / 99
    assert shown(Window(0, 100), -50, 49, 0) == [0, 1, pytest.approx(0.5 + 0.5 / 99)]


def test_linear_of_width_one_is_a_threshold() -> None:
    # C.11.2.1.2.1: x <= c - 0.5 is black, above is white
    assert shown(Window(10, 1), 9, 9.5, 9.6, 10) == [0, 0, 1, 1]


def test_linear_exact_has_none() -> None:
    # C.11.2.1.3.2: (x - c) / w + 0.5
    assert shown(Window(0, 100, VoiFunction.LINEAR_EXACT), -50, 0, 25, 50) == [0, 0.5, 0.75, 1]


def test_sigmoid() -> None:
    # C.11.2.1.3.1: 1 / (1 + exp(-4 (x - c) / w))
    window = Window(100, 40, VoiFunction.SIGMOID)
    assert shown(window, 100, 110, 90) == [0.5, pytest.approx(1 / (1 + math.exp(-1))), pytest.approx(1 / (1 + math.e))]
    assert shown(window, -1e9, 1e9) == [pytest.approx(0), 1]


@pytest.mark.parametrize(
    ("centres", "widths", "function", "expected"),
    [
        ((1.0, 2.0), (10.0, 20.0), "", Window(1, 10)),
        ((1.0, 2.0), (0.5, 20.0), "LINEAR", Window(2, 20)),
        ((1.0,), (0.5,), "LINEAR", None),
        ((1.0,), (0.5,), "LINEAR_EXACT", Window(1, 0.5, VoiFunction.LINEAR_EXACT)),
        ((1.0,), (0.0,), "SIGMOID", None),
        ((1.0,), (-5.0,), "SIGMOID", None),
        ((1.0,), (), "", None),
        ((), (), "", None),
        ((1.0,), (10.0,), "GAMMA", None),
        ((1.0,), (10.0,), " sigmoid ", Window(1, 10, VoiFunction.SIGMOID)),
    ],
)
def test_the_first_window_the_standard_allows_is_used(
    centres: tuple[float, ...], widths: tuple[float, ...], function: str, expected: Window | None
) -> None:
    assert first_usable_window(centres, widths, function) == expected
