from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.consensus import Finding, Reading, consensus, standing
from db.vocabulary import VerdictKind

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
P, N, O, I, U, C = VerdictKind  # noqa: E741 - as short as the table below needs


def read(*said: VerdictKind) -> list[Reading]:
    """One verdict each of as many readers."""
    return [Reading(number, f"reader {number}", NOON, kind, model_visible=True) for number, kind in enumerate(said)]


histories = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(0, 3), st.sampled_from(VerdictKind)), max_size=12
).map(
    lambda rows: [
        Reading(number, reader, NOON + timedelta(hours=hour), kind, model_visible=True)
        for number, (reader, hour, kind) in enumerate(rows)
    ]
)


@pytest.mark.parametrize(
    ("said", "finding", "otherwise_abnormal"),
    [
        ((), Finding.UNDECIDED, False),
        ((I, I), Finding.UNDECIDED, False),
        ((P,), Finding.PNEUMONIA, False),
        ((P, I), Finding.PNEUMONIA, False),
        ((P, N), Finding.DISPUTED, False),
        ((P, N, P), Finding.PNEUMONIA, False),
        ((P, P, N, O), Finding.DISPUTED, True),
        ((P, N, U), Finding.DISPUTED, False),
        ((O,), Finding.NO_PNEUMONIA, True),
        ((N, O), Finding.NO_PNEUMONIA, True),
        ((N, N, O), Finding.NO_PNEUMONIA, False),
        ((U, C), Finding.UNUSABLE, False),
        ((U, P), Finding.DISPUTED, False),
    ],
)
def test_more_than_half_of_those_who_answer_decide(
    said: tuple[VerdictKind, ...], finding: Finding, otherwise_abnormal: bool
) -> None:
    found = consensus(read(*said))
    assert (found.finding, found.otherwise_abnormal) == (finding, otherwise_abnormal)


def test_a_readers_later_verdict_counts_and_no_other_readers() -> None:
    early, late = read(P, N)
    mine = [early, Reading(7, early.reader, NOON + timedelta(hours=1), N, model_visible=True)]
    assert consensus([*mine, late]).finding is Finding.NO_PNEUMONIA
    # by when it was read, not by when it was entered
    entered_late = Reading(9, early.reader, NOON - timedelta(hours=1), P, model_visible=True)
    assert consensus([*mine, entered_late]).finding is Finding.NO_PNEUMONIA
    # at one time what was entered last is the correction
    assert consensus([early, Reading(8, early.reader, NOON, O, model_visible=True)]).finding is Finding.NO_PNEUMONIA


@given(histories, st.randoms())
def test_the_order_of_the_rows_does_not_matter(rows: list[Reading], shuffler: object) -> None:
    before = consensus(rows)
    shuffler.shuffle(rows)
    assert consensus(rows) == before


@given(histories)
def test_one_verdict_a_reader_stands_and_what_it_replaced_says_nothing(rows: list[Reading]) -> None:
    stand = standing(rows)
    assert sorted(one.reader for one in stand) == sorted({one.reader for one in rows})
    assert consensus(stand) == consensus(rows)


@given(histories)
def test_who_cannot_tell_changes_nothing(rows: list[Reading]) -> None:
    more = consensus([*rows, Reading(99, "another", NOON, I, model_visible=True)])
    before = consensus(rows)
    assert (more.finding, more.unanimous, more.otherwise_abnormal) == (
        before.finding,
        before.unanimous,
        before.otherwise_abnormal,
    )


@given(histories)
def test_a_decided_answer_has_more_than_half_and_swapping_answers_swaps_it(rows: list[Reading]) -> None:
    swap = {P: N, N: P, O: P}
    swapped = [
        Reading(one.verdict_id, one.reader, one.read_at, swap.get(one.verdict, one.verdict), model_visible=True)
        for one in rows
    ]
    other = {Finding.PNEUMONIA: Finding.NO_PNEUMONIA, Finding.NO_PNEUMONIA: Finding.PNEUMONIA}
    found = consensus(rows)
    assert consensus(swapped).finding is other.get(found.finding, found.finding)
    said = [one.verdict for one in found.standing if one.verdict is not I]
    if found.finding is Finding.PNEUMONIA:
        assert 2 * said.count(P) > len(said)
    assert found.unanimous == (
        len({Finding.NO_PNEUMONIA if kind in {N, O} else U if kind is C else kind for kind in said}) <= 1
    )
