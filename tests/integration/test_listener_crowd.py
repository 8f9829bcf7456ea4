"""Row 19: more peers than there are places. Unknown ones are refused at once; known ones find theirs kept."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.data_sets import data_set, new_uid
from tests.peers.honest import KNOWN
from tests.peers.listener import ListenerProcess
from tests.peers.raw import Closed, RawPeer, Rejected, associate_request
from tests.peers.scene import SLACK, TIGHT, Scene, closes_within, introduce, stores
from tests.waiting import wait_until

IDLE, REQUEST = TIGHT["network_timeout"], TIGHT["request_timeout"]
TOTAL, RESERVED, PER_PEER = (
    TIGHT["maximum_associations"],
    TIGHT["reserved_associations"],
    TIGHT["maximum_associations_per_peer"],
)
LOCAL_LIMIT = (2, 3, 2)
CALLING_NOT_RECOGNISED = (1, 1, 3)
CALLED_NOT_RECOGNISED = (1, 1, 7)
ACCEPTED = "accepted"
Outcome = str | tuple[int, int, int]


def outcome(peer: RawPeer, calling: bytes = b"EVIL", called: bytes = b"LUNGWATCH") -> Outcome:
    try:
        peer.associate(calling=calling, called=called)
    except Rejected as rejection:
        return rejection.why
    except Closed:
        return "closed"
    return ACCEPTED


def forged(number: int) -> bytes:
    """A calling AE title nobody else uses: a limit for each title alone would be no limit."""
    return f"FORGED{number}".encode()


def hold_every_open_place(scene: Scene) -> None:
    """From two addresses, since one address of unknown peers counts as one peer, whatever it calls itself."""
    outcomes = []
    for number in range(TOTAL):
        (peer,) = scene.connect(source=f"127.0.0.{2 + number % 2}")
        outcomes.append(outcome(peer, forged(number)))
    assert outcomes == [ACCEPTED] * (TOTAL - RESERVED) + [LOCAL_LIMIT] * RESERVED


def test_row_19_two_hundred_associations_and_two_hundred_sockets(attacked: Scene) -> None:
    outcomes: Counter[Outcome] = Counter()
    slowest = 0.0
    peers = [attacked.connect(source=f"127.0.0.{1 + number % 4}")[0] for number in range(200)]
    for number, peer in enumerate(peers):
        began = time.monotonic()
        outcomes[outcome(peer, forged(number))] += 1
        slowest = max(slowest, time.monotonic() - began)
    attacked.connect(200)
    for _ in range(5):
        assert attacked.honest.store().trouble is None
    # those that idle are ended in time to let some of the last ones in
    assert outcomes[ACCEPTED] <= 4 * (TOTAL - RESERVED)
    assert outcomes[ACCEPTED] >= 1
    # the oldest of 200 connections that wait may have been let go before they asked
    assert outcomes[LOCAL_LIMIT] + outcomes["closed"] == 200 - outcomes[ACCEPTED]
    assert slowest < 1
    closes_within(attacked.opened, IDLE + REQUEST + SLACK)
    attacked.nothing_is_left()


def test_row_19_unknown_peers_leave_the_reserved_places(attacked: Scene) -> None:
    attacked.honest.rest()
    hold_every_open_place(attacked)
    known = [outcome(attacked.connect()[0], KNOWN) for _ in range(RESERVED + 1)]
    assert known == [ACCEPTED] * RESERVED + [LOCAL_LIMIT]
    attacked.close()
    attacked.honest.go_on()
    attacked.nothing_is_left()


def test_row_19_one_peer_cannot_take_every_place(attacked: Scene) -> None:
    """Whatever it calls itself; its address alone says who it is."""
    outcomes = [outcome(peer, forged(number)) for number, peer in enumerate(attacked.connect(PER_PEER + 2))]
    assert outcomes == [ACCEPTED] * PER_PEER + [LOCAL_LIMIT] * 2
    # another one gets in
    assert outcome(attacked.connect(source="127.0.0.2")[0], b"OTHER") == ACCEPTED
    attacked.close()
    wait_until(lambda: stores(attacked.port, b"EVIL"), 10, "places are free again")


def test_row_19_connections_that_say_nothing_do_not_shut_the_door(attacked: Scene) -> None:
    """More of them than there can be waiting; the oldest makes room, so that who asks at once is heard."""
    peers = attacked.connect(500)
    began = time.monotonic()
    for _ in range(5):
        assert attacked.honest.store().trouble is None
    assert stores(attacked.port, b"UNKNOWN")
    assert time.monotonic() - began < 5
    closes_within(peers, REQUEST + SLACK)
    attacked.nothing_is_left()


def test_row_19_connections_that_come_and_go_do_not_shut_the_door(attacked: Scene) -> None:
    until = time.monotonic() + 3
    count = 0
    while time.monotonic() < until:
        attacked.connect(20)
        attacked.close()
        count += 20
    assert count > 100
    attacked.nothing_is_left()


def test_row_19_a_storm_of_requests_that_are_refused_does_not_shut_the_door(attacked: Scene) -> None:
    """They ask at once, are refused at once, and do not close: whatever they still hold is not the known peer's."""
    until = time.monotonic() + 4
    request = associate_request(called=b"ANY-SCP", calling=b"EVIL")
    while time.monotonic() < until:
        for peer in attacked.connect(20):
            with contextlib.suppress(Closed):
                peer.send(request)
        if len(attacked.opened) > 700:
            attacked.close()
    attacked.close()
    attacked.nothing_is_left()


