"""The two ways from C-STORE to a committed row that are compared, each started in an empty folder."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from abc import abstractmethod
from pathlib import Path
from typing import Final, Self

from bench import naive
from bench.receivers import BenchFailure, Receiver, free_port

_REPOSITORY: Final = Path(__file__).resolve().parents[1]
_READY_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 20.0
_POLL_SECONDS: Final = 0.1


class System(Receiver):
    """A receiver with workers and a ledger behind it.

    Attributes
    ----------
    rows : str
        Query for the rows written after one: its number and the SOP Instance UID it is of, in order.
    """

    rows: str

    @abstractmethod
    def ledger(self) -> Path:
        """Return where its SQLite file lies."""

    @abstractmethod
    def workers(self) -> list[int]:
        """Return the processes whose families decode and classify."""

    def said(self) -> str:
        """Return the end of what its processes logged."""
        logs = sorted(self.folder.parent.glob(f"{self.folder.name}*.log"))
        return "\n".join(f"{log.name}: {log.read_text(errors='replace')[-1500:]}" for log in logs)

    def roots(self) -> list[int]:
        """Return the processes whose families are all of it."""
        return [self.pid]


class Lungwatch(System):
    """`lungwatch serve` as it comes: SQLite, no broker, one worker with two helpers, LiteRT, the starter model."""

    name = "lungwatch"
    label = "Lungwatch"
    durable = True
    rows = (
        "SELECT prediction.id, image.sop_instance_uid FROM prediction JOIN image ON image.id = prediction.image_id"
        " WHERE prediction.id > ? ORDER BY prediction.id"
    )

    def command(self) -> list[str]:
        """See `Receiver`."""
        return [sys.executable, "-m", "cli", "serve"]

    def environment(self) -> dict[str, str]:
        """Leave every setting at its default but what keeps it to this machine and folder."""
        settings = {
            "data_dir": self.folder / "data",
            "listen_host": "127.0.0.1",
            "listen_port": self.port,
            "listener_metrics_port": "",
            "free_space_fraction": 0,
            "free_space_bytes": 0,
        }
        return {f"LUNGWATCH_{name.upper()}": str(value) for name, value in settings.items()}

    def ledger(self) -> Path:
        """See `System`."""
        return self.folder / "data" / "lungwatch.db"

    def workers(self) -> list[int]:
        """See `System`."""
        children = json.loads((self.folder / "data" / "serve.json").read_text())["children"]
        return [pid for name, pid in children.items() if name.startswith("work-")]


class Naive(System):
    """See `bench.naive`: a receiver, Redis as it comes, Celery's prefork pool with a process a core.

    Parameters
    ----------
    folder : Path
    model : Path
        The network, written before.
    plugins : Path, optional
        pydicom's decoders.
    """

    name = "naive"
    label = "naive"
    durable = False
    program, package = "redis-server", "redis-server"
    rows = "SELECT id, sop_instance_uid FROM result WHERE id > ? ORDER BY id"

    def __init__(self, folder: Path, model: Path, plugins: Path | None) -> None:
        super().__init__(folder)
        self._model = model
        self._plugins = plugins
        self._broker_port = free_port()
        self._beside: list[subprocess.Popen[bytes]] = []

    def command(self) -> list[str]:
        """See `Receiver`."""
        return [sys.executable, "-m", "bench.naive", "receive"]

    def environment(self) -> dict[str, str]:
        """See `Receiver`."""
        path = [] if self._plugins is None else [str(self._plugins.resolve())]
        return {
            "PYTHONPATH": os.pathsep.join([*path, str(_REPOSITORY)]),
            naive.PORT: str(self.port),
            naive.FOLDER: str(self.folder),
            naive.BROKER: f"redis://127.0.0.1:{self._broker_port}/0",
            naive.MODEL: str(self._model),
        }

    def start(self) -> Self:
        """Start Redis, the receiver, and the workers."""
        super().start()
        self._run("redis", ["redis-server", "--port", str(self._broker_port), "--bind", "127.0.0.1"])
        self._run("celery", [sys.executable, "-m", "celery", "-A", "bench.naive", "worker", "--loglevel", "WARNING"])
        return self

    def _run(self, name: str, command: list[str]) -> None:
        with self.folder.with_suffix(f".{name}.log").open("wb") as log:
            self._beside.append(
                subprocess.Popen(
                    command,
                    env={**os.environ, **self.environment()},
                    cwd=self.folder,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    def ledger(self) -> Path:
        """See `System`."""
        return self.folder / naive.DATABASE

    def workers(self) -> list[int]:
        """See `System`."""
        return [self._beside[-1].pid]

    def roots(self) -> list[int]:
        """See `System`."""
        return [self.pid, *(process.pid for process in self._beside)]

    def stop(self) -> None:
        """End the workers, Redis and the receiver."""
        for process in reversed(self._beside):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        super().stop()


def write_model(path: Path) -> None:
    """Have the naive side's network written.

    Raises
    ------
    BenchFailure
        If it cannot be.
    """
    done = subprocess.run(
        [sys.executable, "-m", "bench.naive", "model"],
        env={**os.environ, naive.MODEL: str(path), "PYTHONPATH": str(_REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchFailure(f"the naive side's network cannot be written:\n{done.stderr[-2000:]}")


class Rows:
    """Sees a ledger's rows come, and when: what another connection reads is committed.

    Raises
    ------
    BenchFailure
        If there is no ledger after a minute.
    """

    def __init__(self, system: System) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while not system.ledger().exists():
            if time.monotonic() > deadline:
                raise BenchFailure(f"{system.name} makes no ledger")
            time.sleep(_POLL_SECONDS)
        self._connection = sqlite3.connect(f"file:{system.ledger()}?mode=ro", uri=True, isolation_level=None)
        self._query = system.rows
        self._last = 0
        self.seen: dict[str, float] = {}

    def look(self) -> None:
        """Note what is new."""
        try:
            found = self._connection.execute(self._query, (self._last,)).fetchall()
        except sqlite3.OperationalError:
            # not made yet, or locked for a moment
            return
        now = time.monotonic()
        for number, uid in found:
            self._last = number
            self.seen.setdefault(uid, now)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
