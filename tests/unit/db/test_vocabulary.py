from __future__ import annotations

import pytest

from db.vocabulary import (
    FLAG_PRIORITY,
    LEGAL_MOVES,
    OUTCOME_PRECEDENCE,
    TERMINAL,
    URGENCY_RANK,
    FlagKind,
    IllegalMove,
    Outcome,
    ReceiptState,
    Urgency,
    check_move,
)


@pytest.mark.parametrize("old", ReceiptState)
@pytest.mark.parametrize("new", ReceiptState)
def test_moves_are_legal_as_the_table_says(old: ReceiptState, new: ReceiptState) -> None:
    legal = (old is ReceiptState.PENDING and new in TERMINAL) or (old, new) == (
        ReceiptState.QUARANTINED,
        ReceiptState.PENDING,
    )
    assert (new in LEGAL_MOVES[old]) == legal
    if legal:
        check_move(old, new)
    else:
        with pytest.raises(IllegalMove, match=f"{old} cannot become {new}"):
            check_move(old, new)


def test_every_word_has_its_place() -> None:
    assert set(OUTCOME_PRECEDENCE) == set(Outcome)
    assert set(FLAG_PRIORITY) == set(FlagKind)
    assert len(set(FLAG_PRIORITY.values())) == len(FlagKind)
    assert set(URGENCY_RANK) == set(Urgency)


def test_a_missing_result_comes_before_a_negative() -> None:
    negative = OUTCOME_PRECEDENCE.index(Outcome.NOT_SUSPECTED)
    assert OUTCOME_PRECEDENCE.index(Outcome.NO_RESULT) < negative
    assert OUTCOME_PRECEDENCE.index(Outcome.PENDING) < negative
