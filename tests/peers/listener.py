"""The real listener and registrar as processes, on a spool of the test's own."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from core.spool import Entry, Spool
from tests.waiting import wait_until

REPOSITORY = Path(__file__).resolve().parents[2]


def environment(data: Path, **settings: object) -> dict[str, str]:
    """What a process inherits: this test's settings and nobody else's."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LUNGWATCH_")}
    chosen = {
        "data_dir": data,
        "listen_host": "127.0.0.1",
        "listen_port": 0,
        "listener_metrics_port": 0,
        "free_space_bytes": 0,
        "free_space_fraction": 0,
        **settings,
    }
    return {
        **inherited,
        "PYTHONPATH": str(REPOSITORY),
        **{f"LUNGWATCH_{name.upper()}": str(value) for name, value in chosen.items()},
    }


def events_in(log: str) -> list[dict[str, Any]]:
    """Return the events among the lines of a log."""
    return [json.loads(line) for line in log.splitlines() if line.startswith("{")]


@dataclass
class Process:
    """One of our processes; its log is kept in a file."""

    data: Path
    arguments: list[str]
    settings: dict[str, Any] = field(default_factory=dict)
    prefix: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None

    @property
    def spool(self) -> Spool:
        return Spool(self.data, "listener")

    @property
    def log_path(self) -> Path:
        return self.data.parent / f"{self.data.name}-{self.arguments[0].rpartition('.')[2]}-{self.arguments[-1]}.log"

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    @property
    def events(self) -> list[dict[str, Any]]:
        return events_in(self.log)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self, **environment_overrides: str) -> Self:
        folder = self.data.parent
        folder.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, sys.executable, "-m", *self.arguments],
                env={**environment(self.data, **self.settings), **environment_overrides},
                stdout=log,
                stderr=log,
                cwd=folder,
            )
        return self

    def wait_for(self, event: str, seconds: float = 20) -> dict[str, Any]:
        return wait_until(
            lambda: next((one for one in reversed(self.events) if one["event"] == event), None), seconds, event
        )

    def wait(self, seconds: float = 20) -> int:
        assert self.process is not None
        return self.process.wait(seconds)

    def terminate(self, seconds: float = 20) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.wait(seconds)

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> Self:
        return self if self.process is not None else self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.process is not None and self.process.poll() is None:
            # strace, killed, would leave behind what it traced
            family = psutil.Process(self.pid).children(recursive=True)
            self.kill()
            for child in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()


@dataclass
class ListenerProcess(Process):
    """``python -m dicom_listener server``, ready when `start` returns."""

    arguments: list[str] = field(default_factory=lambda: ["dicom_listener", "server"])
    port: int = 0
    tls_port: int = 0
    metrics_port: int = 0

    @property
    def announcement(self) -> Path:
        return self.data / "listener-listener.json"

    def start(self, **environment_overrides: str) -> Self:
        self.announcement.unlink(missing_ok=True)
        super().start(**environment_overrides)
        said = wait_until(self._announced, 20, "the listener announces itself")
        self.port, self.tls_port, self.metrics_port = (
            int(said.get(name) or 0) for name in ("port", "tls_port", "metrics_port")
        )
        return self

    def _announced(self) -> dict[str, Any] | None:
        assert self.process is not None
        assert self.process.poll() is None, self.log
        return json.loads(self.announcement.read_bytes()) if self.announcement.exists() else None

    def seen(self, path: Path) -> Path:
        """A path as the process sees it, which may live in a mount namespace of its own."""
        return Path(f"/proc/{self.pid}/root{path}") if self.prefix else path

    @property
    def entries(self) -> list[Entry]:
        """What lies in ``new/``, in order of receipt."""
        return sorted(Entry.parse(path.name) for path in self.seen(self.spool.new).iterdir())

    @property
    def is_gapless(self) -> bool:
        """Whether each incarnation's entries count from one without a gap."""
        runs = [list(run) for _, run in itertools.groupby(self.entries, lambda entry: entry.incarnation)]
        return all([entry.sequence for entry in run] == list(range(1, len(run) + 1)) for run in runs)

    @property
    def association_processes(self) -> list[psutil.Process]:
        """Those of its processes that take associations."""
        parent = psutil.Process(self.pid)
        if self.prefix[:1] == ["strace"]:
            (parent,) = parent.children()
        found = []
        for child in parent.children():
            with contextlib.suppress(psutil.Error):
                if any(one.status == "LISTEN" and one.laddr.port == self.port for one in child.net_connections()):
                    found.append(child)
        return found

    @property
    def files(self) -> list[Path]:
        return [self.seen(self.spool.path(entry)) for entry in self.entries]

    @property
    def leftovers(self) -> list[str]:
        return sorted(path.name for path in self.seen(self.spool.temporary).iterdir())


def registrar(data: Path, **settings: Any) -> Process:
    """``python -m dicom_listener registrar``, not started."""
    return Process(data, ["dicom_listener", "registrar"], settings)


def data_set_of(path: Path) -> bytes:
    """The bytes after the file meta, found by its group length alone (PS3.10 7.1)."""
    return data_set_in(path.read_bytes())


def data_set_in(content: bytes) -> bytes:
    """The same, of a file's content."""
    assert content[128:132] == b"DICM"
    assert content[132:140] == b"\x02\x00\x00\x00UL\x04\x00"
    return content[144 + int.from_bytes(content[140:144], "little") :]
