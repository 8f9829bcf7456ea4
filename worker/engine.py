"""The loop of a worker: look, claim, work, settle, sweep, beat; whatever the broker or the database does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from core import logging
from core.clock import Clock
from core.logging import safe_error
from core.settings import Settings
from db.heartbeats import Heart
from db.vocabulary import ProcessKind
from worker.backoff import backoff
from worker.champion import ChampionWatch
from worker.metrics.figures import Figures
from worker.metrics.recent import Recent
from worker.pipeline import Journey
from worker.rescoring.rescorer import Rescorer
from worker.settle import settle_due
from worker.sweep import StoreSweep
from worker.trouble import LEDGER_AWAY

log = logging.get(__name__)

# without a broker nothing rings across processes, so looking is all there is
_BROKERLESS_POLL_SECONDS: Final = 0.2
_LOADING_POLL_SECONDS: Final = 0.1
_STORE_SWEEP_SECONDS: Final = 30.0


@dataclass(slots=True)
class _Timer:
    """Something done every so often; one that fails is tried again at its next time."""

    every: float
    work: Callable[[], object]
    next_at: float = float("-inf")

    def run_if_due(self, now: float) -> None:
        if now >= self.next_at:
            self.next_at = now + self.every
            self.work()


class Engine:
    """Runs on one thread until `stopping` is set; `bell` wakes it before its next look.

    Parameters
    ----------
    settings : Settings
        Intervals and sizes.
    sessions : sessionmaker
        The ledger.
    journey : Journey
        What is done with a batch.
    rescorer : Rescorer
        What is done when no receipt waits.
    champion : ChampionWatch
        Which model serves.
    bell : threading.Event
        Set by whoever knows of work.
    stopping : threading.Event
        Set to stop: the image in hand is finished, other claims are given back.
    clock : Clock
        For the intervals.
    figures : Figures, optional
        What the worker counts, for its heartbeat.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        sessions: sessionmaker[Session],
        journey: Journey,
        rescorer: Rescorer,
        champion: ChampionWatch,
        bell: threading.Event,
        stopping: threading.Event,
        clock: Clock,
        figures: Figures | None = None,
    ) -> None:
        self._settings = settings
        self._figures = figures or Figures()
        self._recent = Recent(self._figures, clock)
        self._sessions = sessions
        self._journey = journey
        self._rescorer = rescorer
        self._champion = champion
        self._bell = bell
        self._stopping = stopping
        self._clock = clock
        self._heart = Heart(ProcessKind.WORKER, clock)
        sweep = StoreSweep(settings.data_dir.resolve(), sessions)
        self._heartbeat = _Timer(settings.heartbeat_seconds, self._beat)
        self._timers = (
            _Timer(settings.sweep_seconds, lambda: settle_due(settings, sessions)),
            _Timer(_STORE_SWEEP_SECONDS, sweep.run),
        )
        self._said: str | None = None
        self._failure: str | None = None

    def run(self) -> None:
        """Work until told to stop; a failure costs a pause, never the loop."""
        pauses = backoff()
        log.info("worker_started")
        while not self._stopping.is_set():
            try:
                claimed = self._once()
                pauses = backoff()
                self._failure = None
                if claimed == 0:
                    self._rest()
                self._bell.clear()
            except SQLAlchemyError as error:
                log.error("ledger_away", **safe_error(error))  # noqa: TRY400 - the text may quote data
                # until a round went well: each next one begins as if all were
                self._failure = LEDGER_AWAY
                self._figures.able(well=False)
                self._stopping.wait(next(pauses))
            except Exception as error:  # noqa: BLE001 - the edge: the next batch may fare better
                log.error("engine_failed", **safe_error(error))  # noqa: TRY400 - likewise
                self._failure = f"the worker fails ({type(error).__name__}); please report what its log says"
                self._stopping.wait(next(pauses))
        self._stop()

    def _rest(self) -> None:
        """Wait until the bell rings or it is time to look by ourselves, however long that is: all else goes on."""
        left = self._pause()
        while left > 0 and not self._stopping.is_set():
            nap = min(left, self._settings.heartbeat_seconds)
            if self._bell.wait(nap):
                return
            left -= nap
            self._champion.look()
            self._tick()
            self._run_timers()

    def _once(self) -> int:
        self._champion.look()
        self._tick()
        claimed = 0
        serving = self._champion.serving
        if serving is not None:
            self._figures.serving(serving.wanted.version, serving.runtime.name)
            claimed = self._journey.run_batch(serving, self._stopping, self._tick)
            if claimed == 0 and self._journey.problem is None and not self._stopping.is_set():
                claimed = self._rescorer.run_batch(serving, self._tick)
        self._run_timers()
        return claimed

    def _run_timers(self) -> None:
        now = self._clock.monotonic()
        for timer in self._timers:
            if not self._stopping.is_set():
                timer.run_if_due(now)

    def _pause(self) -> float:
        if self._champion.loading and self._champion.serving is None:
            return _LOADING_POLL_SECONDS
        if not self._settings.has_broker:
            return min(_BROKERLESS_POLL_SECONDS, self._settings.idle_poll_seconds)
        return self._settings.idle_poll_seconds

    def _tick(self) -> None:
        problem = self._problem()
        self._figures.able(well=problem is None)
        if problem != self._said:
            # a problem shows at once, not at the next beat
            self._said = problem
            self._heartbeat.next_at = float("-inf")
        try:
            self._heartbeat.run_if_due(self._clock.monotonic())
        except SQLAlchemyError as error:
            log.warning("heartbeat_missed", **safe_error(error))

    def _beat(self) -> None:
        serving = self._champion.serving
        serving_id = None if serving is None else serving.wanted.model_version_id
        lately = self._recent.summary()
        with self._sessions.begin() as session:
            self._heart.beat(session, model_version_id=serving_id, problem=self._problem(), figures=lately)

    def _problem(self) -> str | None:
        problem = self._failure or self._journey.problem or self._champion.problem or self._rescorer.problem
        if problem is not None:
            return problem
        return "not ready: no model loaded yet" if self._champion.serving is None else None

    def _stop(self) -> None:
        try:
            with self._sessions.begin() as session:
                self._heart.stop(session)
        except SQLAlchemyError as error:
            log.warning("heartbeat_missed", **safe_error(error))
        log.info("worker_stopped")
