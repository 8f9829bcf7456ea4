from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from bundle.calibration import Calibration, expit, logit, probability

PLAIN = Calibration(slope=1.0, intercept=0.0, training_prevalence=0.5)


def test_plain_calibration_changes_nothing() -> None:
    found = probability(0.8, PLAIN, None)
    assert found.probability == pytest.approx(0.8)
    assert (found.prevalence, found.offset) == (0.5, 0.0)


def test_slope_and_intercept_act_on_log_odds() -> None:
    # log-odds of 0.8 are ln 4; 0.5 * ln 4 + ln 3 = ln 6, whose share is 6/7
    found = probability(0.8, Calibration(slope=0.5, intercept=math.log(3), training_prevalence=0.5), None)
    assert found.probability == pytest.approx(6 / 7)


def test_a_rarer_disease_shifts_the_odds_by_the_ratio_of_prior_odds() -> None:
    # prior odds 3:1 in training, 1:9 at the site: odds fall by 27; 0.9 is 9:1, so 9/27 = 1:3
    found = probability(0.9, Calibration(slope=1.0, intercept=0.0, training_prevalence=0.75), 0.1)
    assert found.probability == pytest.approx(0.25)
    assert found.offset == pytest.approx(-math.log(27))
    assert found.prevalence == 0.1


def test_saturated_scores_stay_inside_the_open_interval() -> None:
    assert 0 < probability(0.0, PLAIN, None).probability < 1e-6
    assert 1 - 1e-6 < probability(1.0, PLAIN, None).probability < 1


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf, -0.01, 1.01])
def test_what_is_no_score_has_no_probability(score: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        probability(score, PLAIN, None)


def test_expit_undoes_logit_and_never_overflows() -> None:
    for share in (1e-6, 0.1, 0.5, 0.999):
        assert expit(logit(share)) == pytest.approx(share)
    assert (expit(-1e4), expit(1e4)) == (0.0, 1.0)


@pytest.mark.parametrize("field", [{"slope": 0.0}, {"slope": -1.0}, {"slope": math.nan}, {"training_prevalence": 1.0}])
def test_calibrations_that_turn_scores_round_are_refused(field: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Calibration(**{"slope": 1.0, "intercept": 0.0, "training_prevalence": 0.5, **field})
