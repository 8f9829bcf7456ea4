from __future__ import annotations

import numpy as np
import pytest

from bundle.calibration import expit, probability
from training.errors import FitFailed
from training.examination.calibrate import platt


def test_a_known_distortion_is_undone() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 2, 20_000)
    labels = (rng.random(20_000) < 1 / (1 + np.exp(-truth))).astype(np.int64)
    # log-odds doubled and shifted: slope 1/2 and intercept -1/2 undo it
    scores = np.array([expit(value) for value in 2 * truth + 1])
    found = platt(labels, scores)
    assert found.slope == pytest.approx(0.5, abs=0.02)
    assert found.intercept == pytest.approx(-0.5, abs=0.05)
    assert found.training_prevalence == labels.mean()


def test_the_mean_probability_is_the_prevalence() -> None:
    rng = np.random.default_rng(1)
    labels = (rng.random(2000) < 0.7).astype(np.int64)
    scores = np.clip(0.3 * labels + 0.7 * rng.random(2000), 0, 1)
    found = platt(labels, scores)
    mean = np.mean([probability(float(score), found, None).probability for score in scores])
    assert mean == pytest.approx(labels.mean(), abs=0.005)


def test_classes_that_separate_perfectly_keep_a_finite_slope() -> None:
    found = platt(np.array([0, 0, 0, 1, 1, 1]), np.array([0.0, 0.1, 0.2, 0.8, 0.9, 1.0]))
    assert 0 < found.slope < 100


@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1, 1]])
def test_one_class_cannot_be_calibrated(labels: list[int]) -> None:
    with pytest.raises(FitFailed, match="both classes"):
        platt(np.array(labels), np.array([0.1, 0.5, 0.9]))


def test_a_model_that_ranks_backwards_is_refused() -> None:
    with pytest.raises(FitFailed, match="do not mean more pneumonia"):
        platt(np.array([1, 1, 1, 0, 0, 0]), np.array([0.1, 0.2, 0.3, 0.7, 0.8, 0.9]))
