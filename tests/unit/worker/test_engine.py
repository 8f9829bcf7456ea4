from __future__ import annotations

import threading
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from core.clock import SystemClock
from core.settings import Settings
from db.models.model import Heartbeat
from tests.waiting import wait_until
from worker.engine import Engine
from worker.metrics.figures import Figures

Sessions = sessionmaker[Session]


class Rounds:
    """A journey whose ledger is away, or not; notes how well the worker was when each round began."""

    problem = None

    def __init__(self, figures: Figures) -> None:
        self.figures = figures
        self.away = True
        self.well: list[bool] = []

    def run_batch(self, *_: object) -> int:
        self.well.append(self.figures.well)
        if self.away:
            raise OperationalError("SELECT", {}, Exception("no connection"))
        return 0


def made(settings: Settings, engine: Any, rounds: Rounds, bell: threading.Event, stopping: threading.Event) -> Engine:
    serving = SimpleNamespace(
        wanted=SimpleNamespace(version="1", model_version_id=None), runtime=SimpleNamespace(name="stub")
    )
    champion = SimpleNamespace(look=lambda: None, serving=serving, loading=False, problem=None)
    return Engine(
        settings,
        sessions=sessionmaker(engine),
        journey=rounds,  # type: ignore[arg-type] # see above
        rescorer=SimpleNamespace(problem=None, run_batch=lambda *_: 0),  # type: ignore[arg-type] # likewise
        champion=champion,  # type: ignore[arg-type] # likewise
        bell=bell,
        stopping=stopping,
        clock=SystemClock(),
        figures=rounds.figures,
    )


def test_a_worker_whose_ledger_is_away_is_not_well_until_it_is_back(
    sqlite_settings: Settings, sqlite_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.engine.backoff", lambda: iter(lambda: 0.01, None))
    figures = Figures()
    rounds = Rounds(figures)
    stopping = threading.Event()
    working = threading.Thread(target=made(sqlite_settings, sqlite_engine, rounds, threading.Event(), stopping).run)
    working.start()
    try:
        wait_until(lambda: len(rounds.well) > 3, 30, "some rounds failed")
        assert not figures.well
        # the first began before anybody knew
        assert not any(rounds.well[1:])
        rounds.away = False
        wait_until(lambda: figures.well, 30, "it is well again")
    finally:
        stopping.set()
        working.join()


def test_a_worker_that_seldom_looks_by_itself_beats_all_the_same(sqlite_settings: Settings, sqlite_engine: Any) -> None:
    settings = sqlite_settings.model_copy(
        update={"broker_url": SecretStr("redis://broker/0"), "idle_poll_seconds": 3600.0, "heartbeat_seconds": 0.05}
    )
    figures = Figures()
    rounds = Rounds(figures)
    rounds.away = False
    bell, stopping = threading.Event(), threading.Event()
    working = threading.Thread(target=made(settings, sqlite_engine, rounds, bell, stopping).run)
    working.start()

    def seen() -> datetime | None:
        with Session(sqlite_engine) as session:
            return session.scalar(select(Heartbeat.seen_at))

    try:
        wait_until(lambda: rounds.well, 30, "it looked once")
        first = wait_until(seen, 30, "it beats")
        wait_until(lambda: seen() > first, 30, "it beats again")  # type: ignore[operator] # it was seen
        # and it asks for no work meanwhile, until somebody rings
        assert len(rounds.well) == 1
        bell.set()
        wait_until(lambda: len(rounds.well) == 2, 30, "it heard the bell")
    finally:
        stopping.set()
        bell.set()
        working.join()
