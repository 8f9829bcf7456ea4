from __future__ import annotations

import numpy as np
import pytest

from core.settings import Settings
from training.nightly.drift.result import Statistic
from training.nightly.drift.rules import rules_of
from training.nightly.drift.sizes import (
    FLOOR,
    Bounds,
    Sample,
    chi_square,
    h,
    largest_distance,
    quantile_edges,
    share_at,
    shares,
    stability_index,
    steadied,
)

RULES = rules_of(Settings())


def of(*patients: int) -> Sample:
    return Sample(np.zeros(len(patients)), np.array(patients, np.int64))


def test_images_of_one_patient_tell_less_than_patients_would() -> None:
    assert of(1, 2, 3).worth == 3
    assert of(1, 1, 1).worth == 1
    # 4 images, of two patients with one and one with two: 16 / 6
    assert of(1, 1, 2, 3).worth == pytest.approx(16 / 6)
    assert of().worth == 0


def test_the_stability_index_by_hand() -> None:
    before, now = np.array([0.5, 0.5]), np.array([0.6, 0.4])
    assert stability_index(before, now) == pytest.approx(0.1 * np.log(1.2) - 0.1 * np.log(0.8))
    assert stability_index(before, before) == 0
    # nothing before: the floor stands for it
    assert stability_index(np.array([1.0, 0.0]), np.array([0.9, 0.1])) == pytest.approx(
        (0.9 - 1) * np.log(0.9) + (0.1 - FLOOR) * np.log(0.1 / FLOOR)
    )


def test_the_largest_distance_by_hand_and_ties_do_not_matter() -> None:
    assert largest_distance(np.array([1.0, 2, 3, 4]), np.array([3.0, 4, 5, 6])) == 0.5
    assert largest_distance(np.array([1.0, 1, 1]), np.array([1.0])) == 0
    assert largest_distance(np.array([2.0, 1]), np.array([4.0, 3])) == 1


def test_shares_far_apart_by_cohens_h() -> None:
    assert h(0.5, 0.5) == 0
    assert h(0.1, 0.2) == pytest.approx(0.2838, abs=1e-4)
    assert h(0.2, 0.1) == -h(0.1, 0.2)
    assert share_at(0.1, h(0.1, 0.2)) == pytest.approx(0.2)
    # there is no share so far off
    assert (share_at(0.9, 3.0), share_at(0.1, -3.0)) == (1.0, 0.0)
    # what the settings say of their defaults
    assert (round(share_at(0.1, 0.2), 2), round(share_at(0.1, 0.5), 2)) == (0.17, 0.29)


def test_a_share_of_few_is_drawn_away_from_nothing() -> None:
    assert steadied(0.0, 9.25) == pytest.approx(0.0375)
    assert steadied(0.3, 1e9) == pytest.approx(0.3)


@pytest.mark.parametrize(
    # from printed tables of the chi-square distribution
    ("freedom", "tail", "known"),
    [(9, 0.001, 27.877), (9, 0.05, 16.919), (4, 0.01, 13.277), (20, 0.001, 45.315)],
)
def test_chi_square_is_that_of_the_tables(freedom: int, tail: float, known: float) -> None:
    assert chi_square(freedom, tail) == pytest.approx(known, rel=0.01)


def test_of_one_degree_of_freedom_chi_square_errs_upwards() -> None:
    assert 10.828 < chi_square(1, 0.001) < 10.828 * 1.04


@pytest.mark.parametrize("statistic", list(Statistic))
def test_the_fewer_the_higher_the_bounds_and_of_many_they_are_those_of_the_settings(statistic: Statistic) -> None:
    few, more, many = (Bounds.of(statistic, RULES, 0.0005, (worth, worth), 10) for worth in (40, 400, 1e9))
    assert few.notice > more.notice > many.notice or statistic is not Statistic.PSI
    assert few.notice >= more.notice >= many.notice
    assert few.strong >= more.strong >= many.strong
    assert (few.told, many.told) == (False, True)
    expected = {
        Statistic.PSI: (0.1, 0.25),
        Statistic.H: (0.2, 0.5),
        # two normal distributions sqrt(PSI) apart
        Statistic.KS: (0.1256, 0.1974),
    }[statistic]
    assert (many.notice, many.strong) == pytest.approx(expected, abs=1e-4)
    # told from just so many on
    enough = Bounds.of(statistic, RULES, 0.0005, (few.wanted, few.wanted), 10)
    lacking = Bounds.of(statistic, RULES, 0.0005, (few.wanted - 1, few.wanted - 1), 10)
    assert (lacking.told, enough.told) == (False, True)


def test_bins_hold_alike_many_and_a_value_that_is_common_makes_fewer() -> None:
    values = np.arange(100.0)
    inner = quantile_edges(values)
    assert len(inner) == 9
    np.testing.assert_allclose(shares(values, inner), 0.1)
    ones = np.concatenate([np.ones(80), np.arange(2.0, 22.0)])
    inner = quantile_edges(ones)
    assert len(inner) < 5
    assert shares(ones, inner).sum() == pytest.approx(1)


@pytest.mark.parametrize("statistic", [Statistic.PSI, Statistic.KS, Statistic.H])
def test_without_drift_chance_reaches_the_notice_as_seldom_as_said(statistic: Statistic) -> None:
    rng = np.random.default_rng(5)
    chance, looks, reached = 0.02, 1500, 0
    # so little counts that chance alone decides
    rules = RULES.model_copy(update={"psi_notice": 1e-6, "rate_notice": 1e-6})
    bounds = Bounds.of(statistic, rules, chance, (300, 150), 10)
    for _ in range(looks):
        before, now = rng.random(300), rng.random(150)
        match statistic:
            case Statistic.PSI:
                inner = quantile_edges(before)
                size = stability_index(shares(before, inner), shares(now, inner))
            case Statistic.KS:
                size = largest_distance(before, now)
            case Statistic.H:
                size = abs(h(*(steadied(float((one < 0.1).mean()), len(one)) for one in (before, now))))
        reached += size >= bounds.notice
    # 30 expected; more than 50 would be one case in ten thousand
    assert 3 <= reached <= 50
