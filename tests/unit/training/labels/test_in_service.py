from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.consensus import Finding
from db.draws import Draw
from db.vocabulary import Outcome
from training.examination.operating_point import binomial_lower_bound
from training.labels.in_service import FEWEST_PATIENTS, Sums, in_service, share

S, N, X = Outcome.SUSPECTED, Outcome.NOT_SUSPECTED, Outcome.OUT_OF_SCOPE
ILL, WELL = Finding.PNEUMONIA, Finding.NO_PNEUMONIA


def draw(number: int, outcome: Outcome, finding: Finding | None, probability: float = 0.02, **more: object) -> Draw:
    values = {"patient": f"P{number}", "read_outcome": None if finding is None else outcome, "seen": False, **more}
    return Draw(probability=probability, drawn_outcome=outcome, finding=finding, **values)


def several(*groups: tuple[int, Outcome, Finding | None, float]) -> list[Draw]:
    rows = [group[1:] for group in groups for _ in range(group[0])]
    return [draw(number, *row) for number, row in enumerate(rows)]


def sums(weights: Sequence[float], largest: float, first_patient: int = 0) -> Sums:
    return Sums(np.array(weights, float), np.arange(len(weights)) + first_patient, largest)


def test_each_stands_for_as_many_as_its_chance_says() -> None:
    found = in_service(several((45, S, ILL, 0.5), (5, S, WELL, 0.5), (1, N, ILL, 0.1), (99, N, WELL, 0.1)))
    assert (found.sensitivity.value, found.sensitivity.hits, found.sensitivity.misses) == (0.9, 45, 1)
    assert found.specificity.value == round(990 / 1000, 5)
    assert [(cell.outcome, cell.drawn, cell.stands_for) for cell in found.cells] == [(S, 50, 100), (N, 100, 1000)]


def test_those_not_answered_are_taken_to_be_like_those_answered_of_the_same_outcome() -> None:
    answered = in_service(several((20, S, ILL, 0.02), (4, N, ILL, 0.02), (30, N, WELL, 0.02)))
    half = in_service(
        several(
            (10, S, ILL, 0.02),
            (5, S, None, 0.02),
            (3, S, Finding.UNDECIDED, 0.02),
            (2, S, Finding.DISPUTED, 0.02),
            (4, N, ILL, 0.02),
            (30, N, WELL, 0.02),
        )
    )
    # had they only been left out it were 10 of 14
    assert half.sensitivity.value == answered.sensitivity.value == round(20 / 24, 5)
    assert half.sensitivity.low < answered.sensitivity.low
    (cell, _) = half.cells
    assert (cell.drawn, cell.answered, cell.undecided, cell.seen, cell.unread) == (20, 10, 5, 0, 5)


def test_what_was_read_with_the_output_in_sight_is_no_answer_and_what_is_unusable_is_one() -> None:
    rows = several((20, S, ILL, 0.1), (20, N, WELL, 0.1), (5, N, ILL, 0.1), (25, N, Finding.UNUSABLE, 0.1))
    rows += [draw(100 + number, S, None, 0.1, seen=True) for number in range(20)]
    found = in_service(rows)
    assert [(cell.answered, cell.seen, cell.unread) for cell in found.cells] == [(20, 20, 0), (50, 0, 0)]
    assert found.sensitivity.value == round(40 / 45, 5)


def test_the_outcome_that_counts_is_that_of_the_revision_that_was_read() -> None:
    rows = several((20, S, ILL, 0.1), (20, N, WELL, 0.1))
    rows += [draw(100 + number, N, ILL, 0.1, read_outcome=S) for number in range(5)]
    assert (in_service(rows).sensitivity.hits, in_service(rows).sensitivity.misses) == (25, 0)


def test_pneumonia_that_was_never_assessed_is_told_apart() -> None:
    found = in_service(several((18, S, ILL, 0.02), (2, N, ILL, 0.02), (80, N, WELL, 0.02), (5, X, ILL, 0.02)))
    assert found.sensitivity.value == 0.9
    assert found.assessed.value == 0.8


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ((), "none that is SUSPECTED was drawn"),
        (((50, S, ILL, 0.5),), "none that is NOT_SUSPECTED was drawn and answered"),
        (((50, S, ILL, 0.5), (50, N, None, 0.02)), "none of the 50 drawn that were NOT_SUSPECTED is answered"),
        (((9, S, ILL, 0.5), (50, N, WELL, 0.02)), "9 patients with pneumonia among those answered, 10 are needed"),
    ],
)
def test_too_few_is_said_and_no_figure_given(
    groups: tuple[tuple[int, Outcome, Finding, float], ...], said: str
) -> None:
    figure = in_service(several(*groups)).sensitivity
    assert (figure.value, figure.low, figure.high) == (None, None, None)
    assert figure.problem is not None
    assert figure.problem.startswith("too few: ")
    assert said in figure.problem


