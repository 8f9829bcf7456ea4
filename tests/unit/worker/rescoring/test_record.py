"""A second result outdoes the first only where it gives a reader more reason to look."""

from __future__ import annotations

import itertools

import pytest

from db.vocabulary import FLAG_PRIORITY, FlagKind, Outcome
from imaging.reasons import Rejection
from worker.decide import Decision, RaisedFlag
from worker.rescoring.record import outdoes

S, N, X = Outcome.SUSPECTED, Outcome.NOT_SUSPECTED, Outcome.NO_RESULT
UNCERTAIN, POOR = RaisedFlag(FlagKind.UNCERTAIN), RaisedFlag(FlagKind.POOR_IMAGE, "FLAT")


@pytest.mark.parametrize(
    ("new", "old", "better"),
    [
        *((S, old, old is not S) for old in (S, X, N)),
        *((X, old, old is N) for old in (S, X, N)),
        *((N, old, False) for old in (S, X, N)),
    ],
)
def test_only_an_outcome_that_stands_earlier_in_the_list_counts(new: Outcome, old: Outcome, better: bool) -> None:
    reason = Rejection.NOT_FINITE if new is X else None
    assert outdoes(Decision(new, reason), old, ()) is better
    # nor does a flag make good for an outcome that is less
    if not better and new is not old:
        assert not outdoes(Decision(new, reason, (UNCERTAIN, POOR)), old, ())


@pytest.mark.parametrize(
    ("flags", "waiting", "better"),
    [
        ((), (), False),
        ((UNCERTAIN,), (), True),
        ((POOR,), (), True),
        ((UNCERTAIN,), (FlagKind.UNCERTAIN,), False),
        ((POOR, UNCERTAIN), (FlagKind.POOR_IMAGE,), True),
        ((POOR,), (FlagKind.UNCERTAIN,), False),
        ((), (FlagKind.UNCERTAIN,), False),
    ],
)
def test_at_the_same_outcome_a_more_urgent_flag_counts(
    flags: tuple[RaisedFlag, ...], waiting: tuple[FlagKind, ...], better: bool
) -> None:
    assert outdoes(Decision(N, None, flags), N, [FLAG_PRIORITY[kind] for kind in waiting]) is better


def test_of_two_results_at_most_one_outdoes_the_other() -> None:
    for one, other in itertools.product((S, N, X), repeat=2):
        assert not (outdoes(Decision(one), other, ()) and outdoes(Decision(other), one, ()))
