from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from training.fitting import disguise
from training.fitting.disguise import compressed, gaussian, shrink, without_middle

SIDE = 112


def square(seed: int) -> NDArray[np.uint16]:
    rng = np.random.default_rng(seed)
    coarse = np.kron(rng.integers(5_000, 50_000, (14, 14)), np.ones((8, 8)))
    return (coarse + rng.integers(0, 5_000, (SIDE, SIDE))).astype(np.uint16)


def sharpness(plane: NDArray[np.float32]) -> float:
    return float(np.abs(np.diff(plane, axis=0)).mean() + np.abs(np.diff(plane, axis=1)).mean())


def test_changes_stay_in_range_and_repeat_with_the_seed() -> None:
    own, other = square(0), square(1)
    before = own.copy()
    plain = shrink(own, 64, 0.05)
    for seed in range(60):
        changed = disguise.disguise(own, other, 64, 0.05, np.random.default_rng(seed))
        assert (changed.shape, changed.dtype) == ((64, 64), np.float32)
        assert 0 <= changed.min() <= changed.max() <= 1
        np.testing.assert_array_equal(changed, disguise.disguise(own, other, 64, 0.05, np.random.default_rng(seed)))
        assert not np.array_equal(changed, plain)
    np.testing.assert_array_equal(own, before)


def test_left_stays_left_and_up_stays_up() -> None:
    own = np.full((SIDE, SIDE), 10_000, np.uint16)
    own[:, : SIDE // 2] += 25_000
    own[: SIDE // 2] += 25_000
    other = np.full((SIDE, SIDE), 30_000, np.uint16)
    for seed in range(60):
        changed = disguise.disguise(own, other, 64, 0.05, np.random.default_rng(seed))
        quarters = {
            (down, across): np.median(changed[down : down + 10, across : across + 10])
            for down in (16, 38)
            for across in (16, 38)
        }
        assert quarters[16, 16] > quarters[38, 38]


def test_without_change_the_warp_is_the_crop() -> None:
    class Middle:
        """Chance that always takes the middle."""

        def uniform(self, low: float, high: float, count: int | None = None) -> float | NDArray[np.float64]:
            middle = np.mean(np.array([low, high]), axis=0)
            return float(middle) if count is None else np.full(count, middle)

    own = square(0)
    warped = disguise._warp(own, 64, 0.05, Middle())  # type: ignore[arg-type] # chance we can foresee
    scale = float(np.exp(np.mean(np.log((0.7, 1.2)))))
    same = disguise.shrink(own, 64, (1 - 0.9 / scale) / 2)
    assert np.abs(warped - same).mean() < 0.03


def test_the_spectrum_of_another_brings_its_sharpness_and_leaves_the_anatomy() -> None:
    sharp = shrink(square(0), 64, 0.0)
    soft = gaussian(shrink(square(1), 64, 0.0), 2.0)
    taken = disguise._spectrum(sharp, soft, 1.0)
    assert sharpness(taken) < 0.7 * sharpness(sharp)
    assert sharpness(disguise._spectrum(soft, sharp, 1.0)) > 1.3 * sharpness(soft)
    np.testing.assert_allclose(gaussian(taken, 8.0), gaussian(sharp, 8.0), atol=0.02)
    np.testing.assert_allclose(disguise._spectrum(sharp, sharp, 1.0), sharp, atol=1e-5)


def test_a_frame_comes_from_the_other_and_the_middle_stays() -> None:
    own, lender = np.full((64, 64), 0.25, np.float32), np.full((64, 64), 0.75, np.float32)
    borrowed = 0
    for seed in range(50):
        framed = disguise._frame(own, lender, np.random.default_rng(seed))
        assert (framed[12:52, 12:52] == 0.25).all()
        borrowed += bool((framed == 0.75).any())
    assert 15 <= borrowed <= 35


@pytest.mark.parametrize("change", [disguise.blur, disguise.resample])
def test_blurs_blur(change: object) -> None:
    plane = shrink(square(0), 64, 0.0)
    assert callable(change)
    assert sharpness(change(plane, np.random.default_rng(1))) < sharpness(plane)


def test_compression_costs_more_at_low_quality() -> None:
    plane = shrink(square(0), 64, 0.0)
    lost = [float(np.abs(compressed(plane, quality) - plane).mean()) for quality in (95, 60, 20)]
    assert lost == sorted(lost)
    assert lost[0] < 0.02


def test_the_hollow_image_keeps_a_frame_only() -> None:
    plane = shrink(square(0), 64, 0.0)
    hollow = without_middle(plane, np.random.default_rng(0))
    np.testing.assert_array_equal(hollow[:5], plane[:5])
    assert (hollow[13:51, 13:51] == plane.mean()).all()
