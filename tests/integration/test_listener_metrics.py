"""What Prometheus sees of a real listener with two association processes."""

from __future__ import annotations

import contextlib
import os
import signal
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dicom_listener.association.door import MOST_WAITING
from tests.peers.data_sets import data_set, new_uid
from tests.peers.listener import ListenerProcess
from tests.peers.raw import (
    VERIFICATION,
    Closed,
    Context,
    RawPeer,
    Rejected,
    associate_request,
    echo_command,
    message,
    pdu,
)
from tests.peers.scene import introduce
from tests.waiting import wait_until

PREFIX = "lungwatch_listener_"
SETTINGS = {"listener_processes": 2}


class Scrape:
    """One look at everything."""

    def __init__(self, listener: ListenerProcess) -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{listener.metrics_port}/metrics", timeout=10) as response:
            self.text = response.read().decode()
        self.samples = {
            (one.name.removeprefix(PREFIX), frozenset(one.labels.items())): one.value
            for family in text_string_to_metric_families(self.text)
            for one in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float | None:
        return self.samples.get((name, frozenset(labels.items())))

    def total(self, name: str) -> float:
        return sum(value for (known, _), value in self.samples.items() if known == name)


def until(listener: ListenerProcess, holds: Callable[[Scrape], bool], what: str) -> Scrape:
    """A peer sees its answer a moment before it is counted."""
    seen: list[Scrape] = []

    def look() -> bool:
        seen.append(Scrape(listener))
        return holds(seen[-1])

    wait_until(look, 10, what)
    return seen[-1]


def store(listener: ListenerProcess, calling: bytes, count: int = 1) -> set[int]:
    statuses = set()
    with RawPeer(listener.port) as peer:
        peer.associate(calling=calling)
        for _ in range(count):
            instance = new_uid()
            statuses.add(peer.store(instance, data_set(instance)).status)
        peer.release()
    return statuses


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[ListenerProcess]:
    introduce(tmp_path / "data", b"PACS")
    with ListenerProcess(tmp_path / "data", settings=dict(SETTINGS)).start() as listener:
        yield listener


def test_stores_echoes_and_rejections_are_told_apart_by_peer(listener: ListenerProcess) -> None:
    for _ in range(4):
        assert store(listener, b"PACS", 2) == {0}
    assert store(listener, b"STRANGER") == {0}
    with RawPeer(listener.port) as peer:
        peer.associate([Context(VERIFICATION)], calling=b"PACS").echo()
        peer.release()
    with RawPeer(listener.port) as peer, pytest.raises(Rejected):
        peer.associate(called=b"ELSEWHERE", calling=b"PACS")
    now = until(
        listener,
        lambda now: (
            now("associations_total", outcome="released", peer="PACS") == 5
            and now("open_associations", peer="PACS") == now("waiting_connections") == now("temporary_files") == 0
        ),
        "all is counted and has ended",
    )
    assert now("associations_total", outcome="accepted", peer="PACS") == 5
    assert now("associations_total", outcome="accepted", peer="unknown") == 1
    assert now("associations_total", outcome="called_ae_title", peer="PACS") == 1
    assert now("answers_total", service="C-STORE", status="0x0000", peer="PACS") == 8
    assert now("answers_total", service="C-STORE", status="0x0000", peer="unknown") == 1
    assert now("answers_total", service="C-ECHO", status="0x0000", peer="PACS") == 1
    assert now("acknowledge_seconds_count", service="C-STORE") == 9
    assert 0 < (now("acknowledge_seconds_sum", service="C-STORE") or 0) < 60
    assert now("received_bytes_total", service="C-STORE", peer="unknown") == len(data_set(new_uid()))
    assert now("spool_entries") == 9
    assert (now("spool_oldest_seconds") or 0) < 60
    assert (now("processes"), now("process_starts_total"), now("refusing")) == (2, 2, 0)


def outcomes(scrape: Scrape, peer: str) -> dict[str, float]:
    """Return those that there were."""
    return {
        labels["outcome"]: value
        for name, labels, value in ((name, dict(labels), value) for (name, labels), value in scrape.samples.items())
        if name == "associations_total" and labels["peer"] == peer and value
    }


def test_every_connection_has_one_outcome_and_every_association_one_ending(listener: ListenerProcess) -> None:
    assert store(listener, b"PACS") == {0}
    with RawPeer(listener.port) as peer:
        peer.associate([Context(VERIFICATION)], calling=b"PACS")
        # the second before the first is answered
        peer.send(2 * message(echo_command()))
        peer.wait_closed(20)
    with RawPeer(listener.port) as peer:
        peer.associate(calling=b"PACS")
    with RawPeer(listener.port) as peer:
        peer.associate(calling=b"PACS").send(pdu(0x04, b"\0\0\0\x20"))
        peer.wait_closed(20)
    now = until(listener, lambda now: sum(outcomes(now, "PACS").values()) == 8, "all is counted")
    assert outcomes(now, "PACS") == {"accepted": 4, "released": 1, "aborted": 3}
    request = associate_request()
    for sent in (b"", request[:40], b"GET / HTTP/1.1\r\n\r\n"):
        with RawPeer(listener.port) as peer, contextlib.suppress(OSError):
            peer.send(sent)
    with RawPeer(listener.port) as peer, pytest.raises(Rejected):
        peer.negotiate(request[:6] + b"\0\2" + request[8:])
    now = until(listener, lambda now: sum(outcomes(now, "unknown").values()) == 4, "all is counted")
    assert outcomes(now, "unknown") == {"unasked": 3, "protocol_version": 1}
    assert now.total("open_associations") == now.total("waiting_connections") == 0


def test_who_is_too_slow_is_told_from_who_never_asked(tmp_path: Path) -> None:
    slow = {**SETTINGS, "network_timeout": 1, "request_timeout": 1}
    with (
        ListenerProcess(tmp_path / "data", settings=slow).start() as listener,
        RawPeer(listener.port) as idle,
        RawPeer(listener.port) as silent,
        RawPeer(listener.port) as half,
    ):
        idle.associate()
        half.send(associate_request()[:40])
        for one in (idle, silent, half):
            one.wait_closed(20)
        now = until(listener, lambda now: sum(outcomes(now, "unknown").values()) == 4, "all is counted")
        assert outcomes(now, "unknown") == {"accepted": 1, "timed_out": 1, "unasked": 2}


def test_who_is_cut_to_make_room_is_counted_once(tmp_path: Path) -> None:
    with (
        ListenerProcess(tmp_path / "data", settings={"listener_processes": 1}).start() as listener,
        contextlib.ExitStack() as silent,
    ):
        for _ in range(MOST_WAITING + 8):
            silent.enter_context(RawPeer(listener.port))
        now = until(listener, lambda now: outcomes(now, "unknown") == {"evicted": 8}, "all of them are counted")
        assert now.total("waiting_connections") == MOST_WAITING
        silent.close()
        ended = {"evicted": 8, "unasked": MOST_WAITING}
        until(listener, lambda now: outcomes(now, "unknown") == ended, "the others are counted")


def test_what_a_drain_ends_is_logged_as_drained(tmp_path: Path) -> None:
    with (
        ListenerProcess(tmp_path / "data", settings=dict(SETTINGS)).start() as listener,
        RawPeer(listener.port) as idle,
    ):
        idle.associate()
        assert listener.terminate() == 0
        names = [one["event"] for one in listener.events]
        assert names.count("association_drained") == 1
        assert "association_idle" not in names


def test_what_is_open_and_what_waits_is_seen_while_it_lasts(listener: ListenerProcess) -> None:
    with RawPeer(listener.port) as first, RawPeer(listener.port) as second, RawPeer(listener.port):
        first.associate(calling=b"PACS")
        second.associate(calling=b"STRANGER")
        now = until(listener, lambda now: now.total("waiting_connections") == 1, "one connection waits")
        assert now("open_associations", peer="PACS") == now("open_associations", peer="unknown") == 1
    until(
        listener,
        lambda now: now.total("open_associations") == now.total("waiting_connections") == 0,
        "nothing is open any more",
    )


def test_a_refusal_for_want_of_space_shows_as_0xa700_and_refusing(tmp_path: Path) -> None:
    disk = os.statvfs(tmp_path)
    # above what is free, and by less than what would reject associations outright
    floor = disk.f_bavail * disk.f_frsize * 3 // 2
    with ListenerProcess(tmp_path / "data", settings={**SETTINGS, "free_space_bytes": floor}).start() as listener:
        assert store(listener, b"PACS") == {0xA700}
        now = until(
            listener, lambda now: now("answers_total", service="C-STORE", status="0xA700", peer="unknown") == 1, "it"
        )
    assert now("refusing") == 1
    assert now("watermark_bytes") == pytest.approx(floor)
    assert (now("free_bytes") or 0) < floor
    assert now("spool_entries") == 0


def test_nothing_a_peer_sends_is_shown_and_series_do_not_grow_with_names(listener: ListenerProcess) -> None:
    before = len(Scrape(listener).samples)
    for title in (*(b'A"} 1 # %d' % number for number in range(10)), b"CANARY^JANE", b"unknown", b"pacs"):
        assert store(listener, title) == {0}
    for forged in (b"\x1b[31mX", b"A\nB", b"A\\B", b"\xff\xfe"):
        with pytest.raises(Closed):
            store(listener, forged)
    now = until(
        listener,
        lambda now: now("acknowledge_seconds_count", service="C-STORE") == 13,
        "all that was stored is counted",
    )
    assert len(now.samples) == before
    for received in ("CANARY", "\x1b", 'A"', "1.2.826", "1.2.840", *(entry.sha256 for entry in listener.entries)):
        assert received not in now.text


def test_an_association_process_that_is_killed_keeps_its_counts_and_holds_nothing_open(
    listener: ListenerProcess,
) -> None:
    children = {one["process"]: one["pid"] for one in listener.events if one["event"] == "process_started"}
    assert set(children) == {"associations-0", "associations-1", "metrics"}
    assert store(listener, b"PACS") == {0}
    held = [RawPeer(listener.port).associate(calling=b"PACS") for _ in range(6)]
    until(listener, lambda now: now("open_associations", peer="PACS") == 6, "six are open")
    for name in ("associations-0", "associations-1"):
        os.kill(children[name], signal.SIGKILL)
    now = until(listener, lambda now: now("process_starts_total") == 4 and now("processes") == 2, "both are back")
    assert now("open_associations", peer="PACS") == 0
    assert now("associations_total", outcome="accepted", peer="PACS") == 7
    assert now("answers_total", service="C-STORE", status="0x0000", peer="PACS") == 1
    for peer in held:
        peer.socket.close()
    assert store(listener, b"PACS") == {0}
    until(
        listener, lambda now: now("answers_total", service="C-STORE", status="0x0000", peer="PACS") == 2, "it goes on"
    )
    assert listener.terminate() == 0


def test_the_endpoint_comes_back_where_it_was_and_stores_never_notice(listener: ListenerProcess) -> None:
    (endpoint,) = [one["pid"] for one in listener.events if one.get("process") == "metrics"]
    assert store(listener, b"PACS") == {0}
    os.kill(endpoint, signal.SIGSTOP)
    assert store(listener, b"PACS") == {0}
    os.kill(endpoint, signal.SIGKILL)
    assert store(listener, b"PACS") == {0}
    until(
        listener, lambda now: now("answers_total", service="C-STORE", status="0x0000", peer="PACS") == 3, "it is back"
    )


def test_without_a_port_there_is_no_endpoint(tmp_path: Path) -> None:
    with ListenerProcess(tmp_path / "data", settings={"listener_metrics_port": ""}).start() as listener:
        assert listener.metrics_port == 0
        assert store(listener, b"PACS") == {0}
        assert "metrics" not in {one.get("process") for one in listener.events}
