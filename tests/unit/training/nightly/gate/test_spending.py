from __future__ import annotations

from datetime import date, timedelta

import pytest

from tests.factories.exams import NIGHT, rules
from training.nightly.gate.spending import Spending


def test_each_night_of_a_year_has_the_same_share() -> None:
    spending, spent = Spending(), []
    for number in range(900):
        night = NIGHT + timedelta(number)
        spent.append(spending.alpha(night, rules()))
        spending = spending.after(night)
    assert set(spent) == {0.05 / 366}
    assert len(spending.nights) == 366


def test_no_year_spends_more_than_its_own() -> None:
    rare, spending, spent = rules(exams_a_year=50), Spending(), []
    for number in range(1500):
        night = NIGHT + timedelta(number)
        spent.append(spending.alpha(night, rare))
        spending = spending.after(night) if spent[-1] else spending
    assert max(sum(spent[start : start + 366]) for start in range(1500 - 366)) == pytest.approx(0.05)
    # and it is renewed
    assert spent[:366].count(0.0) == 316
    assert spent[366] == 0.05 / 50


def test_a_night_is_not_spent_twice_nor_backwards() -> None:
    spending = Spending().after(NIGHT)
    for night in (NIGHT, NIGHT - timedelta(1)):
        with pytest.raises(ValueError, match=f"the night of {night} is spent already"):
            spending.alpha(night, rules())
        with pytest.raises(ValueError, match="spent already"):
            spending.after(night)


def test_it_is_carried_as_data() -> None:
    spending = Spending().after(NIGHT).after(date(2026, 4, 1))
    assert Spending.model_validate_json(spending.model_dump_json()) == spending
