"""The receivers that are compared: each is started on a free port with an empty folder, and stopped."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Self

from bench import processes
from bench.association import CALLING, Refused, Target, connect, open_link
from bench.encoding import LARGEST_PDU, Sample

_REPOSITORY: Final = Path(__file__).resolve().parents[1]
_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 10.0
_REAP_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.05


class BenchFailure(Exception):
    """A receiver could not be measured."""


class Receiver(ABC):
    """One receiver, as a process that is the root of all its processes.

    Attributes
    ----------
    name : str
        Short, for the command line and the raw figures.
    label : str
        For people.
    program : str or None
        What must be on PATH, and `package` that has it.
    durable : bool
        Whether what it acknowledges was fsynced.
    raw : bool
        Speaks the floor's exchange, not DICOM.
    """

    name: str
    label: str
    durable: bool
    program: str | None = None
    package: str = ""
    raw: bool = False

    def __init__(self, folder: Path, environment: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.port = 0
        self._more_environment = environment or {}
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """Prepare its folder, which exists and is empty, and return how to start it."""

    def environment(self) -> dict[str, str]:
        """Return what is added to the environment of its process."""
        return {}

    @property
    def target(self) -> Target:
        """Where to send."""
        return Target(self.port, raw=self.raw)

    @property
    def pid(self) -> int:
        """Root of its processes."""
        if self._process is None:
            raise BenchFailure(f"{self.name} was not started")
        return self._process.pid

    @property
    def log(self) -> Path:
        """Return where its output goes, beside its folder."""
        return self.folder.with_suffix(".log")

    def start(self) -> Self:
        """Start it in an empty folder."""
        self.folder.mkdir(parents=True)
        self.port = free_port()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("LUNGWATCH_")}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self.command(),
                env={**inherited, "PYTHONPATH": str(_REPOSITORY), **self.environment(), **self._more_environment},
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def wait_ready(self, sample: Sample) -> int:
        """Wait until it takes an association; return the longest PDU it takes.

        Raises
        ------
        BenchFailure
            If it ends or takes too long, with the end of its log.
        """
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                link = open_link(self.target, sample)
            except (OSError, Refused) as error:
                if time.monotonic() > deadline or self._process is None or self._process.poll() is not None:
                    said = self.log.read_text(errors="replace")[-2000:]
                    raise BenchFailure(f"{self.name} takes no association ({error}):\n{said}") from None
                time.sleep(_POLL_SECONDS)
            else:
                link.close()
                return link.maximum_length

    def settle(self) -> None:  # noqa: B027 - most have nothing to wait for
        """Wait until the processes of released associations have ended and been waited for."""

    def held(self, size: int) -> int:
        """Return how many files of at least so many bytes it keeps."""
        files = (path for path in self.folder.rglob("*") if path.is_file())
        return sum(path.stat().st_size >= size for path in files)

    def stop(self) -> None:
        """End all its processes and remove its folder."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
            with contextlib.suppress(ProcessLookupError):
                # what it forked is in the session it began with
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


class Forking(Receiver):
    """A receiver with a process an association."""

    def settle(self) -> None:
        """See `Receiver.settle`; both that fork wait for their children when somebody connects."""
        deadline = time.monotonic() + _REAP_SECONDS
        while len(processes.family(self.pid)) > 1 and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                connect(self.target).close()
            time.sleep(_POLL_SECONDS)


class Ours(Receiver):
    """Our listener, fsync always on, in its default number of processes; nothing registers what it stores."""

    name = "lungwatch"
    label = "Lungwatch"
    durable = True

    def command(self) -> list[str]:
        """See `Receiver`."""
        return [sys.executable, "-m", "dicom_listener", "server"]

    # our caps are made for hospitals, not for one peer that opens 64 associations
    caps: Mapping[str, int] = MappingProxyType(
        {"maximum_associations": 128, "maximum_associations_per_peer": 128, "reserved_associations": 0}
    )

    def environment(self) -> dict[str, str]:
        """Leave every setting at its default but the caps, and what keeps it to this machine and folder."""
        settings = {
            "data_dir": self.folder,
            "listen_host": "127.0.0.1",
            "listen_port": self.port,
            "listener_metrics_port": "",
            "free_space_fraction": 0,
            **self.caps,
        }
        return {f"LUNGWATCH_{name.upper()}": str(value) for name, value in settings.items()}


