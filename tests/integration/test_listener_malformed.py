"""Row 18, by name: each way of breaking the protocol costs the sender its association and nobody anything else."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Mapping

import pytest

from tests.peers import malformed
from tests.peers.data_sets import data_set, new_uid
from tests.peers.malformed import BEFORE_ASSOCIATION, BROKEN_MESSAGES, BROKEN_PDUS, PECULIAR_REQUESTS, Breach
from tests.peers.raw import (
    ABORT,
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    RELEASE_RP,
    RELEASE_RQ,
    Closed,
    RawPeer,
    Rejected,
    fragments,
    message,
    pdu,
    store_command,
)
from tests.peers.scene import SLACK, TIGHT, Scene, closes_within

# the peer is told at once or, where it might still go on, at a deadline
SECONDS = max(TIGHT["request_timeout"], TIGHT["pdu_timeout"], TIGHT["network_timeout"]) + SLACK
# many at a time would be refused for their number
SETTINGS = {"maximum_associations": 60, "maximum_associations_per_peer": 50}
C_ECHO_RSP = 0x8030
EVERY_BREACH: Mapping[str, Breach] = {**BROKEN_PDUS, **BROKEN_MESSAGES}


@pytest.mark.parametrize("name", BEFORE_ASSOCIATION)
def test_row_18_no_association_comes_of(attacked: Scene, name: str) -> None:
    (peer,) = attacked.connect()
    peer.socket.settimeout(SECONDS)
    with contextlib.suppress(Closed):
        peer.send(BEFORE_ASSOCIATION[name])
        kind, content = peer.read()
        # accepted at most with no context at all; that connections told no are closed, row 19 shows
        assert kind in {ABORT, ASSOCIATE_RJ} or (kind == ASSOCIATE_AC and not accepted_contexts(content))


def accepted_contexts(content: bytes) -> list[int]:
    """The numbers of the contexts an A-ASSOCIATE-AC accepts."""
    found, position = [], 68
    while position < len(content):
        kind, length = struct.unpack_from(">BxH", content, position)
        if kind == 0x21 and content[position + 6] == 0:
            found.append(content[position + 4])
        position += 4 + length
    return found


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("protocol version 0", (1, 2, 2)),
        ("protocol version 2 alone", (1, 2, 2)),
        ("another application context", (1, 1, 2)),
    ],
)
def test_row_18_the_reason_is_given(attacked: Scene, name: str, why: tuple[int, int, int]) -> None:
    (peer,) = attacked.connect()
    with pytest.raises(Rejected) as rejection:
        peer.negotiate(BEFORE_ASSOCIATION[name])
    assert rejection.value.why == why


@pytest.mark.parametrize("name", PECULIAR_REQUESTS)
def test_row_18_a_peculiar_request_is_served_or_refused(attacked: Scene, name: str) -> None:
    (peer,) = attacked.connect()
    peer.socket.settimeout(SECONDS)
    with contextlib.suppress(Closed):
        peer.negotiate(PECULIAR_REQUESTS[name])
        if 1 in peer.accepted:
            instance = new_uid()
            data = data_set(instance, explicit=peer.accepted[1] != malformed.IMPLICIT)
            assert peer.store(instance, data).status == 0x0000
            peer.release()


@pytest.mark.parametrize("name", ["protocol versions 1 and 2", "128 contexts", "a maximum length of 0"])
def test_row_18_a_legal_request_is_served(attacked: Scene, name: str) -> None:
    """Bit 0 alone of the protocol version is looked at, and 128 contexts are what fits (PS3.8 9.3.2)."""
    (peer,) = attacked.connect()
    peer.negotiate(PECULIAR_REQUESTS[name])
    assert set(peer.results.values()) == {0}
    instance = new_uid()
    assert peer.store(instance, data_set(instance)).status == 0x0000


@pytest.mark.parametrize("name", EVERY_BREACH)
def test_row_18_a_breach_costs_the_association(attacked: Scene, name: str) -> None:
    breach = EVERY_BREACH[name]
    (peer,) = attacked.associate(1, *malformed.ESTABLISHED_CONTEXTS)
    peer.socket.settimeout(SECONDS)
    before = len(attacked.listener.entries)
    try:
        peer.send(breach.content)
        if breach.forgivable:
            # whatever it answers to that, an echo is answered afterwards; or it has aborted
            peer.send(message(malformed.echo_command(), context=3))
            while (response := peer.response()).command != C_ECHO_RSP or response.status != 0x0000:
                pass
        else:
            while (kind := peer.read()[0]) != ABORT:
                assert kind == RELEASE_RP, kind
    except TimeoutError:
        raise AssertionError("neither aborted nor ended for being idle") from None
    except Closed:
        pass
    assert len(attacked.listener.entries) >= before


def test_row_18_all_of_them_at_once_leave_nothing(attacked: Scene) -> None:
    for round_of in range(3):
        connections = attacked.connect(len(BEFORE_ASSOCIATION))
        for peer, content in zip(connections, BEFORE_ASSOCIATION.values(), strict=True):
            with contextlib.suppress(Closed):
                peer.send(content)
        for breach in EVERY_BREACH.values():
            with contextlib.suppress(Closed):
                (peer,) = attacked.associate(1, *malformed.ESTABLISHED_CONTEXTS, calling=f"EVIL{round_of}".encode())
                peer.send(breach.content)
            peer.socket.close()
        attacked.close()
    attacked.nothing_is_left()


def half_a_store(peer: RawPeer) -> None:
    peer.send(message(store_command("1.2.3")))
    peer.send(next(fragments(1, bytes(20_000), command=False)))


@pytest.mark.parametrize("end", [RELEASE_RQ, ABORT], ids=["release", "abort"])
def test_row_18_ending_in_the_middle_of_a_message_stores_nothing(attacked: Scene, end: int) -> None:
    attacked.honest.rest()
    before = attacked.listener.entries
    peers = attacked.associate(5)
    for peer in peers:
        half_a_store(peer)
        peer.send(pdu(end, bytes(4)))
    closes_within(peers, SECONDS)
    assert attacked.listener.entries == before
    attacked.nothing_is_left()


def test_row_18_release_and_abort_collide_with_an_answer(attacked: Scene) -> None:
    """The peer asks for the end before it has its answer: the store counts or not, and all is let go."""
    for end in (RELEASE_RQ, ABORT, RELEASE_RP):
        for _ in range(10):
            (peer,) = attacked.associate()
            instance = new_uid()
            with contextlib.suppress(Closed):
                peer.send(message(store_command(instance), data_set(instance)) + pdu(end, bytes(4)))
            peer.socket.close()
    attacked.nothing_is_left()


def test_row_18_a_release_right_behind_a_store_does_not_overtake_its_answer(attacked: Scene) -> None:
    (peer,) = attacked.associate()
    instance = new_uid()
    peer.send(message(store_command(instance), data_set(instance)) + pdu(RELEASE_RQ, bytes(4)))
    assert peer.response().status == 0x0000
    kind, _ = peer.read()
    assert kind == RELEASE_RP
    attacked.nothing_is_left()


def test_row_18_a_reset_at_any_moment_is_survived(attacked: Scene) -> None:
    """SO_LINGER of zero: the listener meets a reset where it reads or writes."""
    instance = new_uid()
    content = message(store_command(instance), data_set(instance))
    for cut in range(1, len(content), len(content) // 25):
        (peer,) = attacked.associate()
        peer.send(content[:cut])
        peer.reset()
    for _ in range(10):
        (peer,) = attacked.connect()
        peer.reset()
    attacked.nothing_is_left()
