from __future__ import annotations

import numpy as np
import pytest

from training.comparison.judging import ARGMAX, judge
from training.comparison.protocols import Fold
from training.comparison.record import Parameters, Result
from training.datasets.dataset import Item
from training.examination import operating_point

COUNT = 1_200
RNG = np.random.default_rng(1)
ILL = RNG.random(COUNT) < 0.7
# two images a patient
TRUTH = ILL[np.arange(COUNT) - np.arange(COUNT) % 2]
SCORES = 1 / (1 + np.exp(-(RNG.normal(0, 1.5, COUNT) + np.where(TRUTH, 3.5, -1.0))))
ITEMS = tuple(
    Item(f"{row}", f"{row}", "PNEUMONIA" if TRUTH[row] else "NORMAL", None, f"p{row // 2}", None)
    for row in range(COUNT)
)
LABELS = np.array([item.label == "PNEUMONIA" for item in ITEMS])
NONE = np.empty(0, np.int64)


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """How sure a lower bound is has tests of its own; here it takes seconds."""
    monkeypatch.setattr(operating_point, "_RESAMPLES", 50)


def result(fold: Fold) -> Result:
    tuned, scored = (tuple(float(value) for value in SCORES[rows]) for rows in (fold.tune, fold.scored))
    return Result((), tuned, scored, 1.0, 2.0, 0.0, 0.0, 1, Parameters(1, 1, 0), ())


def judged(*folds: Fold, required: float = 0.5, resamples: int = 30):  # noqa: ANN201
    return judge(ITEMS, folds, [result(fold) for fold in folds], required, resamples)


def rows(start: int, stop: int) -> np.ndarray:
    return np.arange(start, stop, dtype=np.int64)


def test_argmax_is_the_notebooks() -> None:
    found = judged(Fold("one", rows(0, 10), rows(10, 500), rows(500, COUNT))).argmax
    # two equal columns are NORMAL, the first; so one half is not called
    assert ARGMAX > 0.5
    called = SCORES[500:] > 0.5
    assert found.metrics["accuracy"].value == pytest.approx((called == LABELS[500:]).mean(), abs=1e-5)
    assert found.confusion.true_positive == (called & LABELS[500:]).sum()
    assert found.confusion.false_positive == (called & ~LABELS[500:]).sum()
    counts = found.confusion
    assert counts.true_negative + counts.false_positive + counts.false_negative + counts.true_positive == 700


def test_the_operating_point_comes_from_the_tuned_patients_alone() -> None:
    tune, scored = rows(0, 600), rows(600, COUNT)
    found = judged(Fold("one", NONE, tune, scored)).chosen
    assert found is not None
    (threshold,) = found.thresholds
    assert found.metrics["sensitivity"].value == pytest.approx(
        (SCORES[scored] >= threshold)[LABELS[scored]].mean(), abs=1e-3
    )
    # other scored images, the same threshold
    other = judged(Fold("one", NONE, tune, rows(700, 900))).chosen
    assert other is not None
    assert other.thresholds == found.thresholds


def test_without_tuned_patients_each_half_is_judged_by_the_other() -> None:
    found = judged(Fold("seed", rows(0, 10), NONE, rows(10, COUNT))).chosen
    assert found is not None
    assert len(found.thresholds) == 2
    assert set(found.metrics) == set(judged(Fold("one", NONE, rows(0, 600), rows(600, COUNT))).argmax.metrics)


def test_folds_are_averaged_and_their_spread_is_told() -> None:
    folds = [Fold(f"{start}", NONE, rows(0, 300), rows(start, start + 300)) for start in (300, 600, 900)]
    together = judged(*folds).argmax
    alone = [judged(fold).argmax.metrics["auc"].value for fold in folds]
    assert together.metrics["auc"].value == pytest.approx(np.mean(alone), abs=1e-4)
    assert together.spread["auc"] == (pytest.approx(min(alone)), pytest.approx(max(alone)))
    assert [division.metrics["auc"].value for division in together.divisions] == alone
    assert together.metrics["auc"].low < together.metrics["auc"].value < together.metrics["auc"].high


def test_why_there_is_no_operating_point_is_told_and_the_rest_stands() -> None:
    found = judged(Fold("one", NONE, rows(0, 40), rows(40, COUNT)), required=0.97)
    assert found.chosen is None
    assert "too few validation patients" in str(found.reason)
    assert found.argmax.metrics["auc"].value > 0.9
