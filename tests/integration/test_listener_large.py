"""Row 22: peers that send too much. Memory stays where it was, whatever length is declared or sent."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable

import pytest

from tests.peers.data_sets import data_set, element, new_uid
from tests.peers.footprint import MEGABYTE, watched
from tests.peers.raw import (
    ASSOCIATE_RQ,
    P_DATA,
    RELEASE_RQ,
    VERIFICATION,
    Closed,
    Context,
    RawPeer,
    command_set,
    echo_command,
    fragments,
    message,
    pdu,
    store_command,
    value,
)
from tests.peers.scene import SLACK, TIGHT, Scene

LIMIT = TIGHT["maximum_message_size"]
# previous tests' places may still be held for a moment
SETTINGS = {"maximum_associations": 40, "maximum_associations_per_peer": 30}
SECONDS = TIGHT["message_timeout"] + SLACK
ATTACKERS = 6
# above what it holds when quiet, for all attackers and the honest peer together
MORE = 64 * MEGABYTE


def flood(scene: Scene, act: Callable[[RawPeer], None], *, associated: bool = True) -> None:
    """Let every attacker do this at once, reading nothing, and hold the listener's memory against its bound."""
    peers = scene.associate(ATTACKERS, Context(), Context(VERIFICATION)) if associated else scene.connect(ATTACKERS)

    cut = []

    def send(peer: RawPeer) -> None:
        try:
            act(peer)
        except TimeoutError:
            return
        except (Closed, OSError):
            cut.append(peer)

    threads = [threading.Thread(target=send, args=(peer,)) for peer in peers]
    with watched(scene.listener.pid) as peak:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(cut) == ATTACKERS, "it still takes what some of them send"
    assert peak.memory < scene.quiet.memory + MORE, f"{peak.memory >> 20} MB, {scene.quiet.memory >> 20} when quiet"
    scene.close()
    scene.nothing_is_left()


def endless(piece: bytes) -> Callable[[RawPeer], None]:
    """Send until the listener closes, or beyond every deadline it has."""

    def act(peer: RawPeer) -> None:
        until = time.monotonic() + SECONDS
        peer.socket.settimeout(SECONDS)
        while time.monotonic() < until:
            peer.send(piece)

    return act


def read_to_the_end(peer: RawPeer) -> None:
    peer.wait_closed(SECONDS)
    raise Closed


@pytest.mark.parametrize(
    "kind", [ASSOCIATE_RQ, P_DATA, RELEASE_RQ, 0x42], ids=["request", "data", "release", "unknown"]
)
@pytest.mark.parametrize("associated", [True, False], ids=["associated", "before"])
def test_row_22_a_pdu_of_4_gib_is_cut_at_its_header(attacked: Scene, kind: int, *, associated: bool) -> None:
    def act(peer: RawPeer) -> None:
        peer.send(pdu(kind, b"", length=0xFFFFFFFF))
        endless(bytes(MEGABYTE))(peer)

    flood(attacked, act, associated=associated)


def test_row_22_a_pdu_above_the_maximum_length_is_cut(attacked: Scene) -> None:
    """What we ask for as maximum length is 128 KiB; a few times that may pass, 50 MB may not."""
    # once: six threads of this process would keep the honest peer's from its turns
    large = pdu(P_DATA, value(1, 0, bytes(50 * MEGABYTE)))

    def act(peer: RawPeer) -> None:
        peer.send(message(store_command("1.2.3")))
        peer.send(large)
        read_to_the_end(peer)

    flood(attacked, act)


def test_row_22_a_message_above_the_limit_is_cut(attacked: Scene) -> None:
    def act(peer: RawPeer) -> None:
        peer.send(message(store_command("1.2.3")))
        endless(pdu(P_DATA, value(1, 0, bytes(64 * 1024))))(peer)

    flood(attacked, act)
    attacked.listener.wait_for("message_too_long")


def test_row_22_a_message_above_the_limit_is_never_acknowledged(attacked: Scene) -> None:
    instance = new_uid()
    before = len(attacked.listener.entries)
    (peer,) = attacked.associate()
    with pytest.raises(Closed):
        peer.store(instance, data_set(instance, pixels=2 * LIMIT))
    attacked.honest.rest()
    sizes = [path.stat().st_size for path in attacked.listener.files[before:]]
    attacked.honest.go_on()
    assert max(sizes, default=0) < LIMIT


def test_row_22_a_message_at_the_limit_is_stored(attacked: Scene) -> None:
    instance = new_uid()
    (peer,) = attacked.associate()
    assert peer.store(instance, data_set(instance, pixels=LIMIT - 4096)).status == 0x0000


def test_row_22_a_command_without_end_is_cut(attacked: Scene) -> None:
    flood(attacked, endless(pdu(P_DATA, value(1, 1, struct.pack("<HHL", 0, 0x0002, 0) * 8000))))


def test_row_22_a_command_of_10_mb_is_cut(attacked: Scene) -> None:
    command = command_set({number: bytes(1000) for number in range(0x2000, 0x2000 + 10_000)})

    def act(peer: RawPeer) -> None:
        for part in fragments(1, command, command=True, size=100_000):
            peer.send(part)
        read_to_the_end(peer)

    flood(attacked, act)


def test_row_22_values_without_content_are_no_way_to_wait(attacked: Scene) -> None:
    """They add nothing to the message's length, so that only its deadline ends it."""
    flood(attacked, endless(pdu(P_DATA, value(1, 1, b"") * 1000)))


def test_row_22_stores_without_waiting_for_the_answer_are_cut(attacked: Scene) -> None:
    instance = new_uid()
    one = message(store_command(instance), data_set(instance, pixels=LIMIT // 2), size=64 * 1024)
    flood(attacked, endless(one))


def test_row_22_echoes_without_waiting_for_the_answer_are_cut(attacked: Scene) -> None:
    flood(attacked, endless(message(echo_command(), context=3) * 500))


def test_row_22_an_endless_sequence_is_bounded(attacked: Scene) -> None:
    """What the walker remembers of a data set does not grow with it."""
    depth = struct.pack("<HH2sHLHHL", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF, 0xFFFE, 0xE000, 0xFFFFFFFF)

    def act(peer: RawPeer) -> None:
        peer.send(message(store_command("1.2.3")))
        endless(pdu(P_DATA, value(1, 0, depth * 3000)))(peer)

    flood(attacked, act)


def test_row_22_a_pixel_element_that_declares_4_gib_is_bounded(attacked: Scene) -> None:
    start = data_set("1.2.3", pixel_data=element(0x7FE00010, "OW", b"", length=0xFFFFFFFE))

    def act(peer: RawPeer) -> None:
        peer.send(message(store_command("1.2.3")))
        peer.send(pdu(P_DATA, value(1, 0, start)))
        endless(pdu(P_DATA, value(1, 0, bytes(64 * 1024))))(peer)

    flood(attacked, act)
