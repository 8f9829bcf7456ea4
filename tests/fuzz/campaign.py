"""A listener, an honest peer and rounds of sessions; after each round, what must hold is looked at."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psutil

from core.spool import Entry
from tests.fuzz.drafts import REPORTED, REPORTED_SOURCE
from tests.fuzz.oracle import Held
from tests.fuzz.player import Played, play
from tests.fuzz.session import Session, save
from tests.peers.honest import badly_served
from tests.peers.listener import data_set_of
from tests.peers.scene import Scene

PLAYERS = 8
# so many that none is refused for their number: what the caps do, rows 19 and 20 show
SETTINGS = {"maximum_associations": 60, "maximum_associations_per_peer": 40, "reserved_associations": 10}
# what a listener may say that is attacked and in good health; anything else is a finding
EXPECTED_EVENTS = frozenset(
    {
        "association_accepted",
        "association_idle",
        "association_rejected_application_context",
        "association_rejected_called_ae_title",
        "association_rejected_calling_ae_title",
        "association_rejected_protocol_version",
        "command_malformed",
        "command_too_long",
        "command_within_data_set",
        "commitment_refused",
        "commitment_requested",
        "context_not_accepted",
        "data_set_without_command",
        "instance_received",
        "instance_refused",
        "listener_started",
        "message_changes_context",
        "message_pipelined",
        "message_too_long",
        "pdu_empty",
        "pdu_malformed",
        "pdu_too_long",
        "pdu_too_slow",
        "pdu_unexpected",
        "pdvs_too_short",
        "pdv_empty",
        "pdv_malformed",
        "peers_file_read",
        "process_started",
        "request_too_late",
        "too_many_contexts",
        "too_many_items",
    }
)
# parts of what was sent; AE titles alone, printable, may be told
_RECEIVED = ("Canary", "1.2.826.0.1.3680043.8.498", "1.2.840.10008", "1.2.276.0.99", "Traceback")
# the instances of the honest peer, see `tests.peers.data_sets.new_uid`
_HONEST = re.compile(r"1\.2\.826\.0\.1\.3680043\.8\.498\.\d+")
_PEERS = f"""\
unknown = "accept"

[[peer]]
ae_title = "PACS"
addresses = ["127.0.0.1"]

