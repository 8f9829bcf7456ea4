from __future__ import annotations

import math

import numpy as np
import pytest

from training.examination.metrics import CALIBRATION_NAMES, NAMES, Scored, figures, intervals
from training.examination.reliability import bins_of, calibration_figures

RNG = np.random.default_rng(7)
SHARES = RNG.beta(0.7, 0.4, 60).round(3)
ILL = RNG.random(60) < SHARES**1.4


def of(ill: list[int], probabilities: list[float], weights: list[float] | None = None) -> dict[str, float]:
    return calibration_figures(
        np.array(ill) == 1, np.array(probabilities, np.float64), np.array(weights or [1.0] * len(ill))
    )


def test_against_scikit_learn() -> None:
    found = calibration_figures(ILL, SHARES, np.ones(60))
    # LogisticRegression without penalty on the log-odds, and log_loss, of scikit-learn 1.9.1
    assert found["calibration_slope"] == pytest.approx(1.9967948, abs=1e-6)
    assert found["log_loss"] == pytest.approx(0.26878342719175774, abs=1e-12)


def test_what_is_rightly_calibrated_has_slope_one_and_intercept_nought() -> None:
    # of 10 at 0.2 two are ill, of 10 at 0.8 eight
    ill = [1] * 2 + [0] * 8 + [1] * 8 + [0] * 2
    found = of(ill, [0.2] * 10 + [0.8] * 10)
    assert found["calibration_slope"] == pytest.approx(1.0)
    assert found["calibration_intercept"] == pytest.approx(0.0, abs=1e-9)
    assert found["log_loss"] == pytest.approx(-(0.8 * math.log(0.8) + 0.2 * math.log(0.2)))
    assert found["ece_debiased"] == 0.0
    # too sure by a factor of two on the log-odds
    sure = [1 / (1 + math.exp(-2 * math.log(p / (1 - p)))) for p in [0.2] * 10 + [0.8] * 10]
    assert of(ill, sure)["calibration_slope"] == pytest.approx(0.5)


def test_what_chance_adds_to_the_calibration_error_is_taken_off() -> None:
    plain, debiased = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        probabilities = rng.random(150)
        ill = rng.random(150) < probabilities
        scored = Scored(ill.astype(np.int64), probabilities, probabilities, np.arange(150))
        found = figures(scored, 0.5, names=(*NAMES, *CALIBRATION_NAMES))
        plain.append(found["ece"])
        debiased.append(found["ece_debiased"])
    # the truth is 0; the plain figure finds a tenth
    assert np.mean(plain) > 0.09
    # one step takes off two fifths of what is chance alone, and all of it only where the truth is far from 0
    assert np.mean(debiased) < 0.65 * np.mean(plain)


def test_a_gap_too_large_for_chance_stays() -> None:
    assert of([0] * 50, [0.9] * 50)["ece_debiased"] == pytest.approx(0.9)


@pytest.mark.parametrize("ill", [[0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]])
def test_no_slope_where_classes_are_separated_or_missing(ill: list[int]) -> None:
    found = of(ill, [0.1, 0.2, 0.7, 0.9])
    assert math.isnan(found["calibration_slope"])
    assert math.isfinite(found["log_loss"])


def test_weights_count_like_copies_and_nothing_is_nan() -> None:
    weights = np.random.default_rng(0).integers(0, 4, 60)
    copied = calibration_figures(np.repeat(ILL, weights), np.repeat(SHARES, weights), np.ones(int(weights.sum())))
    for name, value in calibration_figures(ILL, SHARES, weights.astype(float)).items():
        assert value == pytest.approx(copied[name], abs=1e-6), name
    assert all(math.isnan(value) for value in of([], []).values())


def test_scores_of_exactly_nought_and_one_stay_finite() -> None:
    found = of([0, 1, 1, 0], [0.0, 1.0, 0.0, 1.0])
    assert found["log_loss"] == pytest.approx(-(math.log(1e-7) + math.log1p(-1e-7)) / 2)
    assert list(bins_of(np.array([0.0, 0.999, 1.0]))) == [0, 14, 14]


def test_intervals_hold_their_value() -> None:
    scored = Scored(ILL.astype(np.int64), SHARES, SHARES, np.arange(60) // 2)
    found = intervals(scored, np.full(60, 0.5), CALIBRATION_NAMES, resamples=100)
    assert set(found) == set(CALIBRATION_NAMES)
    for name, interval in found.items():
        assert interval.value is not None, name
        assert interval.low <= interval.value <= interval.high, name
