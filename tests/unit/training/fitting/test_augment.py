from __future__ import annotations

import numpy as np

from training.fitting.augment import augment


def test_changes_stay_in_range_and_repeat_with_the_seed() -> None:
    rng = np.random.default_rng(0)
    plane, other = rng.random((2, 64, 64), np.float32)
    before = plane.copy()
    for seed in range(40):
        changed = augment(plane, other, np.random.default_rng(seed))
        assert changed.shape == plane.shape
        assert changed.dtype == np.float32
        assert 0 <= changed.min() <= changed.max() <= 1
        np.testing.assert_array_equal(changed, augment(plane, other, np.random.default_rng(seed)))
        assert not np.array_equal(changed, plane)
    np.testing.assert_array_equal(plane, before)


def test_left_stays_left() -> None:
    # the heart lies on one side: a bright left half is brighter on the left whatever is done to it
    plane = np.full((64, 64), 0.2, np.float32)
    plane[:, :32] = 0.8
    other = np.full((64, 64), 0.5, np.float32)
    for seed in range(40):
        changed = augment(plane, other, np.random.default_rng(seed))
        assert changed[16:48, 12:28].mean() > changed[16:48, 36:52].mean() + 0.1
