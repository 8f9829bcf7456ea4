from collections.abc import Callable

import pytest
from sqlalchemy import Engine, update
from sqlalchemy.orm import Session, sessionmaker

from core.clock import SystemClock
from core.errors import Misconfigured
from db.heartbeats import Pulse, beat, stop
from db.models.model import Heartbeat
from db.single_host import refuse_second_host, wait_for_sole_use
from db.vocabulary import ProcessKind
from tests.factories.rows import ago


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


class Waiting:
    """Counts how often it was waited, and lets something happen meanwhile."""

    def __init__(self, then: Callable[[], object], *, stop: bool = False) -> None:
        self.times = 0
        self._then = then
        self._stop = stop

    def __call__(self, _: float) -> bool:
        self.times += 1
        if self.times == 3:
            self._then()
            return self._stop
        return False


def _passes(sessions: sessionmaker[Session], seconds: float) -> None:
    with sessions.begin() as session:
        session.execute(update(Heartbeat).values(seen_at=ago(seconds)))


class TestWaiting:
    def test_a_host_that_was_killed_is_waited_out(self, engine: Engine, sessions: sessionmaker[Session]) -> None:
        _live_on(sessions, "first")
        waiting = Waiting(lambda: _passes(sessions, 31))
        assert wait_for_sole_use(engine, waiting, host="second")
        assert waiting.times == (3 if engine.dialect.name == "sqlite" else 0)
        assert wait_for_sole_use(engine, waiting, host="second")

    def test_one_that_beats_again_is_told_of(self, engine: Engine, sessions: sessionmaker[Session]) -> None:
        _live_on(sessions, "first")
        _passes(sessions, 5)
        waiting = Waiting(lambda: _live_on(sessions, "first"))
        assert wait_for_sole_use(engine, waiting, host="first")
        assert waiting.times == 0
        if engine.dialect.name == "sqlite":
            with pytest.raises(Misconfigured, match=r"first.*PostgreSQL"):
                wait_for_sole_use(engine, waiting, host="second")
            assert waiting.times == 3

    def test_it_ends_when_told_to(self, engine: Engine, sessions: sessionmaker[Session]) -> None:
        _live_on(sessions, "first")
        ended = wait_for_sole_use(engine, Waiting(lambda: None, stop=True), host="second")
        assert ended is (engine.dialect.name != "sqlite")
