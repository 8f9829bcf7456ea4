from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.calibration import Calibration
from db.vocabulary import FLAG_PRIORITY, FlagKind, Outcome
from imaging.reading import Quality
from imaging.reasons import Rejection
from worker.decide import DecisionRules, decide, is_unfamiliar

GOOD = Quality(spread=0.8, clipped=0.01, shorter_side=2000)
RULES = DecisionRules(
    threshold=0.5,
    uncertain_low=0.4,
    uncertain_high=0.6,
    calibration=Calibration(slope=1.0, intercept=0.0, training_prevalence=0.5),
)


def kinds(score: float | None, quality: Quality = GOOD, *, unfamiliar: bool = False) -> list[FlagKind]:
    return [flag.kind for flag in decide(score, RULES, quality, unfamiliar=unfamiliar).flags]


@pytest.mark.parametrize(
    ("score", "outcome", "flags"),
    [
        (0.5, Outcome.SUSPECTED, [FlagKind.SUSPECTED, FlagKind.UNCERTAIN]),
        (0.9, Outcome.SUSPECTED, [FlagKind.SUSPECTED]),
        (1.0, Outcome.SUSPECTED, [FlagKind.SUSPECTED]),
        (0.6, Outcome.SUSPECTED, [FlagKind.SUSPECTED]),
        (math.nextafter(0.5, 0), Outcome.NOT_SUSPECTED, [FlagKind.UNCERTAIN]),
        (0.4, Outcome.NOT_SUSPECTED, [FlagKind.UNCERTAIN]),
        (0.39, Outcome.NOT_SUSPECTED, []),
        (0.0, Outcome.NOT_SUSPECTED, []),
    ],
)
def test_threshold_and_band(score: float, outcome: Outcome, flags: list[FlagKind]) -> None:
    assert decide(score, RULES, GOOD).outcome is outcome
    assert kinds(score) == flags


@pytest.mark.parametrize(
    ("score", "reason"),
    [
        (None, Rejection.NOT_FINITE),
        (math.nan, Rejection.NOT_FINITE),
        (math.inf, Rejection.NOT_FINITE),
        (-math.inf, Rejection.NOT_FINITE),
        (1.0000001, Rejection.OUT_OF_RANGE),
        (-0.0000001, Rejection.OUT_OF_RANGE),
    ],
)
def test_row_30_no_number_never_reassures(score: float | None, reason: Rejection) -> None:
    decision = decide(score, RULES, GOOD)
    assert (decision.outcome, decision.reason) == (Outcome.NO_RESULT, reason)
    assert (decision.score, decision.probability) == (None, None)
    assert [flag.kind for flag in decision.flags] == [FlagKind.NO_RESULT]


def test_unfamiliar_never_stands_beside_not_suspected() -> None:
    decision = decide(0.1, RULES, GOOD, unfamiliar=True)
    assert (decision.outcome, decision.reason) == (Outcome.NO_RESULT, Rejection.UNFAMILIAR)
    assert kinds(0.1, unfamiliar=True) == [FlagKind.NO_RESULT, FlagKind.UNFAMILIAR]
    assert kinds(0.9, unfamiliar=True) == [FlagKind.SUSPECTED, FlagKind.UNFAMILIAR]


@pytest.mark.parametrize(
    ("quality", "reason"),
    [
        (Quality(0.8, 0.01, 200), "SMALL"),
        (Quality(0.05, 0.01, 2000), "FLAT"),
        (Quality(0.8, 0.7, 2000), "CLIPPED"),
    ],
)
def test_poor_images_are_flagged_beside_their_outcome(quality: Quality, reason: str) -> None:
    decision = decide(0.1, RULES, quality)
    assert decision.outcome is Outcome.NOT_SUSPECTED
    assert [(flag.kind, flag.reason) for flag in decision.flags] == [(FlagKind.POOR_IMAGE, reason)]


@given(st.floats(allow_nan=True, allow_infinity=True) | st.none(), st.booleans())
def test_any_score_gives_an_outcome_that_its_flags_explain(score: float | None, unfamiliar: bool) -> None:
    decision = decide(score, RULES, GOOD, unfamiliar=unfamiliar)
    raised = {flag.kind for flag in decision.flags}
    match decision.outcome:
        case Outcome.SUSPECTED:
            assert FlagKind.SUSPECTED in raised
        case Outcome.NO_RESULT:
            assert FlagKind.NO_RESULT in raised
            assert decision.reason is not None
        case _:
            assert decision.outcome is Outcome.NOT_SUSPECTED
            assert FlagKind.UNFAMILIAR not in raised
            assert score is not None
            assert 0 <= score < RULES.threshold
    assert all(flag.priority == FLAG_PRIORITY[flag.kind] for flag in decision.flags)


def test_the_sites_prevalence_moves_probability_and_its_threshold_alike() -> None:
    rare = DecisionRules(**{**_fields(RULES), "site_prevalence": 0.1})
    here, there = decide(0.5, RULES, GOOD), decide(0.5, rare, GOOD)
    assert (here.probability, here.probability_threshold, here.offset) == pytest.approx((0.5, 0.5, 0.0))
    assert (there.probability, there.probability_threshold) == pytest.approx((0.1, 0.1))
    assert there.outcome is here.outcome


def _fields(rules: DecisionRules) -> dict[str, object]:
    return {name: getattr(rules, name) for name in DecisionRules.__dataclass_fields__}


@pytest.mark.parametrize(
    ("unfamiliarity", "found"),
    [(0.5, False), (1.0, True), (1.5, True), (None, True), (math.nan, True), (math.inf, True)],
)
def test_what_cannot_be_measured_is_unfamiliar(unfamiliarity: float | None, found: bool) -> None:
    assert is_unfamiliar(unfamiliarity, replace(RULES, unfamiliar_from=1.0)) is found
    # and nothing is, where the bundle measures nothing
    assert not is_unfamiliar(unfamiliarity, RULES)
