"""Scoring again what waits for it, a few images at a time and only when no receipt does.

It starts from masters, so it needs no spool, no helper process and no parser
of received bytes. A batch is small: whatever is received meanwhile waits for
no more than that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from core import failpoints, logging
from core.clock import Clock
from core.errors import TransientFailure
from core.logging import safe_error
from core.settings import Settings
from db.base import UNAVAILABLE
from db.claims import LeaseLost
from db.rescoring import Again, claim, finish, release, skip_superseded
from db.vocabulary import Unscored
from imaging.master import MissingMaster, load_master, quality
from imaging.reading import Quality
from imaging.spec import input_digest
from worker.classify import Score, judge, score
from worker.rescoring.record import record_again
from worker.serving import Serving

log = logging.get(__name__)

_AT_ONCE: Final = 4
# how soon after a promotion it begins; until then a look would only cost the database
_LOOK_SECONDS: Final = 5.0
_REST_SECONDS: Final = 30.0
_BACK_OFF_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class _Ready:
    """Model input of an image in hand."""

    again: Again
    model_input: NDArray[np.float32]
    quality: Quality


class Rescorer:
    """Takes images that wait for the champion from claimed to recorded; for the engine's thread.

    Parameters
    ----------
    settings : Settings
        Where masters lie, how long a lease is and how many starts an image has.
    sessions : sessionmaker
        The ledger.
    clock : Clock
        For the intervals.

    Attributes
    ----------
    problem : str or None
        Why this host cannot do its part now, for a person.
    """

    def __init__(self, settings: Settings, sessions: sessionmaker[Session], clock: Clock) -> None:
        self.problem: str | None = None
        self._settings = settings
        self._sessions = sessions
        self._clock = clock
        self._masters = settings.masters.resolve()
        self._next_look = float("-inf")
        self._held: dict[int, Again] = {}

    def run_batch(self, serving: Serving, tick: Callable[[], None]) -> int:
        """Claim a batch and dispose of it; call when no receipt waits.

        `tick` is called between images.

        Returns
        -------
        int
            Images claimed or skipped; 0 means that nothing waits that this host could do now.
        """
        if self._clock.monotonic() < self._next_look:
            return 0
        model = serving.wanted.model_version_id
        with self._sessions.begin() as session:
            claimed = claim(session, model, _AT_ONCE, self._settings.lease_seconds)
            skipped = 0 if claimed else skip_superseded(session)
        if not claimed:
            self.problem = None
            if not skipped:
                self._next_look = self._clock.monotonic() + _LOOK_SECONDS
            return skipped
        failpoints.reach("rescoring_claimed")
        self._held = {one.rescoring_id: one for one in claimed}
        try:
            self._dispose(claimed, serving, tick)
        finally:
            self._give_back()
        return len(claimed)

    def _dispose(self, claimed: list[Again], serving: Serving, tick: Callable[[], None]) -> None:
        self.problem = None
        if not self._masters.is_dir():
            # all of them would seem to be gone
            self._host_failed(f"there is no masters directory at {self._masters} on this host; mount it")
            return
        ready: list[_Ready] = []
        for again in claimed:
            with self._its_own_failure(again):
                one = self._prepare(again, serving)
                if one is not None:
                    ready.append(one)
        found = score(serving.runtime, [one.model_input for one in ready], serving.familiarity, serving.head)
        for one, said in zip(ready, found, strict=True):
            with self._its_own_failure(one.again):
                self._record(one, said, serving)
            tick()

    def _prepare(self, again: Again, serving: Serving) -> _Ready | None:
        """Make an image's model input; None for one that is skipped, or that this host cannot read now."""
        if again.attempts >= self._settings.maximum_attempts:
            self._skip(again, Unscored.GAVE_UP)
            return None
        if again.master_digest is None:
            self._skip(again, Unscored.NOT_IN_FORCE)
            return None
        try:
            master = load_master(self._masters, again.master_digest)
        except MissingMaster:
            self._skip(again, Unscored.PIXELS_GONE)
            return None
        except TransientFailure as error:
            self._host_failed(str(error))
            return None
        side = min(master.shape) if again.shorter_side is None else again.shorter_side
        return _Ready(again, serving.spec.apply(master), quality(master, side))

    def _record(self, one: _Ready, said: Score, serving: Serving) -> None:
        if said.failed is not None and said.again:
            self._put_off(one.again)
            return
        judgement = judge(said, serving, one.quality, input_digest(one.model_input))
        with self._sessions.begin() as session:
            skipped = record_again(session, one.again, judgement)
            failpoints.reach("rescoring")
        failpoints.reach("rescored")
        self._done(one.again, skipped)

    @contextmanager
    def _its_own_failure(self, again: Again) -> Iterator[None]:
        """Let whatever goes wrong with an image cost that image alone."""
        try:
            yield
        except UNAVAILABLE:
            raise
        except LeaseLost:
            self._held.pop(again.rescoring_id, None)
            log.warning("rescoring_lease_lost", rescoring_id=again.rescoring_id)
        except TransientFailure:
            self._put_off(again, refund=True)
        except Exception as error:  # noqa: BLE001 - the edge of one image; its neighbours go on
            log.error("rescoring_failed", rescoring_id=again.rescoring_id, **safe_error(error))  # noqa: TRY400
            self._put_off(again)

    def _skip(self, again: Again, reason: Unscored) -> None:
        with self._sessions.begin() as session:
            finish(session, again, reason)
        self._done(again, reason)

    def _done(self, again: Again, skipped: Unscored | None) -> None:
        self._held.pop(again.rescoring_id, None)
        log.info("rescored", rescoring_id=again.rescoring_id, skipped=skipped)

    def _put_off(self, again: Again, *, refund: bool = False) -> None:
        with self._sessions.begin() as session:
            release(session, [again], refund=refund, delay_seconds=_BACK_OFF_SECONDS)
        self._held.pop(again.rescoring_id, None)

    def _host_failed(self, problem: str) -> None:
        """Leave the work alone for a while; what is held is given back, uncharged."""
        log.error("rescoring_host_failed", problem=problem)
        self.problem = problem
        self._next_look = self._clock.monotonic() + _REST_SECONDS

    def _give_back(self) -> None:
        held, self._held = list(self._held.values()), {}
        if not held:
            return
        try:
            with self._sessions.begin() as session:
                release(session, held, refund=True)
        except SQLAlchemyError as error:
            # their leases run out by themselves
            log.warning("rescoring_not_given_back", images=len(held), **safe_error(error))
