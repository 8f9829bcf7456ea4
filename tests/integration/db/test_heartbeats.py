from __future__ import annotations

import os
import socket

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from core.clock import SystemClock
from db.heartbeats import Heart
from db.models.model import Heartbeat
from db.vocabulary import ProcessKind


def test_a_heart_keeps_one_row_a_run_and_says_what_holds_now(sessions: sessionmaker[Session]) -> None:
    clock = SystemClock()
    heart, other = Heart(ProcessKind.REGISTRAR, clock, "listener"), Heart(ProcessKind.REGISTRAR, clock, "listener")
    horizon = clock.now()
    with sessions.begin() as session:
        heart.beat(session, horizon=horizon, problem="the disk is full")
        other.beat(session)
    with sessions.begin() as session:
        heart.beat(session, horizon=horizon)
        other.stop(session)
    with sessions.begin() as session:
        row, stopped = session.scalars(select(Heartbeat).order_by(Heartbeat.stopped_at.is_not(None)))
        assert (row.kind, row.listener) == (ProcessKind.REGISTRAR, "listener")
        assert (row.host, row.pid) == (socket.gethostname(), os.getpid())
        assert (row.horizon, row.problem, row.stopped_at) == (horizon, None, None)
        assert stopped.stopped_at is not None
        assert row.process.startswith("registrar-")
