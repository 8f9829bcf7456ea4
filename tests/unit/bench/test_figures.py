from __future__ import annotations

import pytest

from bench.figures import Spread, percentile, spread


@pytest.mark.parametrize(
    ("values", "expected"),
    [([3.0], Spread(3, 3, 3)), ([5.0, 1.0, 2.0], Spread(2, 1, 5)), ([4.0, 1.0, 2.0, 3.0], Spread(2.5, 1, 4))],
)
def test_a_spread_is_median_least_and_most(values: list[float], expected: Spread) -> None:
    assert spread(values) == expected


@pytest.mark.parametrize(
    ("count", "share", "expected"), [(100, 0.95, 95), (20, 0.95, 19), (10, 0.95, 10), (1, 0.95, 1), (4, 0.5, 2)]
)
def test_a_percentile_is_one_of_the_values(count: int, share: float, expected: int) -> None:
    assert percentile(range(count, 0, -1), share) == expected


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 0), ([1.0], 1.1)])
def test_there_is_no_percentile_of_nothing(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="no percentile"):
        percentile(values, share)


def test_there_is_no_median_of_nothing() -> None:
    with pytest.raises(ValueError, match="no values"):
        spread([])
