"""Signs of life: one row a run of a process, overwritten at each beat."""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import update
from sqlalchemy.orm import Session

from core.clock import Clock
from db.base import database_now
from db.inserting import insert
from db.models.model import Heartbeat
from db.vocabulary import ProcessKind
from db.worker_figures import WorkerFigures, to_json


@dataclass(frozen=True, slots=True)
class Pulse:
    """What a process says of itself.

    Attributes
    ----------
    process : str
        Random name of this run, at most 64 characters.
    kind : ProcessKind
        What it is.
    host : str
        Where it runs.
    pid : int
        Its process number there.
    started_at : datetime
        By its own clock; aware.
    listener : str or None
        REGISTRAR: whose spool it registers.
    horizon : datetime or None
        REGISTRAR: everything received before this is registered and committed.
    model_version_id : int or None
        WORKER: the model it serves.
    problem : str or None
        Why it cannot work now, for a person; cut at 200 characters.
    figures : WorkerFigures or None
        WORKER: what it did lately.
    """

    process: str
    kind: ProcessKind
    host: str
    pid: int
    started_at: datetime
    listener: str | None = None
    horizon: datetime | None = None
    model_version_id: int | None = None
    problem: str | None = None
    figures: WorkerFigures | None = None


def beat(session: Session, pulse: Pulse) -> None:
    """Write that the process lives, by the database's clock; the first beat makes its row."""
    present = {
        "seen_at": database_now(),
        "stopped_at": None,
        "horizon": pulse.horizon,
        "model_version_id": pulse.model_version_id,
        "problem": None if pulse.problem is None else pulse.problem[:200],
        "figures": None if pulse.figures is None else to_json(pulse.figures),
    }
    fixed = {
        "process": pulse.process,
        "kind": pulse.kind,
        "host": pulse.host[:255],
        "pid": pulse.pid,
        "listener": pulse.listener,
        "started_at": pulse.started_at,
    }
    session.execute(
        insert(session, Heartbeat)
        .values(fixed | present)
        .on_conflict_do_update(index_elements=[Heartbeat.process], set_=present)
    )


def stop(session: Session, process: str) -> None:
    """Write that the process stopped in good order; a stopped registrar holds up no settling."""
    session.execute(
        update(Heartbeat)
        .where(Heartbeat.process == process)
        .values(seen_at=database_now(), stopped_at=database_now())
        .execution_options(synchronize_session=False)
    )


class Heart:
    """The heartbeats of this run of this process.

    Parameters
    ----------
    kind : ProcessKind
        What it is.
    clock : Clock
        Says when it started.
    listener : str, optional
        REGISTRAR: whose spool it registers.
    """

    def __init__(self, kind: ProcessKind, clock: Clock, listener: str | None = None) -> None:
        self._pulse = Pulse(
            process=f"{kind.lower()}-{secrets.token_hex(8)}",
            kind=kind,
            host=socket.gethostname(),
            pid=os.getpid(),
            started_at=clock.now(),
            listener=listener,
        )

    def beat(
        self,
        session: Session,
        *,
        horizon: datetime | None = None,
        model_version_id: int | None = None,
        problem: str | None = None,
        figures: WorkerFigures | None = None,
    ) -> None:
        """Write that the process lives and what holds now; see `Pulse`."""
        pulse = replace(
            self._pulse, horizon=horizon, model_version_id=model_version_id, problem=problem, figures=figures
        )
        beat(session, pulse)

    def stop(self, session: Session) -> None:
        """Write that the process stopped in good order."""
        stop(session, self._pulse.process)