class Guarded(Ours):
    """Our listener with its default caps; it knows the load generator, and takes from others too."""

    caps: Mapping[str, int] = MappingProxyType({})

    def command(self) -> list[str]:
        """See `Receiver`."""
        peer = f'[[peer]]\nae_title = "{CALLING}"\naddresses = ["127.0.0.1"]\n'
        (self.folder / "peers.toml").write_text(f'unknown = "accept"\n\n{peer}')
        return super().command()


class Naive(Receiver):
    """See `bench.stock`."""

    name = "pynetdicom-naive"
    label = "pynetdicom, naive"
    durable = False
    way = "naive"

    def command(self) -> list[str]:
        """See `Receiver`."""
        return [sys.executable, "-m", "bench.stock", self.way, str(self.port), str(self.folder)]


class Encoded(Naive):
    """See `bench.stock`."""

    name = "pynetdicom-encoded"
    label = "pynetdicom, encoded bytes"
    way = "encoded"


class Storescp(Forking):
    """dcmtk's receiver, with the largest PDU it takes."""

    name = "storescp"
    label = "dcmtk storescp --fork"
    durable = False
    program, package = "storescp", "dcmtk"

    def command(self) -> list[str]:
        """See `Receiver`."""
        folder = self.folder / "received"
        folder.mkdir()
        return [
            *("storescp", "--quiet", "--fork", "--max-pdu", str(LARGEST_PDU)),
            *("--output-directory", str(folder), str(self.port)),
        ]

    def environment(self) -> dict[str, str]:
        """Without this variable Nagle's algorithm delays each response."""
        return {"TCP_NODELAY": "1"}


class StorescpBits(Storescp):
    """The same, writing the bytes as they came instead of parsing and encoding them; its fastest way."""

    name = "storescp-bits"
    label = "storescp, bit-preserving"

    def command(self) -> list[str]:
        """See `Receiver`."""
        *options, port = super().command()
        return [*options, "--bit-preserving", port]


class Orthanc(Receiver):
    """Orthanc as it comes: it fsyncs, computes MD5 sums and writes its index."""

    name = "orthanc"
    label = "Orthanc, default"
    durable = True
    program, package = "Orthanc", "orthanc"
    options: Mapping[str, object] = MappingProxyType({})

    def command(self) -> list[str]:
        """See `Receiver`."""
        configuration = {
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "storage"),
            "DicomPort": self.port,
            "HttpServerEnabled": False,
            **self.options,
        }
        path = self.folder / "orthanc.json"
        path.write_text(json.dumps(configuration))
        return ["Orthanc", str(path)]


class OrthancTuned(Orthanc):
    """Orthanc with large PDUs and without MD5 sums; still with fsync and index."""

    name = "orthanc-tuned"
    label = "Orthanc, tuned"
    options = MappingProxyType({"MaximumPduLength": LARGEST_PDU, "StoreMD5ForAttachments": False})


class Floor(Forking):
    """See `bench.floor`."""

    name = "floor"
    label = "floor"
    durable = True
    raw = True

    def command(self) -> list[str]:
        """See `Receiver`."""
        return [sys.executable, "-m", "bench.floor", str(self.port), str(self.folder)]


RECEIVERS: Final[tuple[type[Receiver], ...]] = (
    Ours,
    Naive,
    Encoded,
    Storescp,
    StorescpBits,
    Orthanc,
    OrthancTuned,
    Floor,
)


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def missing(kinds: list[type[Receiver]]) -> list[str]:
    """Return what would have to be installed."""
    return [
        f"{kind.program} is missing: apt-get install {kind.package}"
        for kind in kinds
        if kind.program is not None and shutil.which(kind.program) is None
    ]
