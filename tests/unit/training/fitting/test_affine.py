from __future__ import annotations

import pytest

from training.fitting.affine import around_middle


@pytest.mark.parametrize(("size", "middle"), [(9, 4.0), (10, 4.5)])
def test_the_middle_comes_from_the_middle_and_the_shift(size: int, middle: float) -> None:
    a, b, c, d, e, f = around_middle(size, (0.8, -0.3), (0.4, 1.1), (2.0, -1.0))
    assert (a * middle + b * middle + c, d * middle + e * middle + f) == pytest.approx((middle + 2, middle - 1))


def test_its_bits_are_those_of_the_fits_on_record() -> None:
    found = around_middle(224, (1.0373, -0.1171), (0.0913, 0.9311), (3.3, -7.7))
    assert [value.hex() for value in found[2::3]] == ["0x1.86538ef34d695p+3", "-0x1.4652bd3c36118p+3"]
