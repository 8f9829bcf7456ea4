from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from core.clock import SystemClock
from core.settings import Settings
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


def test_a_worker_whose_ledger_is_away_is_not_well_until_it_is_back(
    sqlite_settings: Settings, sqlite_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.engine.backoff", lambda: iter(lambda: 0.01, None))
    figures = Figures()
    rounds = Rounds(figures)
    serving = SimpleNamespace(
        wanted=SimpleNamespace(version="1", model_version_id=None), runtime=SimpleNamespace(name="stub")
    )
    champion = SimpleNamespace(look=lambda: None, serving=serving, loading=False, problem=None)
    stopping = threading.Event()
    engine = Engine(
        sqlite_settings,
        sessions=sessionmaker(sqlite_engine),
        journey=rounds,  # type: ignore[arg-type] # see above
        rescorer=SimpleNamespace(problem=None, run_batch=lambda *_: 0),  # type: ignore[arg-type] # likewise
        champion=champion,  # type: ignore[arg-type] # likewise
        bell=threading.Event(),
        stopping=stopping,
        clock=SystemClock(),
        figures=figures,
    )
    working = threading.Thread(target=engine.run)
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
