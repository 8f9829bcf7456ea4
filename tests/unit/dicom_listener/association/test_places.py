from __future__ import annotations

import ipaddress
import os
import signal
import threading

from dicom_listener.association.places import Limits, Places
from dicom_listener.rejections import Rejection

HERE = ipaddress.ip_address("10.0.0.1")
THERE = ipaddress.ip_address("10.0.0.2")


def unknown(places: Places, address: ipaddress.IPv4Address | ipaddress.IPv6Address = HERE) -> int | Rejection:
    return places.take(address, None, reserve=True)


def test_there_are_as_many_as_there_are() -> None:
    places = Places(Limits(2, 0, 2))
    first = unknown(places)
    assert first == 0
    assert unknown(places) == 1
    assert unknown(places, THERE) is Rejection.LIMIT
    places.give_back(0)
    assert unknown(places, THERE) == 0


def test_unknown_peers_leave_the_reserved_places() -> None:
    places = Places(Limits(4, 2, 4))
    assert [unknown(places) for _ in range(3)] == [0, 1, Rejection.LIMIT]
    assert places.take(HERE, "PACS", reserve=True) == 2
    assert places.take(HERE, "PACS", reserve=True) == 3
    assert places.take(HERE, "PACS", reserve=True) is Rejection.LIMIT


def test_known_peers_do_not_use_up_what_is_open_to_all() -> None:
    places = Places(Limits(4, 2, 4))
    assert places.take(HERE, "PACS", reserve=True) == 0
    assert [unknown(places) for _ in range(3)] == [1, 2, Rejection.LIMIT]


def test_where_nobody_is_known_nothing_is_reserved() -> None:
    places = Places(Limits(2, 1, 2))
    assert [places.take(HERE, None, reserve=False) for _ in range(2)] == [0, 1]


def test_one_peer_holds_no_more_than_one_may() -> None:
    places = Places(Limits(9, 0, 2))
    assert [unknown(places) for _ in range(3)] == [0, 1, Rejection.PEER_LIMIT]
    # another name at the same address, another address
    assert places.take(HERE, "PACS", reserve=True) == 2
    assert unknown(places, THERE) == 3


def test_what_a_dead_process_held_is_free_again() -> None:
    places = Places(Limits(3, 0, 3))
    taken, go = os.pipe()
    pid = os.fork()
    if not pid:
        unknown(places)
        unknown(places)
        os.write(go, b".")
        signal.pause()
    assert os.read(taken, 1) == b"."
    assert unknown(places) == 2
    assert unknown(places) is Rejection.PEER_LIMIT
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert places.clear(pid) == 2
    assert [unknown(places) for _ in range(3)] == [0, 1, Rejection.PEER_LIMIT]
    os.close(taken)
    os.close(go)


def test_threads_and_processes_never_share_a_place() -> None:
    places = Places(Limits(40, 0, 40))
    got: list[int | Rejection] = []

    def take() -> None:
        got.extend(unknown(places) for _ in range(5))

    children = []
    for _ in range(4):
        pid = os.fork()
        if not pid:
            all_mine = all(isinstance(unknown(places), int) for _ in range(5))
            os._exit(0 if all_mine else 1)
        children.append(pid)
    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0] * 4
    mine = [place for place in got if isinstance(place, int)]
    assert len(mine) == len(set(mine)) == 20
    assert unknown(places) is Rejection.PEER_LIMIT
