"""How often equal, better and worse models pass, on few nights; `make gate-simulation` draws many (docs/gate.md)."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.tools.gate_simulation import CHAMPION, Skill, default_rules, one_night, one_year, rate
from training.examination.operating_point import binomial_lower_bound
from training.nightly.gate.decision import Verdict

RULES = default_rules(resamples=200)
# were the seeds drawn anew, each of these would fail by bad luck once in a thousand times at most
SURE = 0.999
BETTER = Skill("better", 0.990)
WORSE = Skill("worse", 0.970)
LOSING = Skill("better, and four points of sensitivity lost", 0.990, sensitivity=0.93)


def nights(positives: int, skill: Skill, count: int) -> Counter[Verdict]:
    return Counter(one_night(positives, skill, RULES, seed).verdict for seed in range(count))


def at_least(hits: int, trials: int) -> float:
    return binomial_lower_bound(hits, trials, SURE)


def at_most(hits: int, trials: int) -> float:
    return 1 - binomial_lower_bound(trials - hits, trials, SURE)


@pytest.mark.parametrize(("positives", "count"), [(400, 24), (1600, 12)])
@pytest.mark.parametrize("skill", [CHAMPION, WORSE, LOSING])
def test_what_is_not_better_in_everything_does_not_pass(skill: Skill, positives: int, count: int) -> None:
    found = nights(positives, skill, count)
    # a rate of one in a hundred is not contradicted, and one in two is
    assert at_least(found[Verdict.PROMOTE], count) < 0.01
    assert at_most(found[Verdict.PROMOTE], count) < 0.5


def test_with_400_positives_it_can_mostly_not_be_told_and_with_1600_it_can() -> None:
    few, many = nights(400, BETTER, 30), nights(1600, BETTER, 16)
    assert at_least(few[Verdict.INSUFFICIENT_EVIDENCE], 30) > 0.3
    assert at_most(few[Verdict.PROMOTE], 30) < 0.5
    assert at_least(many[Verdict.PROMOTE], 16) > 0.3


def test_a_month_of_equal_models_on_one_test_set_promotes_none() -> None:
    better, promoted = one_year(400, RULES, seed=1, nights=30)
    # the share of thirty nights is 0.004
    assert (better, promoted) == (0, 0)


def test_a_rate_is_told_with_its_exact_interval() -> None:
    assert rate(0, 200) == "0 % (0 to 1.83)"
    assert rate(100, 100) == "100 % (96.4 to 100)"