def test_row_19_rejected_peers_that_stay_are_let_go(attacked: Scene) -> None:
    """A rejected peer that does not close keeps neither thread nor descriptor of ours."""
    peers = attacked.connect(60)
    outcomes = {outcome(peer, called=b"ANY-SCP") for peer in peers}
    assert outcomes <= {CALLED_NOT_RECOGNISED, "closed"}
    closes_within(peers, REQUEST + SLACK)
    attacked.nothing_is_left()


def test_a_title_forged_from_elsewhere_is_no_known_peer(attacked: Scene) -> None:
    """The peers file binds the title to an address; from another one nobody may use it."""
    attacked.honest.rest()
    hold_every_open_place(attacked)
    assert outcome(attacked.connect(source="127.0.0.9")[0], KNOWN) == CALLING_NOT_RECOGNISED
    assert outcome(attacked.connect()[0], KNOWN) == ACCEPTED
    attacked.close()
    attacked.honest.go_on()


@pytest.mark.parametrize(
    ("calling", "called", "source", "expected"),
    [
        (KNOWN, b"LUNGWATCH", "127.0.0.1", ACCEPTED),
        (KNOWN, b"LUNGWATCH", "127.0.0.9", CALLING_NOT_RECOGNISED),
        (b"STRANGER", b"LUNGWATCH", "127.0.0.1", CALLING_NOT_RECOGNISED),
        (b"pacs", b"LUNGWATCH", "127.0.0.1", CALLING_NOT_RECOGNISED),
        # PS3.8 9.3.2: sixteen spaces are no title
        (b"", b"LUNGWATCH", "127.0.0.1", CALLING_NOT_RECOGNISED),
        (KNOWN, b"ANY-SCP", "127.0.0.1", CALLED_NOT_RECOGNISED),
        (KNOWN, b"", "127.0.0.1", CALLED_NOT_RECOGNISED),
    ],
    ids=["known", "elsewhere", "stranger", "other case", "no title", "wrong called title", "no called title"],
)
def test_where_strangers_are_refused(
    strict: ListenerProcess, calling: bytes, called: bytes, source: str, expected: Outcome
) -> None:
    with RawPeer(strict.port, source=source) as peer:
        assert outcome(peer, calling, called) == expected


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ListenerProcess]:
    data = tmp_path_factory.mktemp("strict") / "data"
    introduce(data, unknown="refuse")
    with ListenerProcess(data) as listener:
        yield listener


def test_row_19_a_flood_of_strangers_where_they_are_refused(tmp_path: Path) -> None:
    """They cannot hold a place at all, and are told so, not heard out."""
    introduce(tmp_path / "data", unknown="refuse")
    with ListenerProcess(tmp_path / "data", settings=dict(TIGHT)) as listener:
        for number in range(100):
            with RawPeer(listener.port) as peer:
                assert outcome(peer, forged(number)) == CALLING_NOT_RECOGNISED
        instance = new_uid()
        with RawPeer(listener.port) as peer:
            assert peer.associate(calling=KNOWN).store(instance, data_set(instance)).status == 0x0000
        said = [event for event in listener.events if event["level"] == "warning"]
        # once a minute, however many there are
        assert 1 <= len(said) <= 4
