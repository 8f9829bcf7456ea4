from __future__ import annotations

import numpy as np

from training.comparison.shaking import shake

PLANE = np.linspace(0.2, 1, 64 * 64, dtype=np.float32).reshape(64, 64)


def test_an_image_is_changed_as_the_seed_says() -> None:
    shaken = [shake(PLANE, np.random.default_rng(seed)) for seed in (0, 1, 0)]
    assert (shaken[0].shape, shaken[0].dtype) == (PLANE.shape, np.float32)
    np.testing.assert_array_equal(shaken[0], shaken[2])
    assert np.abs(shaken[0] - shaken[1]).max() > 0.05
    for one in shaken:
        assert one.min() >= 0
        assert one.max() <= 1


def test_the_middle_stays_near_the_middle() -> None:
    spot = np.zeros((64, 64), np.float32)
    spot[30:34, 30:34] = 1
    for seed in range(50):
        found = np.argwhere(shake(spot, np.random.default_rng(seed)) > 0.3).mean(axis=0)
        assert np.abs(found - 31.5).max() < 9


def test_half_are_mirrored() -> None:
    left = np.zeros((64, 64), np.float32)
    left[:, :32] = 1
    sides = [shake(left, np.random.default_rng(seed))[32, 10] > 0.5 for seed in range(200)]
    assert 70 < sum(sides) < 130
