"""``python -m bench.hosts``: images a second of one host and of two that share a spool and a PostgreSQL.

A host is a `lungwatch work` with its helpers, on a processor of its own of this
machine, so that a second host brings a second processor; PostgreSQL runs on any.
Trials with one and with two take turns. Time is the ledger's: from the commit that registers the images to the
last one's end. No broker: under load nobody waits for a bell.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydicom import uid
from sqlalchemy import Engine, func, select

from bench import machine, processes
from bench.encoding import new_uid
from bench.figures import spread
from bench.postgres import Postgres
from bench.receivers import BenchFailure
from bench.report import insert, table
from core.settings import Settings
from core.spool import Entry, Spool, new_incarnation
from db.base import database_now, make_engine, make_sessions
from db.migrate import upgrade
from db.models.model import Heartbeat
from db.models.receipt import Receipt
from db.receipts import NewReceipt, register
from db.vocabulary import ReceiptState
from imaging.phantom.radiograph import radiograph
from imaging.phantom_objects import PhantomObject, build, to_bytes

_ROOT: Final = Path(__file__).resolve().parents[1]
_TARGET: Final = "bench-hosts"
_LISTENER: Final = "bench"
_START_SECONDS: Final = 60.0
_TRIAL_SECONDS: Final = 600.0
_POLL_SECONDS: Final = 0.1
HOSTS: Final = (1, 2)
_FACTS: Final = ("processor", "memory", "kernel", "file system", "load before", "Python")
_QUICK: Final = "--repetitions 1 --images 4 --rows 300"


@dataclass(frozen=True, slots=True)
class Trial:
    """One load worked off.

    Attributes
    ----------
    hosts, repetition : int
    rate : float
        Images a second.
    cpu_milliseconds : float
        Of all hosts, an image.
    attempts : int
        Starts of the image that had most of them; 1 where nothing went wrong.
    """

    hosts: int
    repetition: int
    rate: float
    cpu_milliseconds: float
    attempts: int


class Site:
    """A spool and a ledger that hosts share."""

    def __init__(self, folder: Path, url: str, rows: int, syntax: uid.UID) -> None:
        self._folder = folder
        self.settings = Settings(
            data_dir=folder / "data", database_url=url, free_space_bytes=0, free_space_fraction=0.0, settle_seconds=0
        )
        self.engine: Engine = make_engine(self.settings)
        upgrade(self.engine)
        self._sessions = make_sessions(self.engine)
        self._spool = Spool(self.settings.data_dir, _LISTENER)
        self._spool.new.mkdir(parents=True)
        self._chance = random.Random(rows)  # noqa: S311 - for names
        self._uids = [new_uid(self._chance) for _ in range(3)]
        study, series, instance = map(uid.UID, self._uids)
        plan = PhantomObject(
            picture=radiograph("clear", 1, (rows, rows * 7 // 9)),
            study_uid=study,
            series_uid=series,
            sop_instance_uid=instance,
            syntax=syntax,
        )
        self._content = to_bytes(build(plan))

    def host(self, processor: int) -> subprocess.Popen[bytes]:
        """Start a host, all of it on one processor."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("LUNGWATCH_")}
        ours = {
            "LUNGWATCH_DATA_DIR": str(self.settings.data_dir),
            "LUNGWATCH_DATABASE_URL": self.engine.url.render_as_string(hide_password=False),
            "LUNGWATCH_SETTLE_SECONDS": "0",
            "LUNGWATCH_HEARTBEAT_SECONDS": "0.5",
        }
        with (self._folder / "hosts.log").open("ab") as log, _on(processor):
            return subprocess.Popen(
                [sys.executable, "-m", "cli", "work"], cwd=_ROOT, env={**inherited, **ours}, stdout=log, stderr=log
            )

    def serving(self) -> int:
        """Count the hosts that run and have a model."""
        with self._sessions() as session:
            serves = (Heartbeat.stopped_at.is_(None), Heartbeat.model_version_id.is_not(None))
            return session.scalars(select(func.count()).select_from(Heartbeat).where(*serves)).one()

    def load(self, images: int) -> datetime:
        """Put images into the spool and register them all at once; return when, by the database's clock."""
        incarnation, received = new_incarnation(), []
        for number in range(1, images + 1):
            content, fresh = self._content, [new_uid(self._chance) for _ in self._uids]
            for old, new in zip(self._uids, fresh, strict=True):
                content = content.replace(old.encode(), new.encode())
            entry = Entry(incarnation, number, hashlib.sha256(content).hexdigest())
            self._spool.path(entry).write_bytes(content)
            received.append(
                NewReceipt(entry, _LISTENER, len(content), datetime.now(UTC), "BENCH", sop_instance_uid=fresh[2])
            )
        with self._sessions.begin() as session:
            register(session, received, self.settings.overdue_seconds)
            return session.scalars(select(database_now())).one()

    def pending(self) -> int:
        """Count what is not finished."""
        with self._sessions() as session:
            return session.scalars(select(func.count()).where(Receipt.state == ReceiptState.PENDING)).one()

    def worked_off(self, images: int, since: datetime) -> tuple[float, int]:
        """Return the seconds until the last of them ended, and the most attempts of one.

        Raises
        ------
        BenchFailure
            Unless each of them was classified.
        """
        with self._sessions() as session:
            newest = list(session.scalars(select(Receipt).order_by(Receipt.id.desc()).limit(images)))
        if {one.state for one in newest} != {ReceiptState.CLASSIFIED}:
            raise BenchFailure("not every image was classified; `lungwatch results` on the scratch folder says why")
        ended = max(one.finished_at for one in newest if one.finished_at is not None)
        return (ended - since).total_seconds(), max(one.attempts for one in newest)


