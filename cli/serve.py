"""`lungwatch serve`: everything on one machine, under one supervisor."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.panel import Panel
from rich.text import Text

from cli import listen
from cli.data_directory import prepare_data
from cli.output import notes
from cli.supervisor import Plan
from core import failpoints
from core.clock import SystemClock
from core.errors import ExitCode, Misconfigured
from core.files import write_durably
from core.logging import configure, get
from core.settings import Settings, load
from db.base import make_engine, sqlite_path
from db.migrate import check, upgrade
from db.single_host import wait_for_sole_use
from dicom_listener.announcement import Address
from dicom_listener.binding import check_ports

LOCK: Final = "serve.lock"
STATE: Final = "serve.json"
# beyond what a child grants itself for its own work: interpreter start and end on a busy machine
_GRACE_SECONDS: Final = 15.0

_log = get(__name__)


def serve(
    workers: Annotated[
        int, typer.Option("--workers", min=1, max=64, help="Worker processes; each also starts its decode helpers.")
    ] = 1,
) -> None:
    """Run everything on this machine: listener, registrar, workers and beat.

    Upgrades the embedded SQLite ledger by itself; a PostgreSQL ledger is only checked (lungwatch db upgrade).
    A process that dies is started again. SIGTERM or Ctrl-C drains and leaves with 0; a second one kills.
    While it runs, serve.json in the data directory says which port and processes it uses.
    """
    settings = load()
    if sys.stderr.isatty() and "log_json" not in settings.model_fields_set:
        settings = settings.model_copy(update={"log_json": False})
    configure(settings)
    prepare_data(settings)
    with only_one(settings.data_dir):
        check_ports(settings)
        prepare_ledger(settings)
        orderly = _supervise(settings, workers)
    raise typer.Exit(ExitCode.FINE if orderly else ExitCode.FINDING)


@contextmanager
def only_one(data: Path) -> Iterator[None]:
    """Hold the data directory for one `serve`; the kernel lets go when the process ends, however it ends.

    Raises
    ------
    Misconfigured
        If another one holds it.
    """
    with (data / LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read(20).strip() or "unknown"
            message = (
                f"another serve (process {holder}) already runs on {data.absolute()}. "
                "Stop it first, or set LUNGWATCH_DATA_DIR to another place."
            )
            raise Misconfigured(message) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def prepare_ledger(settings: Settings) -> None:
    """Upgrade the embedded SQLite ledger, check any other.

    Raises
    ------
    Misconfigured
        If the schema is outdated and not ours to change, or SQLite is in use on another host.
    """
    engine = make_engine(settings)
    try:
        if engine.dialect.name == "sqlite":
            upgrade(engine)
            wait_for_sole_use(engine, threading.Event().wait)
        else:
            check(engine)
    finally:
        engine.dispose()


def plans(settings: Settings, workers: int) -> list[Plan]:
    """Plan the children: the listener's stop first, so that what was received is registered, then the workers."""
    listener = listen.plans(settings)
    us = (sys.executable, "-m", "cli", "work")
    seconds, stage = settings.helper_seconds + _GRACE_SECONDS, max(plan.stage for plan in listener) + 1
    return [
        *listener,
        # one beat is enough; a second would do no harm, only nothing
        Plan("work-1", (*us, "--beat"), seconds, stage),
        *(Plan(f"work-{number}", us, seconds, stage) for number in range(2, workers + 1)),
    ]


def child_environment(*, lines_for_a_person: bool) -> dict[str, str]:
    """Return what children inherit: no failpoint, and lines for a person where a person watches."""
    environment = {"LUNGWATCH_LOG_JSON": "false"} if lines_for_a_person else {}
    environment |= os.environ
    environment.pop(failpoints.ENVIRONMENT_VARIABLE, None)
    return environment


def _supervise(settings: Settings, workers: int) -> bool:
    path = settings.data_dir / STATE
    state: dict[str, object] = {"pid": os.getpid(), "started_at": SystemClock().now().isoformat()}

    def publish() -> None:
        # before the listener has said its port there is nothing to tell
        if "listener" not in state:
            return
        try:
            write_durably(path, json.dumps(state, indent=2).encode() + b"\n")
        except OSError as error:
            # it only informs: a full disk must not end the listener, which has to answer 0xA700
            _log.error("state_not_written", why=error.strerror)

    def changed(processes: Mapping[str, int]) -> None:
        state["children"] = processes
        publish()

    def listening(address: Address) -> None:
        state["listener"] = asdict(address)
        publish()
        _announce(settings, address, workers)

    environment = child_environment(lines_for_a_person=not settings.log_json)
    try:
        return listen.supervise(settings, plans(settings, workers), environment, listening, changed)
    finally:
        path.unlink(missing_ok=True)


def _announce(settings: Settings, listening: Address, workers: int) -> None:
    _log.info("serving", port=listening.port, tls_port=listening.tls_port, ae_title=listening.ae_title, workers=workers)
    console = notes()
    if not console.is_terminal:
        # a log collector reads this stream; the line above tells it everything
        return
    text = Text("\n".join(introduction(settings, listening)))
    console.print(Panel(text, title="Lungwatch serves", title_align="left", expand=False))


def introduction(settings: Settings, listening: Address) -> list[str]:
    """Return what a person at the terminal is told: where we listen, and how to try it."""
    host = socket.gethostname() if listening.host in {"0.0.0.0", "::"} else listening.host  # noqa: S104 - compared
    ports = {"port": listening.port, "port for TLS": listening.tls_port}
    where = " and ".join(f"{name} {number}" for name, number in ports.items() if number is not None)
    ledger = "PostgreSQL" if settings.database_url else f"SQLite, {sqlite_path(settings)}"
    options, port = "", listening.port
    if port is None:
        own = "+tla" if settings.tls_client_ca_file is None else "+tls PEER.key PEER.crt"
        options, port = f"{own} +cf CA.crt ", listening.tls_port
    return [
        f"Listening   {listening.ae_title} at {host} {where}",
        f"Data        {settings.data_dir.absolute()}",
        f"Ledger      {ledger}",
        f"Bell        {'broker' if settings.has_broker else 'none needed: workers look by themselves'}",
        "",
        "In the PACS add the first line as a DICOM destination and forward chest",
        "radiographs (CR, DX) to it. To try it with dcmtk:",
        f"    echoscu {options}-aec {listening.ae_title} {host} {port}",
        f"    storescu {options}-aec {listening.ae_title} {host} {port} FILE.dcm",
        "Then, in another terminal:  lungwatch results    lungwatch status",
        "Ctrl-C stops it.",
    ]
