"""`lungwatch serve` as a user starts it, and the other commands beside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import psutil
import pydicom
from pynetdicom import AE
from pynetdicom.association import Association
from sqlalchemy import NullPool, create_engine, text

from tests.servers import accepts
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
# short, so that work given back by a killed worker is taken up within the test
QUICK = {
    "LUNGWATCH_LISTEN_HOST": "127.0.0.1",
    "LUNGWATCH_LISTEN_PORT": "0",
    "LUNGWATCH_LISTENER_METRICS_PORT": "0",
    "LUNGWATCH_WORKER_METRICS_PORT": "0",
    "LUNGWATCH_FREE_SPACE_BYTES": "0",
    "LUNGWATCH_FREE_SPACE_FRACTION": "0",
    "LUNGWATCH_SETTLE_SECONDS": "0",
    "LUNGWATCH_SWEEP_SECONDS": "1",
    "LUNGWATCH_HELPER_SECONDS": "5",
    "LUNGWATCH_LEASE_SECONDS": "11",
    "LUNGWATCH_HEARTBEAT_SECONDS": "1",
}


def environment(data: Path, **settings: str) -> dict[str, str]:
    """The environment of a user who set just these."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LUNGWATCH_")}
    ours = {f"LUNGWATCH_{name.upper()}": value for name, value in settings.items()}
    return {**clean, "PYTHONPATH": str(ROOT), "LUNGWATCH_DATA_DIR": str(data), **QUICK, **ours}


def command(
    *arguments: str,
    data: Path,
    settings: Mapping[str, str] | None = None,
    seconds: float = 60,
    within: Sequence[str] = (),
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end, in a folder without .env."""
    return subprocess.run(
        [*within, sys.executable, "-m", "cli", *arguments],
        env=environment(data, **(settings or {})),
        cwd=cwd or data.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )


class Serving:
    """A running `serve`; use as a context manager, which ends it as Ctrl-C would."""

    def __init__(self, data: Path, *arguments: str, **settings: str) -> None:
        self.data = data
        self.settings = settings
        self._arguments = arguments
        self._log = data.parent / "serve.log"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()

    def start(self) -> None:
        """Start it and wait until it says where it listens."""
        (self.data / "serve.json").unlink(missing_ok=True)
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cli", "serve", *self._arguments],
                env=environment(self.data, **self.settings),
                cwd=self.data.parent,
                stdout=log,
                stderr=log,
            )
        wait_until(self._ready, 60, "serve is ready")

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log[-3000:]
        return (self.data / "serve.json").exists()

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.data / "serve.json").read_text())
        return found

    @property
    def port(self) -> int:
        return int(self.state["listener"]["port"])

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it and return its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(90)

    def kill(self) -> None:
        """Kill the supervisor itself."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def find(self, *words: str) -> psutil.Process | None:
        """Return the process below serve whose command line ends so."""
        assert self.process is not None
        for child in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if child.cmdline()[-len(words) :] == list(words):
                    return child
            except psutil.Error:
                continue
        return None

    def kill_child(self, *words: str) -> int:
        """``kill -9`` one of the processes; return its id."""
        child = wait_until(lambda: self.find(*words), 30, f"{words} runs")
        child.kill()
        return child.pid

    def run(self, *arguments: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run another command beside it."""
        return command(*arguments, data=self.data, settings=self.settings, seconds=seconds)

    def json(self, *arguments: str, seconds: float = 60) -> Any:
        """Run another command and read its JSON."""
        done = self.run(*arguments, "--json", seconds=seconds)
        assert done.returncode in {0, 1}, done.stderr
        return json.loads(done.stdout)

    def ask(self, query: str) -> tuple[Any, ...]:
        """Return a row of the ledger while everything runs; a command for it would take a second to start."""
        embedded = f"sqlite:///file:{self.data / 'lungwatch.db'}?mode=ro&uri=true"
        engine = create_engine(self.settings.get("database_url", embedded), poolclass=NullPool)
        with engine.connect() as ledger:
            return tuple(ledger.execute(text(query)).one())

    def receipts(self, condition: str = "1 = 1") -> int:
        """Count receipts."""
        (count,) = self.ask(f"SELECT count(*) FROM receipt WHERE {condition}")  # noqa: S608 - stand in tests
        return int(count)

    def nothing_missing_nothing_twice(self, studies: int, seconds: float = 90) -> None:
        """Wait until every study is classified, then count everything each way there is."""
        wait_until(lambda: self.receipts("state = 'CLASSIFIED'") == studies, seconds, "every study is classified")
        wait_until(lambda: not self.receipts("state = 'PENDING'"), 30, "nothing is pending")
        status = self.json("status")
        # an answer lost with the listener makes the sender send again, which is a duplicate and no second result
        assert status["terminal"] == status["receipts"]["CLASSIFIED"] + status["receipts"]["DUPLICATE"]
        assert len({row["study_uid"] for row in self.json("results", "--limit", "0")}) == studies
        assert self.ask("SELECT count(*), count(DISTINCT image_id) FROM prediction") == (studies, studies)
        reconciled = self.run("reconcile", "--digests", seconds=120)
        assert reconciled.returncode == 0, reconciled.stdout

    def settled(self, receipts: int, seconds: float) -> dict[str, Any]:
        """Wait until so many receipts are terminal and nothing is left to do; return the status."""

        def done() -> bool:
            terminal = self.receipts("state <> 'PENDING'")
            assert terminal <= receipts, "something was counted twice"
            return terminal == receipts

        wait_until(done, seconds, f"{receipts} receipts are terminal")
        status: dict[str, Any] = self.json("status")
        assert (status["terminal"], status["pending"]) == (receipts, 0)
        return status


def send(port: int, files: Iterable[Path], *, patience: float = 60) -> list[int]:
    """Send Part 10 files over one association each try; return the statuses.

    An association that breaks is tried again from the first file without an
    answer on, as a PACS does, for so many seconds. pynetdicom's requestor needs
    that even with a listener that breaks none: on a loaded machine its reactor
    may wake late and take an answer that `send_c_store` waits for.
    """
    waiting = list(files)
    contexts = set()
    for path in waiting:
        meta = pydicom.filereader.read_file_meta_info(path)
        contexts.add((meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID))
    entity = AE(ae_title="TESTPACS")
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 20
    for sop_class, syntax in sorted(contexts):
        entity.add_requested_context(sop_class, syntax)
    statuses: list[int] = []
    deadline = time.monotonic() + patience
    while waiting:
        if accepts(port):
            _send_while_it_lasts(entity.associate("127.0.0.1", port, ae_title="LUNGWATCH"), waiting, statuses)
        if waiting:
            assert time.monotonic() < deadline, "the listener does not take what is left"
            time.sleep(0.1)
    return statuses


def _send_while_it_lasts(association: Association, waiting: list[Path], statuses: list[int]) -> None:
    while waiting and association.is_established:
        try:
            answer = association.send_c_store(str(waiting[0]))
        except RuntimeError:
            return
        if "Status" not in answer:
            return
        statuses.append(int(answer.Status))
        waiting.pop(0)
    if association.is_established:
        association.release()
