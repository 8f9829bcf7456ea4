from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.factories.exams import exam
from training.examination.metrics import CALIBRATION_NAMES, Scored, figures, patient_counts
from training.nightly.gate.exam import Exam
from training.nightly.gate.redrawn import Figure, redraw

RESAMPLES = 25
NAMES = {
    Figure.AUC: "auc",
    Figure.SENSITIVITY: "sensitivity",
    Figure.SPECIFICITY: "specificity",
    Figure.LOG_LOSS: "log_loss",
    Figure.SLOPE: "calibration_slope",
}


@pytest.fixture(scope="module")
def given() -> Exam:
    made = exam(120, images=4)
    # with ties, across the classes too
    champion = replace(made.champion, scores=made.champion.scores.round(2), threshold=0.31)
    member = np.arange(len(made.test)) % 3 == 0
    return replace(made, test=replace(made.test, subgroups={"third": member}), champion=champion, anchor=champion)


def test_every_figure_is_that_of_the_metrics_module(given: Exam) -> None:
    numbers = given.test.numbers
    counts = patient_counts(int(numbers.max()) + 1, RESAMPLES, np.random.default_rng(3))
    models = (given.champion, given.challenger)
    drawn = redraw(given.test, models, RESAMPLES, np.random.default_rng(3))
    for model, found in zip(models, drawn, strict=True):
        scored = Scored(given.test.labels, model.scores, model.probabilities, numbers)
        for row, weights in enumerate([np.ones(len(numbers)), *(one[numbers] for one in counts)]):
            expected = figures(scored, model.threshold, weights, CALIBRATION_NAMES)
            for figure in (Figure.AUC, Figure.SENSITIVITY, Figure.SPECIFICITY, Figure.LOG_LOSS):
                assert found[figure, ""][row] == pytest.approx(expected[NAMES[figure]], abs=1e-12), (figure, row)
        third = figures(scored.only(given.test.subgroups["third"]), model.threshold)
        assert found[Figure.SENSITIVITY, "third"][0] == pytest.approx(third["sensitivity"])
        assert found[Figure.SPECIFICITY, "third"][0] == pytest.approx(third["specificity"])


def test_slopes_are_those_of_the_reliability_module_and_of_the_first_model_alone(given: Exam) -> None:
    numbers = given.test.numbers
    counts = patient_counts(int(numbers.max()) + 1, RESAMPLES, np.random.default_rng(3))
    mine, theirs = redraw(given.test, (given.champion, given.challenger), RESAMPLES, np.random.default_rng(3))
    scored = Scored(given.test.labels, given.champion.scores, given.champion.probabilities, numbers)
    expected = [figures(scored, 0.5, one[numbers], CALIBRATION_NAMES)["calibration_slope"] for one in counts]
    assert np.std(expected) > 0.05
    np.testing.assert_allclose(mine[Figure.SLOPE, ""][1:], expected, atol=1e-3)
    assert (Figure.SLOPE, "") not in theirs


def test_patients_and_pairs_are_drawn_whole(given: Exam) -> None:
    twice = redraw(given.test, (given.champion, given.champion), RESAMPLES, np.random.default_rng(0))
    for key, values in twice[1].items():
        np.testing.assert_array_equal(values, twice[0][key])
    # every image of every patient twice changes nothing; were images drawn, it would
    double = np.repeat(np.arange(len(given.test)), 2)
    test = replace(
        given.test,
        labels=given.test.labels[double],
        patients=tuple(given.test.patients[row] for row in double),
        subgroups={},
    )
    model = replace(
        given.champion, scores=given.champion.scores[double], probabilities=given.champion.probabilities[double]
    )
    (found,) = redraw(test, (model,), RESAMPLES, np.random.default_rng(0))
    np.testing.assert_allclose(found[Figure.AUC, ""], twice[0][Figure.AUC, ""])


def test_how_many_are_drawn_at_once_changes_nothing(given: Exam, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = redraw(given.test, (given.champion,), RESAMPLES, np.random.default_rng(0))
    monkeypatch.setattr("training.nightly.gate.redrawn._AT_ONCE", 4 * len(given.test))
    parts = redraw(given.test, (given.champion,), RESAMPLES, np.random.default_rng(0))
    for key, values in whole[0].items():
        np.testing.assert_allclose(parts[0][key], values, atol=1e-12)


def test_a_class_that_was_not_drawn_is_no_figure() -> None:
    made = exam(2, well=40)
    (found,) = redraw(made.test, (made.champion,), 200, np.random.default_rng(0))
    missing = np.isnan(found[Figure.SENSITIVITY, ""])
    assert 0.05 < missing.mean() < 0.35
    np.testing.assert_array_equal(np.isnan(found[Figure.AUC, ""]), missing)
    assert not np.isnan(found[Figure.LOG_LOSS, ""]).any()
