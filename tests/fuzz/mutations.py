"""What is done to a valid session before it is played, each under a name.

Some change its parts before they are encoded, some its P-DATA-TF PDUs and the
values in them, some nothing but bytes and their timing. A mutation that finds
nothing to change leaves the session as it is.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.fuzz import mutate_bytes, mutate_parts, mutate_values
from tests.fuzz.drafts import Draft, Packet, draw
from tests.fuzz.session import Kind, Session, Step

OfParts = Callable[[random.Random, Draft], None]
OfValues = Callable[[random.Random, list[list[Packet]]], None]
OfSteps = Callable[[random.Random, list[Step]], None]

OF_PARTS: dict[str, OfParts] = mutate_parts.ALL
OF_VALUES: dict[str, OfValues] = mutate_values.ALL
OF_STEPS: dict[str, OfSteps] = mutate_bytes.ALL
EVERY = (*OF_PARTS, *OF_VALUES, *OF_STEPS)

# how many are done to one session; none is the check of what nobody attacks
_HOW_MANY = (0, 1, 1, 1, 1, 2, 2, 3, 6)


def generate(seed: int, number: int) -> Session:
    """Session `number` of a campaign: the same whenever it is asked for."""
    name = f"{seed}.{number}"
    chance = random.Random(name)
    chosen = chance.sample(EVERY, chance.choice(_HOW_MANY))
    draft = draw(chance, name)
    for mutation in chosen:
        if mutation in OF_PARTS:
            OF_PARTS[mutation](chance, draft)
    packets = draft.packets()
    for mutation in chosen:
        if mutation in OF_VALUES:
            OF_VALUES[mutation](chance, packets)
    steps = draft.steps(packets)
    for mutation in chosen:
        if mutation in OF_STEPS:
            OF_STEPS[mutation](chance, steps)
    if not chosen:
        # whoever waits for each answer breaks nothing, however long it takes
        steps = [Step(step.kind, step.content, 20) if step.kind is Kind.AWAIT else step for step in steps]
    return Session(name, draft.source, tuple(steps), tuple(chosen), len(draft.messages))
