"""How often something is told where there is no drift, on few looks; docs/drift.md has many."""

from __future__ import annotations

from collections import Counter

from tests.tools.drift_simulation import NONE, Change, default_rules, one_look, one_year
from training.examination.operating_point import binomial_lower_bound
from training.nightly.drift.result import Level

RULES = default_rules()
# were the seeds drawn anew, each of these would fail by bad luck once in a thousand times at most
SURE = 0.999


def looks(a_day: int, count: int, change: Change = NONE) -> Counter[Level]:
    return Counter(one_look(a_day, RULES, seed, change) for seed in range(count))


def test_chance_raises_something_as_seldom_as_the_settings_say() -> None:
    for a_day, count in ((2, 120), (5, 80)):
        found = looks(a_day, count)
        raised = found[Level.NOTICE] + found[Level.STRONG]
        # that it is one look in a hundred is not contradicted
        assert raised == 0 or binomial_lower_bound(raised, count, SURE) < RULES.chance


def test_a_month_of_strong_drift_is_told_of_a_small_site() -> None:
    found = looks(4, 30, Change(shift=0.9))
    assert binomial_lower_bound(found[Level.STRONG], 30, SURE) > 0.5


def test_weeks_of_looks_at_one_reference_are_quiet() -> None:
    found = one_year(10, RULES, 1, step=28)
    assert found == Counter({Level.NONE: 14})
