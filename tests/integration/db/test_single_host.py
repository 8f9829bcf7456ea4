import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from core.clock import SystemClock
from core.errors import Misconfigured
from db.heartbeats import Pulse, beat, stop
from db.single_host import refuse_second_host
from db.vocabulary import ProcessKind


def _live_on(sessions: sessionmaker[Session], host: str) -> None:
    with sessions.begin() as session:
        beat(session, Pulse(f"on-{host}", ProcessKind.WORKER, host, 1, SystemClock().now()))


def test_a_second_host_is_refused_on_sqlite_alone(engine: Engine, sessions: sessionmaker[Session]) -> None:
    _live_on(sessions, "first")
    refuse_second_host(engine, host="first")
    if engine.dialect.name == "sqlite":
        with pytest.raises(Misconfigured, match=r"first.*PostgreSQL"):
            refuse_second_host(engine, host="second")
    else:
        refuse_second_host(engine, host="second")


def test_a_host_that_stopped_in_good_order_makes_way(engine: Engine, sessions: sessionmaker[Session]) -> None:
    _live_on(sessions, "first")
    with sessions.begin() as session:
        stop(session, "on-first")
    refuse_second_host(engine, host="second")