def test_where_nothing_was_missed_yet_little_is_known() -> None:
    """Resampling and linearisation say 1 to 1 here; one missed study more would stand for fifty."""
    figure = in_service(several((40, S, ILL, 0.5), (10, S, WELL, 0.5), (100, N, WELL, 0.02))).sensitivity
    assert (figure.value, figure.high) == (1.0, 1.0)
    # up to 3.7 missed ones of 50 each, where none was seen, against 80
    assert 0.25 < figure.low < 0.4


def test_a_patient_counts_once_however_often_he_comes() -> None:
    groups = ((40, S, ILL, 0.1), (10, N, ILL, 0.1), (50, N, WELL, 0.1))
    alone = in_service(several(*groups)).sensitivity
    rows = [
        draw(number, one.drawn_outcome, one.finding, one.probability, patient=f"P{number // 5}")
        for number, one in enumerate(several(*groups))
    ]
    together = in_service(rows).sensitivity
    assert together.value == alone.value
    assert together.high - together.low > 1.5 * (alone.high - alone.low)
    assert in_service([draw(0, S, ILL, patient="P"), *rows[40:]]).sensitivity.hits == 1


@given(st.integers(0, 30), st.integers(1, 30))
def test_with_equal_weights_the_interval_is_the_exact_one(hits: int, misses: int) -> None:
    value, low, high = share(sums([7.0] * hits, 7.0), sums([7.0] * misses, 7.0, hits))
    trials = hits + misses
    assert value == pytest.approx(hits / trials)
    assert low == pytest.approx(binomial_lower_bound(hits, trials, 0.975), abs=0.012)
    assert high == pytest.approx(1 - binomial_lower_bound(misses, trials, 0.975), abs=0.012)


def test_weighting_is_unbiased_and_the_interval_covers() -> None:
    """Two thousand studies with pneumonia of which one in ten is missed; flagged ones are drawn ten times as often."""
    truth, chance = 0.9, {S: 0.2, N: 0.02}
    rng = np.random.default_rng(20261101)
    weighted, unweighted, covered = [], [], []
    for _ in range(300):
        hits = int(rng.poisson(2000 * truth * chance[S]))
        misses = int(rng.poisson(2000 * (1 - truth) * chance[N]))
        value, low, high = share(
            sums([1 / chance[S]] * hits, 1 / chance[S]), sums([1 / chance[N]] * misses, 1 / chance[N], hits)
        )
        weighted.append(value)
        unweighted.append(hits / (hits + misses))
        covered.append(low <= truth <= high)
    error = np.std(weighted) / np.sqrt(len(weighted))
    assert abs(np.mean(weighted) - truth) < 3 * error + 0.005  # a ratio's own bias, of the order of one over misses
    assert np.mean(unweighted) > 0.98
    # conservative by design; 2.5 standard errors below 95 % would be 0.919
    assert 0.94 <= np.mean(covered) <= 0.995


def test_non_response_that_goes_by_outcome_does_no_harm() -> None:
    """Suspected studies stand on top of the list, and are read twice as often."""
    truth = {ILL: 0.85, WELL: 0.7}
    rng = np.random.default_rng(7)
    found, naive = [], []
    for _ in range(30):
        rows = []
        for number in range(2000):
            finding = ILL if rng.random() < 0.3 else WELL
            called = rng.random() < (truth[ILL] if finding is ILL else 1 - truth[WELL])
            answered = rng.random() < (0.8 if called else 0.4)
            rows.append(draw(number, S if called else N, finding if answered else None, 0.1))
        figures = in_service(rows)
        found.append([figures.sensitivity.value, figures.specificity.value])
        said = [one for one in rows if one.finding is ILL]
        naive.append(np.mean([one.read_outcome is S for one in said]))
    sensitivity, specificity = np.mean(found, axis=0)
    assert sensitivity == pytest.approx(truth[ILL], abs=0.01)
    assert specificity == pytest.approx(truth[WELL], abs=0.01)
    assert np.mean(naive) > truth[ILL] + 0.05


def test_ten_patients_are_enough_to_say_something() -> None:
    rows = several((FEWEST_PATIENTS - 1, S, ILL, 0.1), (1, N, ILL, 0.1), (FEWEST_PATIENTS, N, WELL, 0.1))
    assert in_service(rows).sensitivity.problem is None
