from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.nightly.gate.paired import TWO_SIDED, fewest, score_interval, wanted


@st.composite
def tables(draw: st.DrawFn) -> tuple[int, int, int]:
    patients = draw(st.integers(1, 400))
    gained = draw(st.integers(0, patients))
    return gained, draw(st.integers(0, patients - gained)), patients


def by_likelihood(gained: int, lost: int, patients: int, difference: float) -> float:
    """Return the score statistic with the likeliest shares found by trying many."""
    shares = np.linspace(max(0.0, -difference), (1 - difference) / 2, 200_001)[1:-1]
    same = 1 - 2 * shares - difference
    with np.errstate(divide="ignore", invalid="ignore"):
        likely = (
            gained * np.log(shares + difference) + lost * np.log(shares) + (patients - gained - lost) * np.log(same)
        )
    share = shares[np.nanargmax(likely)]
    variance = patients * (2 * share + difference - difference**2)
    return (gained - lost - patients * difference) / math.sqrt(variance)


@pytest.mark.parametrize(("gained", "lost", "patients"), [(40, 20, 160), (3, 9, 200), (1, 0, 300), (12, 12, 80)])
def test_the_ends_are_where_the_likelihood_says(gained: int, lost: int, patients: int) -> None:
    low, high = score_interval(gained, lost, patients)
    assert by_likelihood(gained, lost, patients, low) == pytest.approx(TWO_SIDED, abs=1e-3)
    assert by_likelihood(gained, lost, patients, high) == pytest.approx(-TWO_SIDED, abs=1e-3)


@given(tables())
def test_the_interval_holds_what_was_seen_and_turns_with_it(table: tuple[int, int, int]) -> None:
    gained, lost, patients = table
    low, high = score_interval(gained, lost, patients)
    assert -1 <= low <= (gained - lost) / patients <= high <= 1
    assert score_interval(lost, gained, patients) == (-high, -low)
    narrow = score_interval(4 * gained, 4 * lost, 4 * patients)
    assert narrow[1] - narrow[0] < high - low


@pytest.mark.parametrize("margin", [0.01, 0.02, 0.03, 0.05])
def test_the_fewest_patients_are_those_whom_nothing_would_do_without(margin: float) -> None:
    count = fewest(margin)
    assert score_interval(0, 0, count)[0] > -margin
    assert score_interval(0, 0, count - 1)[0] <= -margin


def test_how_many_are_wanted_is_what_the_textbook_says() -> None:
    # (1.96 + 0.8416)^2 * 0.04 / 0.02^2, one image a patient and 4 % called differently
    assert wanted(0.02, math.sqrt(0.04)) == 785
    assert wanted(0.02, 0.0) == fewest(0.02) == 189


def test_a_model_that_is_worse_by_the_margin_seldom_passes() -> None:
    """Add up the probability of every table: 3 % of 250 patients are lost, 1 % are gained, 2 points are allowed."""
    patients, lost_share, gained_share = 250, 0.03, 0.01
    passed = 0.0
    for lost in range(40):
        for gained in range(25):
            if score_interval(gained, lost, patients)[0] > -0.02:
                rest = patients - lost - gained
                ways = math.lgamma(patients + 1) - sum(math.lgamma(k + 1) for k in (lost, gained, rest))
                passed += math.exp(
                    ways
                    + lost * math.log(lost_share)
                    + gained * math.log(gained_share)
                    + rest * math.log(1 - lost_share - gained_share)
                )
    assert 0.01 < passed < 0.03
