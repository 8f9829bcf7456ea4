"""Row 23: the wall clock jumps. Deadlines go by the monotonic one, so that nothing is aborted early or kept longer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.peers.data_sets import data_set, new_uid
from tests.peers.raw import fragments, message, store_command
from tests.peers.scene import SLACK, TIGHT, Scene, closes_within
from tests.peers.wall_clock import WallClock

IDLE, REQUEST, MESSAGE = TIGHT["network_timeout"], TIGHT["request_timeout"], TIGHT["message_timeout"]
HOUR, DAY = 3600, 86_400


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> WallClock:
    return WallClock(tmp_path_factory.mktemp("clock"))


@pytest.fixture
def jumping(clock: WallClock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    clock.jump_to(0)
    with Scene.begin(tmp_path_factory.mktemp("jumping") / "data", environment=clock.environment) as scene:
        began = time.monotonic()
        yield scene
        scene.close()
        scene.served_since(began)


@pytest.mark.requires("gcc")
@pytest.mark.parametrize("jump", [2 * HOUR, -2 * HOUR, DAY, -DAY], ids=["+2 h", "-2 h", "+1 day", "-1 day"])
def test_row_23_no_association_is_aborted_or_extended(jumping: Scene, clock: WallClock, jump: int) -> None:
    begun, idle, silent = jumping.associate(2), jumping.associate(2), jumping.connect(2)
    instance = new_uid()
    data = data_set(instance, pixels=64 * 1024)
    first, *rest = fragments(1, data, command=False)
    for peer in begun:
        peer.send(message(store_command(instance)))
        peer.send(first)
    clock.jump_to(jump)
    jumped = time.monotonic()
    for _ in range(5):
        assert jumping.honest.store().trouble is None
    # what was begun before is finished after
    for peer in begun:
        peer.send(b"".join(rest))
        assert peer.response().status == 0x0000
    # and what may not stay does not
    closes_within(silent, jumped + REQUEST + SLACK - time.monotonic())
    closes_within(idle, jumped + IDLE + SLACK - time.monotonic())
    closes_within(begun, IDLE + SLACK)
    jumping.nothing_is_left()
    # or this would have shown nothing
    said = datetime.fromisoformat(jumping.listener.events[-1]["timestamp"])
    assert abs((said - datetime.now(UTC)).total_seconds() - jump) < HOUR


@pytest.mark.requires("gcc")
def test_row_23_a_half_pdu_is_cut_in_time_whatever_the_wall_clock_does(jumping: Scene, clock: WallClock) -> None:
    peers = jumping.associate(3)
    for peer in peers:
        peer.send(next(fragments(1, bytes(1000), command=False))[:500])
    clock.jump_to(-DAY)
    closes_within(peers, TIGHT["pdu_timeout"] + SLACK)
    jumping.nothing_is_left()
