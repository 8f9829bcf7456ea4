from __future__ import annotations

import random
from collections import Counter
from functools import cache

import pytest

from tests.fuzz.drafts import draw
from tests.fuzz.mutations import EVERY, OF_PARTS, OF_STEPS, OF_VALUES, generate
from tests.fuzz.oracle import asked
from tests.fuzz.session import Kind, Session, Step

ENOUGH = 60
CHANGED = 3


def sent(session: Session) -> bytes:
    return b"".join(step.content for step in session.steps if step.kind is Kind.SEND)


def test_a_session_is_the_same_whenever_it_is_asked_for() -> None:
    assert [generate(7, number) for number in range(20)] == [generate(7, number) for number in range(20)]
    assert generate(7, 1) != generate(8, 1)


def test_every_mutation_is_reached_and_none_fails() -> None:
    reached = Counter(name for number in range(1500) for name in generate(3, number).mutations)
    assert set(reached) == set(EVERY)
    assert len(EVERY) == len({*OF_PARTS, *OF_VALUES, *OF_STEPS}), "two mutations of one name"


@cache
def unmutated(number: int) -> tuple[list[Step], str]:
    draft = draw(random.Random(number), f"1.{number}")
    return draft.steps(draft.packets()), draft.source


@pytest.mark.parametrize("name", EVERY)
def test_every_mutation_changes_a_session(name: str) -> None:
    changed = number = 0
    while changed <= CHANGED:
        assert number < ENOUGH, f"{name} changed {changed} of {ENOUGH} sessions"
        mutated = draw(random.Random(number), f"1.{number}")
        chance = random.Random(number)
        if name in OF_PARTS:
            OF_PARTS[name](chance, mutated)
        packets = mutated.packets()
        if name in OF_VALUES:
            OF_VALUES[name](chance, packets)
        steps = mutated.steps(packets)
        if name in OF_STEPS:
            OF_STEPS[name](chance, steps)
        changed += (steps, mutated.source) != unmutated(number)
        number += 1


def test_the_oracle_reads_of_a_session_without_a_fault_all_that_is_asked() -> None:
    whole = [session for number in range(300) if not (session := generate(5, number)).mutations]
    assert len(whole) > 10
    assert [len(list(asked(sent(one)))) for one in whole] == [one.requests for one in whole]


def test_mutated_sessions_still_ask_for_something() -> None:
    """What is refused at the door alone would leave the rest untried."""
    mutated = [session for number in range(300) if (session := generate(5, number)).mutations]
    assert sum(any(True for _ in asked(sent(one))) for one in mutated) > len(mutated) / 2
