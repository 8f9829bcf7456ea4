"""Row 18, by chance: whole sessions, mutated, against a real listener; ``make fuzz`` does it for longer."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

import pytest

from tests.fuzz.__main__ import ROUND, fuzz, rounds_of
from tests.fuzz.campaign import Campaign
from tests.fuzz.drafts import instance_uid
from tests.fuzz.session import AWAIT, Session, send
from tests.peers import malformed
from tests.peers.data_sets import CR_STORAGE, EXPLICIT, IMPLICIT, data_set
from tests.peers.raw import VERIFICATION, Context, associate_request, message, pdu, store_command, value

# sessions after which each of EXPECTED_REACH has been met by all odds; more is left to ``make fuzz``
ENOUGH = 1520
# LUNGWATCH_TEST_FUZZ_SEED plays a seed again; LUNGWATCH_TEST_FUZZ_SECONDS is the most it takes on a slow machine
SEED = int(os.environ.get("LUNGWATCH_TEST_FUZZ_SEED", secrets.randbelow(1 << 32)))
SECONDS = float(os.environ.get("LUNGWATCH_TEST_FUZZ_SECONDS", "60"))

_ESTABLISHED = associate_request(malformed.ESTABLISHED_CONTEXTS, calling=b"FUZZ")
_ASSOCIATED = (send(_ESTABLISHED), AWAIT)
_INSTANCE = instance_uid("1")
_DATA = data_set(_INSTANCE)


@pytest.fixture
def campaign(tmp_path: Path) -> Iterator[Campaign]:
    with Campaign.begin(tmp_path / "data", tmp_path / f"{SEED}.jsonl") as begun:
        yield begun


def session(name: str, *contents: bytes) -> Session:
    steps = [step for content in contents for step in (send(content), AWAIT)]
    return Session(name, "127.0.0.3", (*_ASSOCIATED, *steps), (name,))


NAMED: Mapping[str, bytes] = {
    **malformed.BEFORE_ASSOCIATION,
    **malformed.PECULIAR_REQUESTS,
    "a context without transfer syntax beside one with": associate_request(
        [Context(), Context(CR_STORAGE, [])], calling=b"FUZZ"
    ),
    "a context without abstract syntax beside one with": associate_request(
        [Context()],
        calling=b"FUZZ",
        extra=malformed.item(0x20, b"\x05\0\0\0" + malformed.item(0x40, EXPLICIT.encode())),
    ),
}


def test_row_18_nothing_that_has_a_name_is_unforeseen(campaign: Campaign) -> None:
    """No request for an association and no breach of one ends in a place that was made for what nobody foresaw."""
    requests = [Session(name, "127.0.0.3", (send(content), AWAIT), (name,)) for name, content in NAMED.items()]
    breaches = {**malformed.BROKEN_PDUS, **malformed.BROKEN_MESSAGES}
    campaign.round([*requests, *(session(name, breach.content) for name, breach in breaches.items())])


def test_row_18_a_message_with_more_behind_it_in_its_pdu_is_not_answered(campaign: Campaign) -> None:
    """The breach comes to light before the answer: the association is aborted, and nothing is stored."""
    more = {"a value of another message": value(1, 1, b"\0"), "a value that is none": bytes(3)}
    command = message(store_command(_INSTANCE))
    with_data = [
        session(f"a store and {name}", command, pdu(4, value(1, 2, _DATA) + after)) for name, after in more.items()
    ]
    echo = pdu(4, value(3, 3, malformed.echo_command()) + bytes(3))
    campaign.round([*with_data, session("an echo and a value that is none", echo)])
    assert _INSTANCE not in campaign.stored
    assert campaign.reached["status 8001 0000"] == campaign.reached["status 8030 0000"] == 0


def test_row_18_sessions_without_a_fault_succeed(campaign: Campaign) -> None:
    """What the fuzz mutates is right to begin with; all that is stored is found with its very bytes."""
    contexts = [Context(), Context(CR_STORAGE, [IMPLICIT]), Context(VERIFICATION, [EXPLICIT])]
    plain = Session("plain", "127.0.0.3", (send(associate_request(contexts)), AWAIT, send(pdu(5, bytes(4))), AWAIT))
    unmutated = [one for sessions in _first(SEED) for one in sessions if not one.mutations]
    campaign.round([plain, *unmutated])
    assert campaign.reached["status 8001 0000"] > 0


def _first(seed: int) -> Iterator[list[Session]]:
    for sessions, _ in zip(rounds_of(seed), range(5), strict=False):
        yield list(sessions)


@pytest.mark.timeout(120 + SECONDS)
def test_row_18_mutated_sessions(campaign: Campaign) -> None:
    """See `tests.fuzz.campaign` for what must hold; a failure says how the sessions are played again."""
    print(f"seed {SEED}: LUNGWATCH_TEST_FUZZ_SEED={SEED}")  # noqa: T201 - shown where the test fails
    fuzz(campaign, islice(rounds_of(SEED), ENOUGH // ROUND), SECONDS)
    # a fuzz that is refused at the door would find nothing
    reached = {what for what, count in campaign.reached.items() if count}
    if campaign.sessions >= ENOUGH:
        assert set() == EXPECTED_REACH - reached


EXPECTED_REACH = {
    *("status 8001 0000", "status 8001 a900", "status 8001 c000", "status 8001 0117", "status 8001 0122"),
    *("status 8030 0000", "status 8130 0000", "status 8130 0115"),
    *("rejected (1, 1, 2)", "rejected (1, 1, 3)", "rejected (1, 1, 7)", "aborted (2, 0)", "released"),
    *("log pdu_malformed", "log pdv_malformed", "log pdu_too_long", "log pdu_unexpected", "log message_pipelined"),
    *("log command_malformed", "log command_within_data_set", "log context_not_accepted", "log pdu_too_slow"),
}
