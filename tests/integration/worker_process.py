"""``lungwatch work`` as a process, for tests that kill it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine, func, select

from core.failpoints import ENVIRONMENT_VARIABLE
from core.settings import Settings
from db.base import database_url, make_sessions
from db.models.prediction import Prediction
from db.models.receipt import Receipt
from db.vocabulary import ReceiptState
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
# where attempts are counted: a helper that is slow on a busy machine must not pass for one that hangs
PATIENT = {"helper_seconds": 20, "lease_seconds": 41}


@dataclass
class WorkerProcess:
    process: subprocess.Popen[bytes]
    log: Path

    def stop(self, seconds: float = 40.0) -> int:
        """Ask it to stop and return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def said(self, word: str) -> bool:
        return word in self.log.read_text()


@contextmanager
def working(
    settings: Settings,
    *options: str,
    failpoint: str | None = None,
    command: str = "work",
    program: Sequence[str] = ("-m", "cli"),
    prefix: Sequence[str] = (),
    **overrides: object,
) -> Iterator[WorkerProcess]:
    """Run a worker on a ledger; it is killed at the end if it still runs."""
    names = {
        "data_dir": settings.data_dir.resolve(),
        "database_url": database_url(settings),
        "broker_url": settings.broker_url.get_secret_value(),
        "settle_seconds": 0,
        "sweep_seconds": 0.5,
        "heartbeat_seconds": 0.5,
        "champion_poll_seconds": 0.5,
        "worker_metrics_port": "",
        "helper_processes": 1,
        "helper_seconds": 5,
        "lease_seconds": 11,
        **overrides,
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LUNGWATCH_")}
    environment |= {f"LUNGWATCH_{name.upper()}": str(value) for name, value in names.items()}
    if failpoint is not None:
        environment[ENVIRONMENT_VARIABLE] = failpoint
    log = settings.data_dir / f"{command}-{os.urandom(3).hex()}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*prefix, sys.executable, *program, command, *options],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
        )
    worker = WorkerProcess(process, log)
    try:
        yield worker
    finally:
        if process.poll() is None:
            worker.kill()


def finished(database: Engine) -> bool:
    """Whether no receipt is PENDING."""
    with make_sessions(database).begin() as session:
        return session.scalar(select(func.count()).where(Receipt.state == ReceiptState.PENDING)) == 0


def wait_finished(database: Engine, seconds: float = 60.0) -> None:
    wait_until(lambda: finished(database), seconds, "every receipt is terminal")


def receipts(database: Engine) -> list[Receipt]:
    with make_sessions(database).begin() as session:
        return list(session.scalars(select(Receipt).order_by(Receipt.id)))


def predictions(database: Engine) -> int:
    with make_sessions(database).begin() as session:
        return session.scalars(select(func.count()).select_from(Prediction)).one()
