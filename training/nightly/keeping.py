"""Holding the night while it is worked on: the lease renewed, progress told, and the moment to stop noticed.

Its own thread, because an epoch lasts longer than a lease. Nothing it does is
needed for safety: every write of the night is conditional on the lease.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from core import logging
from core.clock import Clock
from core.errors import ExitCode
from core.logging import safe_error
from db.nightly_runs import Held, NightLost, note, renew
from training.fitting.run import Epoch
from training.nightly.tonight import OutOfTime, Stopped

log = logging.get(__name__)

LEASE_SECONDS: Final = 120.0
_RENEWALS_A_LEASE: Final = 6
_LOOK_SECONDS: Final = 0.2
_GRACE_SECONDS: Final = 900.0


class Keeper:
    """Keeps a night; enter it for as long as it is worked on.

    Parameters
    ----------
    until : float
        By the clock's monotonic time: when the night's hours are over.
    stopping : callable
        Whether somebody wants the process to stop; asked by the keeper's own thread, and often, for while a network is
        compiled nobody else looks.
    lease_seconds : float
        How long a claim holds without renewal.
    """

    def __init__(  # noqa: PLR0917 - what, where, until when
        self,
        held: Held,
        sessions: sessionmaker[Session],
        clock: Clock,
        until: float,
        stopping: Callable[[], bool],
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self.held = held
        self._sessions = sessions
        self._clock = clock
        self._until = until
        self._stopping = stopping
        self._lease_seconds = lease_seconds
        self._words: str | None = None
        self._told: str | None = None
        self._lost: NightLost | None = None
        self._stop = False
        self._time_to_leave: float | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="night", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    def check(self) -> None:
        """Return if the night may be gone on with.

        Raises
        ------
        NightLost
            If the lease is lost.
        Stopped, OutOfTime
            If it is time to leave.
        """
        if self._lost is not None:
            raise self._lost
        if self._stop:
            raise Stopped("told to stop; the next start goes on from here")
        if self._clock.monotonic() > self._until:
            raise OutOfTime("the night's hours are over")

    def stage(self, name: str, total: int) -> Callable[[], None]:
        """Begin a stage of so many steps; see `training.bundling.build.Watcher`."""
        done = 0
        self._words = f"{name}, 0 of {total}"

        def step() -> None:
            nonlocal done
            done += 1
            self._words = f"{name}, {done} of {total}"
            self.check()

        return step

    def epoch(self, epoch: Epoch) -> None:
        """Log what an epoch came to."""
        log.info(
            "epoch_ended",
            epoch=epoch.number,
            loss=round(epoch.loss, 5),
            watch_loss=round(epoch.watch_loss, 5),
            seconds=epoch.seconds,
        )

    def _end_what_hangs(self) -> None:
        """End the process where nobody left for long after it was time to: a lock or a disk may never answer."""
        if self._lost is None and not self._stop and self._clock.monotonic() <= self._until:
            return
        self._time_to_leave = self._time_to_leave or time.monotonic()
        if time.monotonic() - self._time_to_leave > _GRACE_SECONDS:
            log.error("night_hangs", night=self.held.night.isoformat(), doing=self._words)
            os._exit(int(ExitCode.OUTSIDE))

    def _keep(self) -> None:
        renewed = time.monotonic()
        while not self._ended.wait(_LOOK_SECONDS):
            if not self._stop and self._stopping():
                self._stop = True
                log.info("night_stopping", night=self.held.night.isoformat())
            self._end_what_hangs()
            if self._lost is not None or time.monotonic() - renewed < self._lease_seconds / _RENEWALS_A_LEASE:
                continue
            renewed = time.monotonic()
            words = self._words
            try:
                with self._sessions.begin() as session:
                    renew(session, self.held, self._lease_seconds)
                    if words != self._told:
                        note(session, self.held, progress=words and words[:200])
                self._told = words
            except NightLost as lost:
                self._lost = lost
                log.error("night_lost", night=self.held.night.isoformat())  # noqa: TRY400 - says it all
            except SQLAlchemyError as error:
                # as long as the ledger is away nobody else can claim the night either
                log.warning("night_not_renewed", **safe_error(error))