@contextmanager
def _on(processor: int) -> Iterator[None]:
    """Let what is started meanwhile run on this processor alone: a child inherits it."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {processor})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def trial(site: Site, hosts: int, images: int, repetition: int) -> Trial:
    """Let so many hosts work off a load.

    Raises
    ------
    BenchFailure
        If they do not start, do not get through or end.
    """
    with ExitStack() as stack:
        running = [site.host(processor) for processor in sorted(os.sched_getaffinity(0))[:hosts]]
        for one in running:
            stack.callback(_stop, one)
        _wait(lambda: site.serving() == hosts, running, _START_SECONDS)
        # the first image of each loads what the others find
        site.load(2 * hosts)
        _wait(lambda: site.pending() == 0, running, _TRIAL_SECONDS)
        before = sum(processes.cpu_seconds(one.pid) for one in running)
        since = site.load(images)
        _wait(lambda: site.pending() == 0, running, _TRIAL_SECONDS)
        used = sum(processes.cpu_seconds(one.pid) for one in running) - before
    seconds, attempts = site.worked_off(images, since)
    return Trial(hosts, repetition, images / seconds, 1000 * used / images, attempts)


def _wait(until: Callable[[], bool], running: Sequence[subprocess.Popen[bytes]], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not until():
        if time.monotonic() > deadline or any(one.poll() is not None for one in running):
            raise BenchFailure("a host did not start, or ended, or did not get through; see hosts.log")
        time.sleep(_POLL_SECONDS)


def _stop(host: subprocess.Popen[bytes]) -> None:
    host.send_signal(signal.SIGTERM)
    host.wait(_START_SECONDS)


def markdown(trials: Sequence[Trial], about: str, facts: dict[str, str]) -> str:
    """Return the document's section."""
    rates = {hosts: spread([one.rate for one in trials if one.hosts == hosts]) for hosts in HOSTS}
    rows = []
    for hosts, rate in rates.items():
        cpu = spread([one.cpu_milliseconds for one in trials if one.hosts == hosts])
        rows.append(
            (
                str(hosts),
                f"{rate.median:.1f} ({rate.low:.1f} to {rate.high:.1f})",
                f"{rate.median / rates[1].median:.2f}",
                f"{cpu.median:.0f}",
            )
        )
    return "\n\n".join(
        (
            f"Measured on {datetime.now(UTC).date()}: {', '.join(f'{name} {value}' for name, value in facts.items())}.",
            about,
            table(("hosts", "images/s (spread)", "times one host", "CPU ms/image"), rows),
        )
    )


def main(arguments: Sequence[str]) -> int:
    """Measure and write; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.hosts", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repetitions", type=int, default=5, help="of one and of two hosts; 5")
    parser.add_argument("--images", type=int, default=100, help="of a trial; 100")
    parser.add_argument("--rows", type=int, default=1800, help="of an image, pixels; 1800")
    parser.add_argument("--syntax", default="JPEG2000Lossless", help="keyword of a transfer syntax; JPEG2000Lossless")
    parser.add_argument("--scratch", type=Path, default=Path("/var/tmp"), help="on a disk; /var/tmp")  # noqa: S108
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder of performance.md; docs")
    parser.add_argument("--json", type=Path, help="file for every trial")
    parser.add_argument("--quick", action="store_true", help="a trial that everything works: " + _QUICK)
    options = parser.parse_args(arguments)
    if options.quick:
        options = parser.parse_args([*_QUICK.split(), *arguments])
    if len(os.sched_getaffinity(0)) < max(HOSTS):
        print(f"a processor for each of {max(HOSTS)} hosts is needed", file=sys.stderr)
        return 2
    trials = []
    with tempfile.TemporaryDirectory(prefix="lungwatch-bench-", dir=options.scratch) as scratch:
        folder = Path(scratch)
        # PostgreSQL runs as somebody else
        folder.chmod(0o755)
        facts = {name: value for name, value in machine.facts(folder).items() if name in _FACTS}
        server = Postgres(folder / "postgres")
        server.make()
        with server.running():
            site = Site(folder, server.url, options.rows, getattr(uid, options.syntax))
            for repetition in range(options.repetitions):
                # whoever came first last time comes last
                for hosts in HOSTS if repetition % 2 == 0 else reversed(HOSTS):
                    trials.append(trial(site, hosts, options.images, repetition))
                    print(f"{hosts} hosts: {trials[-1].rate:.1f} images a second", flush=True)
            site.engine.dispose()
        facts |= {"PostgreSQL": server.version, "load after": f"{os.getloadavg()[0]:.1f}"}
    about = (
        f"{options.images} images of {options.rows} x {options.rows * 7 // 9} pixels a trial, {options.syntax}, "
        f"{options.repetitions} trials of each, in turns."
    )
    insert(options.out / "performance.md", markdown(trials, about, facts), _TARGET)
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(one) for one in trials], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
