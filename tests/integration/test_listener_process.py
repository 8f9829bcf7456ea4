"""Starting, draining and being restarted."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.peers.data_sets import data_set, new_uid
from tests.peers.listener import ListenerProcess, Process, data_set_of
from tests.peers.raw import Context, RawPeer, fragments, message, store_command
from tests.waiting import wait_until


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_store_in_flight_at_sigterm_finishes(tmp_path: Path) -> None:
    instance = new_uid()
    data = data_set(instance, pixels=64 * 1024)
    parts = [*fragments(1, store_command(instance), command=True), *fragments(1, data, command=False)]
    with ListenerProcess(tmp_path / "data") as listener, RawPeer(listener.port) as busy, RawPeer(listener.port) as idle:
        busy.associate()
        idle.associate()
        with RawPeer(listener.port) as silent:
            for part in parts[:-1]:
                busy.send(part)
            os.kill(listener.pid, signal.SIGTERM)
            began = time.monotonic()
            wait_until(lambda: not accepts(listener.port), 5, "no connection is accepted any more")
            # those without anything in flight are sent away, politely where they can be told
            idle.wait_closed(10)
            silent.wait_closed(10)
            assert listener.process is not None
            assert listener.process.poll() is None
            busy.send(parts[-1])
            assert busy.response().status == 0x0000
            busy.release()
            assert listener.wait() == 0
            # not the drain's 30 s
            assert time.monotonic() - began < 25
        assert [data_set_of(path) for path in listener.files] == [data]


def test_a_sender_without_end_is_cut_between_two_images(tmp_path: Path) -> None:
    with ListenerProcess(tmp_path / "data") as listener, RawPeer(listener.port) as peer:
        peer.associate()
        os.kill(listener.pid, signal.SIGTERM)
        stored = peer.store_until_closed()
        assert listener.wait() == 0
        assert stored > 0
        assert len(listener.entries) == stored


def test_a_stalled_message_is_cut_at_the_end_of_the_drain(tmp_path: Path) -> None:
    with ListenerProcess(tmp_path / "data", settings={"drain_timeout": 1}) as listener, RawPeer(listener.port) as peer:
        peer.associate()
        peer.send(next(iter(fragments(1, store_command("1.2.3"), command=True))))
        peer.send(next(iter(fragments(1, bytes(20000), command=False))))
        began = time.monotonic()
        assert listener.terminate() == 0
        assert time.monotonic() - began < 15
        assert listener.entries == []


def test_a_message_begun_before_the_last_call_is_finished_after_it(tmp_path: Path) -> None:
    instance = new_uid()
    data = data_set(instance)
    command = store_command(instance)
    first, *rest = fragments(1, command, command=True, size=len(command) // 2)
    with ListenerProcess(tmp_path / "data") as listener, RawPeer(listener.port) as busy, RawPeer(listener.port) as idle:
        busy.associate().send(first)
        idle.associate([Context("1.2.840.10008.1.1")])
        # read before the drain begins, it is answered after what was sent before it
        assert idle.echo().status == 0x0000
        os.kill(listener.pid, signal.SIGTERM)
        # sent away when no more may be begun
        idle.wait_closed(10)
        for part in (*rest, *fragments(1, data, command=False)):
            busy.send(part)
        assert busy.response().status == 0x0000
        busy.socket.close()
        assert listener.wait() == 0
        assert [data_set_of(path) for path in listener.files] == [data]


def test_a_second_sigterm_ends_the_drain(tmp_path: Path) -> None:
    with ListenerProcess(tmp_path / "data") as listener, RawPeer(listener.port) as peer:
        peer.associate()
        peer.send(next(iter(fragments(1, store_command("1.2.3"), command=True))))
        os.kill(listener.pid, signal.SIGTERM)
        listener.wait_for("listener_draining")
        began = time.monotonic()

        def ended() -> bool:
            assert listener.process is not None
            if listener.process.poll() is None:
                os.kill(listener.pid, signal.SIGTERM)
                return False
            return True

        # one within two seconds of the first is the same wish, told twice
        wait_until(ended, 15, "the listener ends")
        assert time.monotonic() - began > 1.5
        assert listener.entries == []


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with ListenerProcess(tmp_path / "first") as first:
        second = Process(tmp_path / "second", ["dicom_listener", "server"], {"listen_port": first.port}).start()
        assert second.wait() == 2
        assert f"port {first.port} is already in use" in second.log
        assert "Traceback" not in second.log
        # the first one is none the worse
        with RawPeer(first.port) as peer:
            peer.associate()


def test_an_address_that_is_not_ours_is_named(tmp_path: Path) -> None:
    process = Process(tmp_path / "data", ["dicom_listener", "server"], {"listen_host": "192.0.2.1"}).start()
    assert process.wait() == 2
    assert "LUNGWATCH_LISTEN_HOST" in process.log


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[ListenerProcess]:
    """`lungwatch listen`: supervisor, server and registrar."""
    with ListenerProcess(tmp_path / "data", arguments=["cli", "listen"]) as process:
        yield process


def child(listen: ListenerProcess, part: str) -> psutil.Process:
    def found() -> psutil.Process | None:
        children = psutil.Process(listen.pid).children()
        return next((one for one in children if one.is_running() and one.cmdline()[-1:] == [part]), None)

    return wait_until(found, 20, f"{part} runs")


def test_a_killed_server_comes_back_on_its_port(listen: ListenerProcess) -> None:
    listen.wait_for("listening")
    server = child(listen, "server")
    family = server.children()
    server.kill()
    # those that shared its port go with it
    _, alive = psutil.wait_procs([server, *family], timeout=10)
    assert alive == []
    wait_until(lambda: accepts(listen.port), 20, "the port answers again")
    instance = new_uid()
    with RawPeer(listen.port) as peer:
        assert peer.associate().store(instance, data_set(instance)).status == 0x0000
    assert listen.terminate() == 0
    assert len(listen.entries) == 1
    assert not listen.announcement.exists()


def test_a_killed_supervisor_takes_its_children_along(listen: ListenerProcess) -> None:
    children = [child(listen, "server"), child(listen, "registrar")]
    listen.kill()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []


def test_listen_leaves_with_2_where_the_server_cannot_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = Process(tmp_path / "data", ["cli", "listen"], {"listen_port": port}).start()
        assert process.wait() == 2
    assert f"port {port} is already in use" in process.log
    assert "Traceback" not in process.log


def test_a_killed_metrics_process_comes_back_and_nobody_else_notices(tmp_path: Path) -> None:
    with ListenerProcess(tmp_path / "data") as listener, RawPeer(listener.port) as peer:
        peer.associate()
        associating = listener.association_processes
        (metrics,) = set(psutil.Process(listener.pid).children()) - set(associating)
        metrics.kill()
        listener.wait_for("process_died")
        wait_until(lambda: accepts(listener.metrics_port), 10, "the endpoint answers again")
        instance = new_uid()
        assert peer.store(instance, data_set(instance)).status == 0x0000
        assert listener.association_processes == associating
        assert listener.terminate() == 0


def test_every_process_drains_together(tmp_path: Path) -> None:
    """SIGTERM to the parent alone, with a store in flight in each of its processes."""
    instance = new_uid()
    most, last = message(store_command(instance)), message(b"", data_set(instance))[12:]
    with ListenerProcess(tmp_path / "data", settings={"listener_processes": 3}) as listener:
        peers = [RawPeer(listener.port).associate() for _ in range(12)]
        for peer in peers:
            peer.send(most)
        family = psutil.Process(listener.pid).children()
        os.kill(listener.pid, signal.SIGTERM)
        wait_until(lambda: not accepts(listener.port), 5, "no connection is accepted any more")
        for peer in peers:
            peer.send(last)
            assert peer.response().status == 0x0000
            peer.socket.close()
        assert listener.wait() == 0
        _, alive = psutil.wait_procs(family, timeout=1)
        assert alive == []
        assert len(listener.entries) == len(peers)
        assert listener.is_gapless