[[peer]]
ae_title = "{REPORTED.decode()}"
addresses = ["{REPORTED_SOURCE}"]
report_to = "127.0.0.1:9"
"""


class Finding(AssertionError):
    """Something that must hold does not."""

    def __init__(self, what: Sequence[str], saved: Path) -> None:
        told = "\n  ".join(what[:20])
        super().__init__(f"{told}\nthe sessions played meanwhile: python -m tests.fuzz --replay {saved}")
        self.saved = saved


@dataclass
class Campaign:
    """What has been played and seen so far.

    `reached` counts statuses, rejections, aborts and log events; `mutated`
    counts mutations played.
    """

    scene: Scene
    saved: Path
    pids: frozenset[int]
    files: frozenset[Path]
    reached: Counter[str] = field(default_factory=Counter)
    mutated: Counter[str] = field(default_factory=Counter)
    sessions: int = 0
    _since_rest: list[Session] = field(default_factory=list)
    _found: Counter[Held] = field(default_factory=Counter)
    _claimed: Counter[Held] = field(default_factory=Counter)
    _whole: set[tuple[str, str]] = field(default_factory=set)
    _sequences: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    _honest: int = 0
    _log: int = 0

    @classmethod
    @contextmanager
    def begin(cls, data: Path, saved: Path) -> Iterator[Self]:
        """Start a listener of two processes and the honest peer; at the end they must be as they were."""
        with Scene.begin(data, **SETTINGS) as scene:
            # at one go: the listener may look at any moment
            (data / "peers.new").write_text(_PEERS)
            (data / "peers.new").replace(data / "peers.toml")
            campaign = cls(scene, saved, _pids(scene), frozenset(_outside(data)))
            yield campaign

    @property
    def stored(self) -> set[str]:
        """SOP instances that have come into the spool."""
        return {held.instance for held in self._found}

    def round(self, sessions: Sequence[Session], *, players: int = PLAYERS) -> None:
        """Play them, several at once, and look at what must hold.

        Raises
        ------
        Finding
            With the file that the sessions concerned were saved to.
        """
        self._since_rest += sessions
        with ThreadPoolExecutor(players) as threads:
            played = list(threads.map(lambda session: play(self.scene.port, session), sessions))
        self.sessions += len(played)
        for one in played:
            self.reached.update(one.reached)
            self.mutated.update(one.session.mutations or ("none",))
        self._look_into_spool()
        self._blame(played)
        self._look_at_the_rest(sessions)

    def rest(self) -> None:
        """Let the honest peer pause and see that nothing is left of any session since the last rest.

        Raises
        ------
        Finding
        """
        try:
            self.scene.nothing_is_left()
        except AssertionError as error:
            raise self._finding([str(error)], self._since_rest) from None
        self._look_at_the_rest(self._since_rest, whole=True)
        self._since_rest.clear()

    def _blame(self, played: Sequence[Played]) -> None:
        """Find what one session alone has shown."""
        for one in played:
            self._claimed.update(one.held)
            self._whole.update(one.whole)
            one.trouble += [
                f"acknowledged but not in the spool with these bytes: {held}"
                for held in one.held
                if self._claimed[held] > self._found[held]
            ]
        guilty = [one for one in played if one.trouble]
        if guilty:
            what = [
                f"{one.session.name} ({', '.join(one.session.mutations)}): {told}"
                for one in guilty
                for told in one.trouble
            ]
            raise self._finding(what, [one.session for one in guilty])

    def _look_into_spool(self) -> None:
        """Check what is new against its name, and make room."""
        spool = self.scene.listener.spool
        for directory, commitment in ((spool.new, False), (spool.commitments, True)):
            for path in directory.iterdir():
                if path.name.startswith("."):
                    continue
                entry, content = Entry.parse(path.name), path.read_bytes()
                data = data_set_of(path)
                self._sequences[entry.incarnation].append(entry.sequence)
                problem = hashlib.sha256(content).hexdigest() != entry.sha256 or not data
                if problem:
                    raise self._finding([f"{path.name} has other bytes than its name says"], self._since_rest)
                self._found[_held(content[: -len(data)], data, commitment=commitment)] += 1
                path.unlink()

    def _look_at_the_rest(self, sessions: Sequence[Session], *, whole: bool = False) -> None:
        found = [*self._log_trouble(), *self._honest_trouble()]
        if _pids(self.scene) != self.pids:
            found.append(f"processes {sorted(self.pids)} are now {sorted(_pids(self.scene))}")
        if whole:
            found += [f"in the spool, though nobody sent it whole: {held}" for held in self._found if self._half(held)]
            found += [f"made outside the spool: {path}" for path in _outside(self.scene.listener.data) - self.files]
            found += [f"a gap in {run}" for run, numbers in self._sequences.items() if len(numbers) != max(numbers)]
        if found:
            raise self._finding(found, sessions)

    def _half(self, held: Held) -> bool:
        return not _HONEST.fullmatch(held.instance) and (held.instance, held.digest) not in self._whole

    def _log_trouble(self) -> list[str]:
        with self.scene.listener.log_path.open("rb") as log:
            log.seek(self._log)
            lines = log.read().rpartition(b"\n")
        self._log += len(lines[0]) + len(lines[1])
        found = []
        for line in lines[0].decode(errors="replace").splitlines():
            event = json.loads(line).get("event") if line.startswith("{") else "no event"
            self.reached[f"log {event}"] += 1
            if event not in EXPECTED_EVENTS or any(received in line for received in _RECEIVED):
                found.append(f"the log says: {line[:500]}")
        return found

    def _honest_trouble(self) -> list[str]:
        stores = self.scene.honest.stores[self._honest :]
        self._honest += len(stores)
        return list(badly_served(stores, self.scene.stalls))

    def _finding(self, what: Sequence[str], sessions: Sequence[Session]) -> Finding:
        return Finding(what, save(sessions, self.saved))


def _held(meta: bytes, data: bytes, *, commitment: bool) -> Held:
    """Read the file meta information by its elements, which are short and in order (PS3.10 7.1)."""
    said: dict[int, str] = {}
    position = meta.index(b"DICM") + 4
    while position < len(meta):
        number, vr = int.from_bytes(meta[position + 2 : position + 4], "little"), meta[position + 4 : position + 6]
        start, size = (position + 12, 4) if vr in {b"OB", b"UN"} else (position + 8, 2)
        length = int.from_bytes(meta[start - size : start], "little")
        said[number] = meta[start : start + length].rstrip(b"\0 ").decode("latin-1")
        position = start + length
    return Held(commitment, said[0x0003], said[0x0010], hashlib.sha256(data).hexdigest())


def _pids(scene: Scene) -> frozenset[int]:
    return frozenset(child.pid for child in psutil.Process(scene.listener.pid).children(recursive=True))


def _outside(data: Path) -> set[Path]:
    """Everything in and beside the data directory that is no entry of the spool."""
    return {
        path
        for path in data.parent.rglob("*")
        if not (path.parent.name in {"new", "commitment", "tmp"} and path.parent.parent.parent.name == "spool")
    }
