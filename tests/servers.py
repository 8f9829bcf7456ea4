"""Real PostgreSQL, Redis and RabbitMQ, each in a folder of its own on a port the system chose."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from sqlalchemy import NullPool, create_engine, make_url, text

from tests.programs import require
from tests.waiting import wait_until

HOST = "127.0.0.1"


def free_port() -> int:
    """Return a port nobody listens on just now, for programs that cannot be told to choose themselves."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def accepts(port: int) -> bool:
    """Say whether somebody listens on a port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def _server_account(program: str) -> str | None:
    """Return the account a server must run as: PostgreSQL refuses root."""
    if os.getuid() != 0:
        return None
    try:
        return pwd.getpwnam(program).pw_name
    except KeyError:
        return "nobody"


@dataclass
class Server:
    """A server process that can be stopped, hung and started again."""

    name: str
    folder: Path
    command: list[str]
    port: int
    url: str
    account: str | None = None
    stop_signal: int = signal.SIGTERM
    environment: dict[str, str] = field(default_factory=dict)
    probe: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        with (self.folder / "output.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                user=self.account,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )
        wait_until(lambda: self._alive() and self._serves(), 60, f"{self.name} accepts connections")

    def _serves(self) -> bool:
        # PostgreSQL takes connections some time before it serves them: its own probe tells the two apart
        return accepts(self.port) and (
            not self.probe or subprocess.run(self.probe, capture_output=True, check=False).returncode == 0
        )

    def _alive(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended: {(self.folder / 'output.log').read_text()[-2000:]}")
        return True

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """Make a database of a PostgreSQL, a copy of another that nobody uses, and give its URL."""
        name = f"test_{secrets.token_hex(6)}"
        administration = create_engine(self.url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with administration.connect() as connection:
            connection.execute(text(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'))
            yield make_url(self.url).set(database=name).render_as_string(hide_password=False)
            connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))

    def stop(self) -> None:
        """Stop it for good or until `start`."""
        if self.process is not None and self.process.poll() is None:
            self.resume()
            os.killpg(self.process.pid, self.stop_signal)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """Kill it without a chance to tidy up."""
        assert self.process is not None
        self._signal_all(signal.SIGKILL)
        self.process.wait()

    def hang(self) -> None:
        """Stop all of its processes without closing a socket: a black hole."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `hang`."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: int) -> None:
        # a PostgreSQL backend and RabbitMQ's port mapper leave the process group: find them by family and by home
        assert self.process is not None
        family = psutil.Process(self.process.pid).children(recursive=True) if self.process.poll() is None else []
        for process in [*family, *_processes_at_home(self.folder)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        if self.process.poll() is None:
            self.process.send_signal(number)

    def remove(self) -> None:
        """Stop it and delete its folder."""
        self.stop()
        for process in _processes_at_home(self.folder):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def _processes_at_home(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("HOME") == str(folder):
                found.append(process)
    return found


def _folder(account: str | None) -> Path:
    # short and outside pytest's own folders: sockets have short paths, other accounts must get in
    folder = Path(tempfile.mkdtemp(prefix="lungwatch-test-"))
    folder.chmod(0o755)
    if account is not None:
        shutil.chown(folder, account)
    return folder


def postgres() -> Server:
    """Start a PostgreSQL with an empty database ``postgres`` and a superuser of the same name."""
    program = Path(require("postgres"))
    account = _server_account("postgres")
    folder = _folder(account)
    subprocess.run(
        [
            program.parent / "initdb",
            "-D",
            folder / "data",
            "-U",
            "postgres",
            "-A",
            "trust",
            "-N",
            "-E",
            "UTF8",
            "--locale=C",
        ],
        check=True,
        capture_output=True,
        user=account,
        cwd=folder,
    )
    port = free_port()
    server = Server(
        "postgres",
        folder,
        [
            str(program),
            "-D",
            str(folder / "data"),
            "-p",
            str(port),
            "-h",
            HOST,
            "-k",
            str(folder),
            "-c",
            "max_connections=200",
            # what was committed outlives a killed server all the same; no test takes the machine's power away
            "-c",
            "fsync=off",
        ],
        port,
        f"postgresql+psycopg://postgres@{HOST}:{port}/postgres",
        account=account,
        stop_signal=signal.SIGINT,
        probe=[str(program.parent / "pg_isready"), "-q", "-h", HOST, "-p", str(port)],
    )
    server.start()
    return server


def redis() -> Server:
    """Start a Redis that keeps everything (append-only file)."""
    program = require("redis-server")
    folder = _folder(None)
    port = free_port()
    server = Server(
        "redis-server",
        folder,
        [
            program,
            "--port",
            str(port),
            "--bind",
            HOST,
            "--dir",
            str(folder),
            "--appendonly",
            "yes",
            "--save",
            "",
            "--maxmemory-policy",
            "noeviction",
        ],
        port,
        f"redis://{HOST}:{port}/0",
    )
    server.start()
    return server


def rabbitmq() -> Server:
    """Start a RabbitMQ node of its own."""
    program = require("rabbitmq-server")
    account = _server_account("rabbitmq")
    folder = _folder(account)
    port, distribution = free_port(), free_port()
    server = Server(
        "rabbitmq-server",
        folder,
        [program],
        port,
        f"amqp://guest:guest@{HOST}:{port}//",
        account=account,
        environment={
            "HOME": str(folder),
            "RABBITMQ_NODENAME": f"lungwatch{port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": HOST,
            "RABBITMQ_NODE_PORT": str(port),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "ERL_EPMD_PORT": str(free_port()),
            "ERL_EPMD_ADDRESS": HOST,
        },
    )
    server.start()
    return server
