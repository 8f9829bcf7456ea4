from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.datasets.styles import draw, frames, sampling, styles


def framed(bright_side: int, seed: int) -> NDArray[np.uint16]:
    grey = np.random.default_rng(seed).integers(20_000, 30_000, (56, 56))
    grey = np.rot90(grey, bright_side).copy()
    edge = np.zeros((56, 56), bool)
    edge[:6] = True
    grey[np.rot90(edge, bright_side)] = 60_000
    return grey.astype(np.uint16)


def test_groups_are_those_of_the_frame() -> None:
    sides = np.array([0] * 12 + [1] * 9 + [2] * 6 + [3] * 3)
    squares = np.stack([framed(int(side), seed) for seed, side in enumerate(sides)])
    found = styles(frames(squares), 4)
    # the largest group comes first
    np.testing.assert_array_equal(found, sides)
    np.testing.assert_array_equal(found, styles(frames(squares), 4))


def test_the_middle_tells_nothing() -> None:
    squares = np.stack([framed(seed % 2, seed) for seed in range(10)])
    changed = squares.copy()
    changed[:, 20:36, 20:36] = changed[:, 20:36, 20:36][:, ::-1]
    np.testing.assert_allclose(frames(squares), frames(changed))


def test_fewer_images_than_groups() -> None:
    assert set(styles(frames(np.stack([framed(0, 0), framed(1, 1)])), 6)) <= {0, 1}


def test_classes_and_styles_weigh_alike() -> None:
    labels = np.array([0] * 40 + [1] * 120)
    groups = np.array([0] * 30 + [1] * 10 + [0] * 60 + [1] * 60)
    patients = np.arange(160)
    weights = sampling(labels, groups, patients)
    assert np.isclose(weights.sum(), 1)
    for label in (0, 1):
        for group in (0, 1):
            # cell by cell a quarter, unless that would draw a few images again and again
            share = weights[(labels == label) & (groups == group)].sum()
            assert np.isclose(share, 0.25), (label, group)


def test_a_rare_cell_is_not_drawn_again_and_again() -> None:
    labels = np.array([0] * 100 + [1] * 100)
    groups = np.array([0] * 98 + [1] * 2 + [0] * 50 + [1] * 50)
    weights = sampling(labels, groups, np.arange(200))
    assert np.isclose(weights[98:100], 4 / 200).all()
    assert np.isclose(weights[:100].sum(), 0.5)


def test_a_patient_of_many_images_counts_less_by_image() -> None:
    patients = np.array([0, 1, 2, 3] + [4] * 16)
    weights = sampling(np.array([0, 1] * 10), np.zeros(20, np.int64), patients)
    assert np.isclose(weights[4] / weights[0], 1 / 4)


def test_draws_follow_the_weights() -> None:
    weights = np.array([1, 1, 2, 4], np.float64).repeat(25)
    weights /= weights.sum()
    drawn = draw(weights, np.random.default_rng(0))
    counts = np.bincount(drawn, minlength=100)
    assert len(drawn) == 100
    assert np.abs(counts - weights * 100).max() < 1 + 1e-9
    np.testing.assert_array_equal(drawn, draw(weights, np.random.default_rng(0)))
    assert not np.array_equal(drawn, draw(weights, np.random.default_rng(1)))
