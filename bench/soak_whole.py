"""All of Lungwatch as a hospital runs it: `serve` on PostgreSQL and Redis, and the means to strike at its processes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from sqlalchemy import func, select

from bench import processes
from bench.postgres import Postgres
from bench.receivers import BenchFailure, free_port
from core.settings import Settings
from core.spool import Spool
from db.base import make_engine, make_readers
from db.migrate import upgrade
from db.models.receipt import Receipt
from db.vocabulary import ReceiptState

_REPOSITORY: Final = Path(__file__).resolve().parents[1]
_START_SECONDS: Final = 120.0
_STOP_SECONDS: Final = 180.0
_POLL_SECONDS: Final = 0.1
# by what stands in their command lines; a forked association process has its parent's
_KINDS: Final = {
    "worker.decode_process": "helper",
    "cli work": "worker",
    "dicom_listener registrar": "registrar",
    "dicom_listener": "listener",
}


class Whole:
    """Everything, on its default settings but for ports and folders; a context manager.

    Parameters
    ----------
    folder : Path
        Exists, is empty, on a disk, and others may pass through it.
    """

    def __init__(self, folder: Path, workers: int) -> None:
        if shutil.which("redis-server") is None:
            raise BenchFailure("no Redis server is installed: apt-get install redis-server")
        self._folder = folder
        self._workers = workers
        self.data = folder / "data"
        self.data.mkdir()
        self._postgres = Postgres(folder / "postgres")
        self._postgres.make()
        self._redis_port = free_port()
        self.port = free_port()
        self.settings = Settings(data_dir=self.data, database_url=self._postgres.url)
        self._spool = Spool(self.data, self.settings.listener_name)
        self._redis: subprocess.Popen[bytes] | None = None
        self._serve: subprocess.Popen[bytes] | None = None
        self._running = contextlib.ExitStack()
        self._stopped: set[int] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._running.enter_context(self._postgres.running())
        self.engine = make_engine(self.settings)
        self._readers = make_readers(self.engine)
        upgrade(self.engine)
        self._start_redis()
        self._start_serve()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.wake()
        for process in (self._serve, self._redis):
            if process is not None and process.poll() is None:
                for pid in reversed(processes.family(process.pid)):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                process.wait()
        self.engine.dispose()
        self._running.close()

    def keep_alive(self) -> None:
        """Start again what has no supervisor of its own, as systemd would."""
        if self._redis is not None and self._redis.poll() is not None:
            self._start_redis()
        if self._serve is not None and self._serve.poll() is not None:
            self._start_serve()

    def victims(self) -> dict[str, list[int]]:
        """Return processes by kind, those that are stopped already left out."""
        if self._serve is None or self._redis is None:
            raise BenchFailure("nothing was started")
        found: defaultdict[str, list[int]] = defaultdict(list)
        found["supervisor"].append(self._serve.pid)
        found["redis"].append(self._redis.pid)
        for pid in processes.family(self._serve.pid)[1:]:
            try:
                line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            kind = next((kind for words, kind in _KINDS.items() if words in line), None)
            if kind is not None:
                found[kind].append(pid)
        with self._lock:
            alive = {kind: [pid for pid in pids if pid not in self._stopped] for kind, pids in found.items()}
        return {kind: pids for kind, pids in alive.items() if pids}

    def strike(self, pid: int, number: signal.Signals) -> bool:
        """Send SIGKILL or SIGSTOP; False if it is gone."""
        with self._lock:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                return False
            if number is signal.SIGSTOP:
                self._stopped.add(pid)
        return True

    def wake(self, pid: int | None = None) -> None:
        """Let one stopped process go on, or all."""
        with self._lock:
            for one in list(self._stopped) if pid is None else [pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(one, signal.SIGCONT)
                self._stopped.discard(one)

    def pending(self) -> int:
        """Count receipts that wait."""
        with self._readers() as session:
            waiting = select(func.count()).where(Receipt.state == ReceiptState.PENDING)
            return session.scalars(waiting.select_from(Receipt)).one()

    def spooled(self) -> int:
        """Count entries that are not registered or not moved yet."""
        return sum(1 for path in self._spool.new.iterdir() if not path.name.startswith("."))

    def seconds_to_end(self) -> list[float]:
        """Return how long each receipt took, from the durable file to the committed row."""
        with self._readers() as session:
            ended = select(Receipt.received_at, Receipt.finished_at).where(Receipt.finished_at.is_not(None))
            return [(row.finished_at - row.received_at).total_seconds() for row in session.execute(ended)]

    def reconcile(self) -> tuple[int, str]:
        """Run `lungwatch reconcile --digests`; return its exit code and what it said."""
        done = subprocess.run(
            [sys.executable, "-m", "cli", "reconcile", "--digests"],
            env=self._environment(),
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, (done.stdout + done.stderr).strip()

    def stop(self) -> int:
        """Stop `serve` in order and return its exit code."""
        if self._serve is None:
            raise BenchFailure("nothing was started")
        self._serve.terminate()
        return self._serve.wait(_STOP_SECONDS)

    def _start_redis(self) -> None:
        with (self._folder / "redis.log").open("ab") as log:
            self._redis = subprocess.Popen(
                ["redis-server", "--port", str(self._redis_port), "--bind", "127.0.0.1", "--save", ""],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,
            )

    def _start_serve(self) -> None:
        state = self.data / "serve.json"
        state.unlink(missing_ok=True)
        with (self._folder / "serve.log").open("ab") as log:
            self._serve = subprocess.Popen(
                [sys.executable, "-m", "cli", "serve", "--workers", str(self._workers)],
                env=self._environment(),
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._listens(state):
            if time.monotonic() > deadline or self._serve.poll() is not None:
                raise BenchFailure(f"serve does not listen; see {self._folder / 'serve.log'}")
            time.sleep(_POLL_SECONDS)

    @staticmethod
    def _listens(state: Path) -> bool:
        try:
            return "listener" in json.loads(state.read_bytes())
        except (OSError, ValueError):
            return False

    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("LUNGWATCH_")}
        settings = {
            "DATA_DIR": self.data,
            "DATABASE_URL": self._postgres.url,
            "BROKER_URL": f"redis://127.0.0.1:{self._redis_port}/0",
            "LISTEN_HOST": "127.0.0.1",
            "LISTEN_PORT": self.port,
            "LISTENER_METRICS_PORT": "",
            "WORKER_METRICS_PORT": "",
            "FREE_SPACE_FRACTION": 0,
            "FREE_SPACE_BYTES": 0,
        }
        return {
            **inherited,
            "PYTHONPATH": str(_REPOSITORY),
            **{f"LUNGWATCH_{name}": str(value) for name, value in settings.items()},
        }
