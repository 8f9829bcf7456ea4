from __future__ import annotations

import numpy as np
import pytest

from training.errors import FitFailed
from training.examination import operating_point
from training.examination.metrics import Scored
from training.examination.operating_point import band_around, binomial_lower_bound, choose, sensitivity_lower_bound


def scored(labels: np.ndarray, scores: np.ndarray, patients: np.ndarray | None = None) -> Scored:
    return Scored(labels, scores, scores, np.arange(len(labels)) if patients is None else patients)


@pytest.mark.parametrize(
    ("hits", "trials", "bound"),
    [
        # nobody missed: the solution of p**n = 0.05
        (100, 100, 0.05 ** (1 / 100)),
        (268, 268, 0.05 ** (1 / 268)),
        # Clopper and Pearson's tables, one-sided 95 %
        (9, 10, 0.6058),
        (95, 100, 0.8977),
        (0, 10, 0.0),
    ],
)
def test_the_exact_bound(hits: int, trials: int, bound: float) -> None:
    assert binomial_lower_bound(hits, trials) == pytest.approx(bound, abs=1e-3)


def test_the_bound_counts_patients_and_not_images() -> None:
    # ten patients of ten images; one patient is missed on every image
    scores = np.repeat([0.9] * 9 + [0.1], 10)
    patients = np.repeat(np.arange(10), 10)
    ill = scored(np.ones(100, np.int64), scores, patients)
    assert sensitivity_lower_bound(ill, 0.5) == pytest.approx(binomial_lower_bound(9, 10), abs=1e-9)
    assert sensitivity_lower_bound(ill, 0.5) < binomial_lower_bound(90, 100)


def example(ill: int = 300, well: int = 200) -> Scored:
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.beta(8, 2, ill), rng.beta(2, 5, well)])
    return scored(np.repeat([1, 0], [ill, well]), scores)


def test_the_highest_threshold_that_assures_the_sensitivity() -> None:
    data = example()
    point, band = choose(data)
    ill = data.only(data.labels == 1)
    assert sensitivity_lower_bound(ill, point.threshold) >= 0.97
    assert point.sensitivity_lower_bound == pytest.approx(sensitivity_lower_bound(ill, point.threshold), abs=1e-5)
    # one ill image more above the threshold would be one too many
    following = np.sort(ill.scores[ill.scores >= point.threshold])[1]
    assert sensitivity_lower_bound(ill, float(following)) < 0.97
    # no score lies on it, so rounding elsewhere changes no outcome
    assert np.abs(data.scores - point.threshold).min() > 1e-6
    assert band == band_around(point.threshold, data.scores)
    assert (point.patients, point.images) == (500, 500)
    assert point.specificity.value == pytest.approx(np.mean(data.scores[data.labels == 0] < point.threshold), abs=1e-5)


def looking_at_each(data: Scored, required: float) -> tuple[float, float] | None:
    """Choose as the rule says, threshold by threshold from the highest down."""
    ill, values = data.only(data.labels == 1), np.unique(data.scores)
    for value in np.unique(ill.scores)[::-1]:
        below = values[values < value]
        threshold = float(value + below[-1]) / 2 if len(below) else float(value) / 2
        bound = sensitivity_lower_bound(ill, threshold)
        if np.mean(ill.scores >= value) >= required and bound >= required and threshold > 0:
            return threshold, bound
    return None


@pytest.mark.parametrize("seed", range(12))
def test_halving_finds_what_looking_at_each_finds(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operating_point, "_RESAMPLES", 100)
    rng = np.random.default_rng(seed)
    # few distinct scores and so many ties; patients of several images, who fail together
    count, digits = int(rng.integers(60, 120)), int(rng.integers(1, 4))
    labels, patients = rng.integers(0, 2, count), rng.integers(0, 50, count)
    luck = rng.random(50)[patients]
    data = scored(labels, np.round(np.clip(0.5 * luck + rng.random(count) / 2 + 0.2 * labels, 0, 1), digits), patients)
    for required in (0.5, 0.7, 0.8, 0.9):
        expected = looking_at_each(data, required)
        try:
            point, _ = choose(data, required)
        except FitFailed:
            assert expected is None
        else:
            assert expected == (point.threshold, pytest.approx(point.sensitivity_lower_bound, abs=6e-6))


def test_few_bounds_are_worked_out_for_many_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def counting(ill: Scored, threshold: float, confidence: float) -> float:
        asked.append(threshold)
        return sensitivity_lower_bound(ill, threshold, confidence)

    monkeypatch.setattr(operating_point, "_RESAMPLES", 20)
    monkeypatch.setattr(operating_point, "sensitivity_lower_bound", counting)
    choose(example(ill=2000), required=0.5)
    # a thousand thresholds reach the share
    assert len(asked) <= 12


def test_either_side_of_the_threshold_may_be_uncertain() -> None:
    data = example()
    point, band = choose(data)
    assert band.low < point.threshold < band.high
    # 5 % of 500 images a side
    assert np.sum((data.scores >= band.low) & (data.scores < point.threshold)) == 25
    assert np.sum((data.scores >= point.threshold) & (data.scores < band.high)) == 25
    assert np.abs(data.scores - band.low).min() > 0
    assert np.abs(data.scores - band.high).min() > 0


def test_the_band_is_the_same_on_any_scale_of_the_score() -> None:
    scores = example().scores
    band, squared = band_around(0.4, scores), band_around(0.16, scores**2)
    within = (scores >= band.low) & (scores < band.high)
    assert list(within) == list((scores**2 >= squared.low) & (scores**2 < squared.high))


@pytest.mark.parametrize(
    ("scores", "low", "high"),
    [
        # the nearest on either side, up to halfway to the next
        ([0.1, 0.2, 0.4, 0.6, 0.8, 0.9], 0.3, 0.7),
        # equal scores are not torn apart
        ([0.1, 0.4, 0.4, 0.4, 0.6, 0.6, 0.9], 0.25, 0.75),
        # nobody further out, nobody at all
        ([0.4, 0.6], 0.2, 0.8),
        ([0.6, 0.8], 0.25, 0.7),
        ([0.2, 0.4], 0.3, 0.75),
    ],
)
def test_where_the_band_ends(scores: list[float], low: float, high: float) -> None:
    band = band_around(0.5, np.array(scores))
    assert (band.low, band.high) == pytest.approx((low, high))


def test_a_threshold_that_calls_everything_is_none() -> None:
    everything = scored(np.repeat([1, 0], [200, 50]), np.zeros(250))
    with pytest.raises(FitFailed, match="no threshold"):
        choose(everything)


def test_less_required_costs_less() -> None:
    assert choose(example(), required=0.8)[0].threshold > choose(example(), required=0.97)[0].threshold


def test_too_few_patients_are_told_how_many_are_needed() -> None:
    # 0.97**n <= 0.05 from n = 99 on
    with pytest.raises(FitFailed, match=r"too few .*\(98\).*at least 99"):
        choose(example(ill=98))
    assert choose(example(ill=99))[0].sensitivity.value == 1.0


@pytest.mark.parametrize(("ill", "well"), [(0, 10), (200, 0)])
def test_one_class_is_refused(ill: int, well: int) -> None:
    with pytest.raises(FitFailed, match="both classes"):
        choose(example(ill, well))
