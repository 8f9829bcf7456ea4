"""A listener under attack: one known peer that is served throughout, and what it held when all was quiet."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.peers.data_sets import data_set, new_uid
from tests.peers.footprint import Footprint
from tests.peers.honest import KNOWN, HonestPeer
from tests.peers.listener import ListenerProcess, events_in
from tests.peers.raw import Closed, Context, RawPeer
from tests.peers.stalls import Stalls
from tests.waiting import wait_until

# what a test of minutes would show is shown in seconds
TIGHT: Mapping[str, Any] = {
    "request_timeout": 2,
    "pdu_timeout": 2,
    "message_timeout": 5,
    "network_timeout": 3,
    "maximum_message_size": 1 << 20,
    "maximum_associations": 12,
    "maximum_associations_per_peer": 6,
    "reserved_associations": 4,
    "listener_processes": 2,
}
# the longest any one of these deadlines may take to be noticed, on a machine that is busy
SLACK = 3


def introduce(data: Path, ae_title: bytes = KNOWN, *addresses: str, unknown: str = "accept") -> None:
    """Write the peers file: one known peer, and what becomes of others."""
    data.mkdir(parents=True, exist_ok=True)
    listed = ", ".join(f'"{address}"' for address in addresses or ("127.0.0.1",))
    (data / "peers.toml").write_text(
        f'unknown = "{unknown}"\n\n[[peer]]\nae_title = "{ae_title.decode()}"\naddresses = [{listed}]\n'
    )


@dataclass
class Scene:
    """A context manager: starts the listener and the honest peer, and at the end holds what is left against before."""

    listener: ListenerProcess
    honest: HonestPeer
    quiet: Footprint
    stalls: Stalls
    opened: list[RawPeer] = field(default_factory=list)

    @classmethod
    def begin(cls, data: Path, environment: Mapping[str, str] | None = None, **settings: Any) -> Self:
        """Start the listener, warm it up and see what it holds."""
        introduce(data)
        listener = ListenerProcess(data, settings={**TIGHT, **settings}).start(**(environment or {}))
        honest = HonestPeer(listener.port)
        # whatever is loaded at first use is loaded now, in each of its processes
        for _ in range(12):
            assert honest.store().trouble is None
        scene = cls(listener, honest, Footprint.of(listener.pid), Stalls(data.parent))
        wait_until(scene._settled, 20, "the listener comes to rest")
        return scene

    def _settled(self) -> bool:
        before, self.quiet = self.quiet, Footprint.of(self.listener.pid)
        return (before.threads, before.descriptors) == (self.quiet.threads, self.quiet.descriptors)

    def __enter__(self) -> Self:
        self.stalls.__enter__()
        self.honest.go_on()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if error is None:
                self.nothing_is_left()
                self.log_is_clean()
        finally:
            self.honest.rest()
            self.stalls.__exit__(kind, error, at)
            self.listener.__exit__(kind, error, at)

    @property
    def port(self) -> int:
        return self.listener.port

    def connect(self, count: int = 1, **options: Any) -> list[RawPeer]:
        """Open connections that say nothing; closed after the test at the latest."""
        peers = [RawPeer(self.port, **options) for _ in range(count)]
        self.opened += peers
        return peers

    def associate(self, count: int = 1, *contexts: Context, calling: bytes = b"EVIL") -> list[RawPeer]:
        """Open associations of unknown peers."""
        return [peer.associate(contexts or (Context(),), calling=calling) for peer in self.connect(count)]

    def close(self) -> None:
        """Close whatever a test has opened."""
        for peer in self.opened:
            peer.socket.close()
        self.opened.clear()

    def served_since(self, moment: float) -> None:
        """Fail unless the honest peer was served in time since a moment of `time.monotonic`."""
        self.honest.served_since(moment, self.stalls)

    def nothing_is_left(self, seconds: float = 15, **margin: int) -> None:
        """Fail unless threads, descriptors and memory go back to what they were."""
        self.honest.rest()
        deadline = time.monotonic() + seconds
        try:
            while not (found := Footprint.of(self.listener.pid)).within(self.quiet, **margin):
                assert time.monotonic() < deadline, f"{found} has not gone back to {self.quiet}"
                time.sleep(0.1)
            assert self.listener.leftovers == []
        finally:
            self.honest.go_on()

    def log_is_clean(self) -> None:
        """Fail if the log holds a traceback, a line that is no event of ours, or received text."""
        # read once: the listener still runs, and may say something more at any moment
        log = self.listener.log
        assert "Traceback" not in log
        assert len(events_in(log)) == len(log.splitlines())
        for received in ("Canary", "1.2.826.0.1.3680043.8.498", "1.2.840.10008"):
            assert received not in log


def stores(port: int, calling: bytes = KNOWN) -> bool:
    """Store one instance; say whether it was acknowledged."""
    instance = new_uid()
    try:
        with RawPeer(port, timeout=5) as peer:
            return peer.associate(calling=calling).store(instance, data_set(instance)).status == 0x0000
    except (Closed, OSError):
        return False


def closes_within(peers: list[RawPeer], seconds: float) -> float:
    """Wait until the listener has closed every one of these; return how long the last took."""
    began = time.monotonic()
    for peer in peers:
        try:
            peer.wait_closed(max(seconds - (time.monotonic() - began), 0.01))
        except TimeoutError:
            raise AssertionError(f"a connection is still open after {seconds:g} s") from None
        finally:
            peer.socket.close()
    return time.monotonic() - began
