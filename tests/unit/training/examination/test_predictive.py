from __future__ import annotations

import numpy as np
import pytest

from training.examination.metrics import Scored
from training.examination.predictive import predictive_values


def made(labels: list[int], scores: list[float], patients: list[int] | None = None) -> Scored:
    values = np.array(scores)
    return Scored(np.array(labels), values, values, np.array(patients or range(len(labels))))


def test_by_hand() -> None:
    # sensitivity 0.8, specificity 0.75
    scored = made([1] * 5 + [0] * 4, [0.9, 0.9, 0.9, 0.9, 0.1, 0.9, 0.1, 0.1, 0.1])
    five, ten, twenty = predictive_values(scored, 0.5, resamples=50)
    assert [found.prevalence for found in (five, ten, twenty)] == [0.05, 0.1, 0.2]
    assert five.ppv.value == pytest.approx(0.04 / (0.04 + 0.2375), abs=1e-5)
    assert ten.ppv.value == pytest.approx(0.08 / (0.08 + 0.225), abs=1e-5)
    assert twenty.npv.value == pytest.approx(0.6 / (0.6 + 0.04), abs=1e-5)
    for found in (five, ten, twenty):
        for interval in (found.ppv, found.npv):
            assert interval.low is not None
            assert interval.low < interval.value < interval.high


def test_images_of_one_patient_are_drawn_together() -> None:
    labels, scores = [1] * 40 + [0] * 40, [0.9] * 30 + [0.1] * 10 + [0.9] * 10 + [0.1] * 30
    apart = predictive_values(made(labels, scores), 0.5)[0].ppv
    together = predictive_values(made(labels, scores, [number // 10 for number in range(80)]), 0.5)[0].ppv
    assert together.value == apart.value
    assert together.high - together.low > 1.3 * (apart.high - apart.low)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_alone_has_none(label: int) -> None:
    (found, *_) = predictive_values(made([label] * 3, [0.1, 0.2, 0.9]), 0.5, resamples=5)
    assert (found.ppv.value, found.npv.value) == (None, None)


def test_nobody_called_leaves_the_positive_value_undefined() -> None:
    (found, *_) = predictive_values(made([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.3]), 0.5, resamples=20)
    assert found.ppv.value is None
    assert found.npv.value == pytest.approx(0.95)
