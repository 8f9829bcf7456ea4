"""Double entry: what senders were told against what lies in the spool and the ledger."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sqlalchemy import Engine

from bench.soak_system import System
from core.part10 import LONGEST_META, meta_elements
from core.spool import Entry
from db import receipts
from db.base import make_sessions

# a kill or a drain breaks the associations of that moment, which is noticed a little later
_AFTERMATH_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.5


@dataclass
class Account:
    """What was sent and answered; safe for threads.

    Attributes
    ----------
    sent : dict of str to int
        Digest of each data set that was sent whole or in part, and its bytes.
    acknowledged : Counter of str
        How often each was answered 0x0000; all of that together has so many `bytes`.
    seconds : dict of int to list of float
        How long honest stores took, by bytes.
    broken_by_kill, unexplained : int
        Honest stores that got no answer, or another than 0x0000.
    """

    sent: dict[str, int] = field(default_factory=dict)
    acknowledged: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    over_tls: int = 0
    seconds: defaultdict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    broken_by_kill: int = 0
    unexplained: list[str] = field(default_factory=list)
    attacks: Counter[str] = field(default_factory=Counter)
    _broke: list[float] = field(default_factory=list)
    _away: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def sending(self, digest: str, size: int) -> None:
        """Note what is about to be sent."""
        with self._lock:
            self.sent[digest] = size

    def stored(self, digest: str, seconds: float | None = None, *, tls: bool = False) -> None:
        """Note an acknowledgement, and for an honest one how long it took."""
        with self._lock:
            self.over_tls += tls
            self.acknowledged[digest] += 1
            self.bytes += self.sent[digest]
            if seconds is not None:
                self.seconds[self.sent[digest]].append(seconds)

    def failed(self, why: str) -> None:
        """Note that an honest sender was not told success."""
        with self._lock:
            recent = any(time.monotonic() - moment < _AFTERMATH_SECONDS for moment in self._broke)
            if self._away or recent:
                self.broken_by_kill += 1
            else:
                self.unexplained.append(why)

    def attacked(self, how: str) -> None:
        """Count one attack."""
        with self._lock:
            self.attacks[how] += 1

    def broke(self, *, away: bool = False) -> None:
        """Note that we broke associations just now, and whether nobody listens until further notice."""
        with self._lock:
            self._broke.append(time.monotonic())
            self._away = away


class Keeper(threading.Thread):
    """Looks at every entry that is registered, takes it down and makes room; runs until `finish`.

    An entry that has no receipt yet is left where it is. As the ledger is what
    a worker would claim from, this is what may be deleted and no more.

    Parameters
    ----------
    system : System
    """

    def __init__(self, system: System) -> None:
        super().__init__(name="keeper")
        self._system = system
        self._sessions = make_sessions(system.engine)
        self._finishing = threading.Event()
        self.found: Counter[str] = Counter()
        self.damaged: list[str] = []
        self.bytes = 0
        self.entries = 0
        self.left: list[str] = []
        self._sequences: defaultdict[str, list[int]] = defaultdict(list)

    @property
    def gaps(self) -> int:
        """Entries that are missing within the sequences seen."""
        return sum(max(numbers) - len(set(numbers)) for numbers in self._sequences.values())

    def run(self) -> None:
        """Look until told that nothing more comes."""
        while not self._finishing.wait(_LOOK_SECONDS):
            self._look()

    def finish(self, seconds: float = 60.0) -> None:
        """Wait until all that lies there is registered, or say what is left."""
        self._finishing.set()
        self.join()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._names():
            self._look()
            time.sleep(_LOOK_SECONDS)
        self.left = self._names()

    def _names(self) -> list[str]:
        return [path.name for path in self._system.spool.new.iterdir() if not path.name.startswith(".")]

    def _look(self) -> None:
        entries = [Entry.parse(name) for name in self._names()]
        with self._sessions() as session:
            registered = receipts.known(session, self._system.spool.listener, entries)
        for entry in sorted(registered):
            self._take(entry, self._system.spool.path(entry))

    def _take(self, entry: Entry, path: Path) -> None:
        content = memoryview(path.read_bytes())
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            self.damaged.append(entry.name)
        begin = max(element.end for element in meta_elements(content[:LONGEST_META]))
        self.found[hashlib.sha256(content[begin:]).hexdigest()] += 1
        self._sequences[entry.incarnation].append(entry.sequence)
        self.entries += 1
        self.bytes += len(content)
        path.unlink()


@dataclass(frozen=True, slots=True)
class Balance:
    """The two sides held against each other.

    Attributes
    ----------
    lost : int
        Acknowledged and not in the spool with these very bytes.
    foreign : int
        In the spool, though nobody sent it.
    unacknowledged : int
        In the spool more often than acknowledged: the answer was cut off.
    """

    sent: int
    acknowledged: int
    entries: int
    registered: int
    lost: int
    foreign: int
    unacknowledged: int
    damaged: int
    gaps: int
    left: int


def balance(account: Account, keeper: Keeper, registered: int) -> Balance:
    """Hold what senders were told against what was found."""
    told, found = account.acknowledged, keeper.found
    return Balance(
        sent=len(account.sent),
        acknowledged=told.total(),
        entries=keeper.entries,
        registered=registered,
        lost=sum((told - found).values()),
        foreign=sum(count for digest, count in found.items() if digest not in account.sent),
        unacknowledged=sum((found - told).values()),
        damaged=len(keeper.damaged),
        gaps=keeper.gaps,
        left=len(keeper.left),
    )


def registered_in(engine: Engine) -> int:
    """Count the receipts."""
    with engine.connect() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM receipt").scalar_one())
