from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

from training.examination.metrics import Scored, areas, figures, intervals, patient_counts, patient_weights


def scored(labels: list[int], scores: list[float], patients: list[int] | None = None) -> Scored:
    values = np.array(scores, np.float64)
    return Scored(np.array(labels), values, values, np.array(patients or range(len(labels))))


def test_against_hand_values() -> None:
    #                 ranked: 0.9 ill, 0.8 well, 0.7 ill, 0.6 ill, 0.4 well, 0.2 ill, 0.1 well
    found = figures(scored([1, 0, 1, 1, 0, 1, 0], [0.9, 0.8, 0.7, 0.6, 0.4, 0.2, 0.1]), 0.5)
    # pairs ranked rightly: 0.9 beats 3 normals, 0.7 and 0.6 beat 2 each, 0.2 beats 1: 8 of 12
    assert found["auc"] == pytest.approx(8 / 12)
    # precision at each ill image: 1/1, 2/3, 3/4, 4/6
    assert found["average_precision"] == pytest.approx((1 + 2 / 3 + 3 / 4 + 4 / 6) / 4)
    assert found["sensitivity"] == pytest.approx(3 / 4)
    assert found["specificity"] == pytest.approx(2 / 3)
    assert found["balanced_accuracy"] == pytest.approx((3 / 4 + 2 / 3) / 2)
    assert found["precision"] == pytest.approx(3 / 4)
    assert found["accuracy"] == pytest.approx(5 / 7)
    assert found["brier"] == pytest.approx((0.01 + 0.64 + 0.09 + 0.16 + 0.16 + 0.64 + 0.01) / 7)


def test_ties_count_half_and_a_score_at_the_threshold_is_called() -> None:
    found = figures(scored([1, 0, 1, 0], [0.5, 0.5, 0.5, 0.5]), 0.5)
    assert found["auc"] == 0.5
    assert found["average_precision"] == 0.5
    assert (found["sensitivity"], found["specificity"]) == (1.0, 0.0)


def test_calibration_error_by_hand() -> None:
    # bin of 0.10: two images, one ill: |0.2 - 1| ; bin of 0.90: two images, both ill: |1.8 - 2|
    assert figures(scored([1, 0, 1, 1], [0.10, 0.10, 0.90, 0.90]), 0.5)["ece"] == pytest.approx((0.8 + 0.2) / 4)
    assert figures(scored([1, 0], [1.0, 0.0]), 0.5)["ece"] == 0.0


def test_weights_count_like_copies() -> None:
    rng = np.random.default_rng(3)
    labels, scores = rng.integers(0, 2, 40), rng.random(40).round(1)
    weights = rng.integers(0, 4, 40)
    copied = scored(list(np.repeat(labels, weights)), list(np.repeat(scores, weights)))
    weighted = figures(scored(list(labels), list(scores)), 0.5, weights.astype(float))
    for name, value in figures(copied, 0.5).items():
        assert weighted[name] == pytest.approx(value), name


@pytest.mark.parametrize(("label", "undefined"), [(1, {"auc", "specificity"}), (0, {"auc", "sensitivity"})])
def test_what_one_class_leaves_undefined_is_none_not_zero(label: int, undefined: set[str]) -> None:
    one = scored([label] * 3, [0.2, 0.6, 0.9])
    assert {name for name in undefined if math.isnan(figures(one, 0.5)[name])} == undefined
    found = intervals(one, 0.5, resamples=20)
    assert all(found[name].value is None and found[name].low is None for name in undefined)
    assert found["accuracy"].value is not None


def test_nothing_at_all() -> None:
    found = intervals(scored([], []), 0.5, resamples=5)
    assert all(interval.value is None for interval in found.values())


def test_patients_are_drawn_whole() -> None:
    patients = np.array([5, 5, 5, 7, 9, 9])
    for weights in patient_weights(patients, 50, seed=0):
        assert weights[0] == weights[1] == weights[2]
        assert weights[4] == weights[5]
        assert weights[0] + weights[3] + weights[4] == 3


def test_resamples_are_drawn_one_at_a_time_and_are_those_on_record() -> None:
    patients = np.repeat(np.arange(4000), 5)
    tracemalloc.start()
    try:
        total = sum(float(weights[0]) for weights in patient_weights(patients, 100, seed=0))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # one of them takes 160 KB, all of them 16 MB
    assert most < 2 << 20
    rng = np.random.default_rng(0)
    assert total == sum(float(rng.multinomial(4000, np.full(4000, 1 / 4000))[0]) for _ in range(100))


def test_patients_are_counted_as_they_are_drawn() -> None:
    counts = patient_counts(7, 20_000, np.random.default_rng(0))
    assert counts.shape == (20_000, 7)
    np.testing.assert_array_equal(counts.sum(axis=1), 7)
    # as in `patient_weights`: each a binomial of seven draws at one in seven, and the more of one the fewer of another
    np.testing.assert_allclose(counts.mean(axis=0), 1.0, atol=0.04)
    np.testing.assert_allclose(np.cov(counts.T), np.eye(7) - 1 / 7, atol=0.04)


def test_areas_of_many_weightings_at_once() -> None:
    ill, scores = np.array([True, False, True, False]), np.array([0.9, 0.4, 0.4, 0.1])
    weights = np.array([[1, 1, 1, 1], [2, 1, 1, 0], [0, 3, 1, 1], [1, 0, 1, 0], [0, 1, 0, 1]], np.float64)
    # of the third: one ill, tied with three of four well
    expected = [3.5 / 4, 2.5 / 3, 2.5 / 4, np.nan, np.nan]
    np.testing.assert_allclose(areas(ill, scores, weights), expected)


def test_intervals_hold_their_value_and_widen_when_images_share_patients() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(rng.integers(0, 2, 60), 5)
    scores = np.clip(np.repeat(rng.random(60), 5) * 0.6 + labels * 0.3, 0, 1)
    alone = intervals(scored(list(labels), list(scores)), 0.5, resamples=300)
    shared = intervals(scored(list(labels), list(scores), list(np.repeat(range(60), 5))), 0.5, resamples=300)
    for name, found in shared.items():
        assert found.low <= found.value <= found.high, name
    assert shared["auc"].high - shared["auc"].low > 1.5 * (alone["auc"].high - alone["auc"].low)
    assert shared == intervals(scored(list(labels), list(scores), list(np.repeat(range(60), 5))), 0.5, resamples=300)


@pytest.mark.parametrize("images", [1, 3, 30, 300])
def test_the_calibration_error_lies_within_its_interval(images: int) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        probabilities = rng.beta(0.3, 0.1, images)
        # rightly calibrated, and nearly so with one patient of many images who is not
        for labels in (rng.random(images) < probabilities, probabilities > 0.5):
            data = Scored(labels.astype(np.int64), probabilities, probabilities, rng.integers(0, images, images))
            found = intervals(data, 0.5, ("ece",), resamples=100, seed=seed)["ece"]
            assert found.low <= found.value <= found.high, (seed, found)
