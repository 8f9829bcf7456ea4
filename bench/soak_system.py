"""What is soaked: a listener and a registrar as processes, on a ledger and a spool of their own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from bench import processes
from bench.association import Refused, Target, open_link
from bench.encoding import Sample
from bench.receivers import BenchFailure, free_port
from bench.soak_tls import issue
from core.settings import Settings
from core.spool import Spool
from db.base import make_engine
from db.migrate import upgrade

KNOWN: Final = ("PACS1", "PACS2", "PACS3", "PACS4")
_REPOSITORY: Final = Path(__file__).resolve().parents[1]
_START_SECONDS: Final = 30.0
# the listener's own time for a drain is 30 s
_STOP_SECONDS: Final = 45.0
_POLL_SECONDS: Final = 0.05
_PEERS: Final = 'unknown = "accept"\n' + "".join(
    f'\n[[peer]]\nae_title = "{title}"\naddresses = ["127.0.0.1"]\n' for title in KNOWN
)


@dataclass(frozen=True, slots=True)
class Footprint:
    """What the listener's processes hold together.

    Attributes
    ----------
    threads, descriptors : int
    memory : int
        Bytes, pages they share counted once (PSS).
    """

    threads: int
    descriptors: int
    memory: int

    @classmethod
    def of(cls, root: int) -> Self:
        """Look at a process and its descendants."""
        threads = descriptors = 0
        for pid in processes.family(root):
            with contextlib.suppress(OSError):
                threads += len(list(Path(f"/proc/{pid}/task").iterdir()))
                descriptors += len(list(Path(f"/proc/{pid}/fd").iterdir()))
        return cls(threads, descriptors, processes.memory(root).proportional)

    def most(self, other: Self) -> Self:
        """Return the larger of each."""
        return type(self)(
            max(self.threads, other.threads),
            max(self.descriptors, other.descriptors),
            max(self.memory, other.memory),
        )


class System:
    """Both processes, with their default settings but for ports, folders and the watermark; a context manager.

    Parameters
    ----------
    folder : Path
        Exists, is empty and on a disk.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir()
        (self.data / "peers.toml").write_text(_PEERS)
        self.settings = Settings(data_dir=self.data, free_space_fraction=0, free_space_bytes=0)
        self.spool = Spool(self.data, self.settings.listener_name)
        self.engine = make_engine(self.settings)
        upgrade(self.engine)
        self.target = Target(free_port(), calling=KNOWN[0])
        self._identity = issue(folder)
        self.secure = Target(free_port(), calling=KNOWN[0], tls=self._identity.client())
        self._listener: subprocess.Popen[bytes] | None = None
        self._registrar: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Root of the listener's processes."""
        if self._listener is None:
            raise BenchFailure("the listener was not started")
        return self._listener.pid

    @property
    def log(self) -> Path:
        """The listener's."""
        return self.folder / "server.log"

    def events(self) -> Iterator[dict[str, object]]:
        """Yield what the listener has logged."""
        for line in self.log.read_text(errors="replace").splitlines():
            yield json.loads(line) if line.startswith("{") else {"event": "no event", "line": line}

    def start(self, sample: Sample) -> None:
        """Start the listener and wait until it takes associations.

        Raises
        ------
        BenchFailure
        """
        self._listener = self._run("server")
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                open_link(self.target, sample).close()
            except (OSError, Refused):
                if time.monotonic() > deadline or self._listener.poll() is not None:
                    raise BenchFailure(f"the listener takes no association; see {self.log}") from None
                time.sleep(_POLL_SECONDS)
            else:
                return

    def drain(self) -> tuple[int, float]:
        """SIGTERM the listener; return its exit code and how long it took."""
        if self._listener is None:
            raise BenchFailure("the listener was not started")
        began = time.monotonic()
        self._listener.terminate()
        return self._listener.wait(_STOP_SECONDS), time.monotonic() - began

    def association_processes(self) -> list[int]:
        """Return those that take associations, by what the listener has logged of their starts."""
        started = {
            str(one.get("process")): int(str(one["pid"]))
            for one in self.events()
            if one.get("event") == "process_started" and str(one.get("process")).startswith("associations")
        }
        alive = set(processes.family(self.pid))
        return [pid for pid in started.values() if pid in alive]

    def __enter__(self) -> Self:
        self._registrar = self._run("registrar")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in (self._listener, self._registrar):
            if process is not None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_STOP_SECONDS)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.engine.dispose()

    def _run(self, part: str) -> subprocess.Popen[bytes]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("LUNGWATCH_")}
        settings = {
            "DATA_DIR": self.data,
            "LISTEN_HOST": "127.0.0.1",
            "LISTEN_PORT": self.target.port,
            "TLS_PORT": self.secure.port,
            "TLS_CERTIFICATE_FILE": self._identity.certificate,
            "TLS_KEY_FILE": self._identity.key,
            "LISTENER_METRICS_PORT": "",
            "WORKER_METRICS_PORT": "",
            "FREE_SPACE_FRACTION": 0,
            "FREE_SPACE_BYTES": 0,
        }
        with (self.folder / f"{part}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dicom_listener", part],
                env={
                    **inherited,
                    "PYTHONPATH": str(_REPOSITORY),
                    **{f"LUNGWATCH_{name}": str(value) for name, value in settings.items()},
                },
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )
