"""The model in service: found in the registry, verified, loaded in the background, swapped between batches.

A bundle that is missing, unsigned or damaged is refused; whatever served
before goes on serving, and the heartbeat says why. With no model at all a
worker claims nothing: its images stay PENDING and become overdue, which a
reader sees; a guess is never made (promise 12, faults 24 to 26).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from sqlalchemy.orm import Session, sessionmaker

from core import logging
from core.clock import Clock
from core.errors import LungwatchError
from core.logging import safe_error
from db.registry import champion
from worker.serving import Serving, Wanted

log = logging.get(__name__)

# a refused bundle is looked at again: somebody may have restored the file
_RETRY_SECONDS: Final = 30.0

OpenBundle = Callable[[Wanted], Serving]
InstallStarter = Callable[[Session], None]


class ChampionWatch:
    """Knows which model to serve. `look` and `serving` belong to one thread; loading has its own.

    Parameters
    ----------
    sessions : sessionmaker
        To read the registry.
    open_bundle : callable
        Verifies and loads a bundle, or raises.
    install_starter : callable
        Registers the shipped bundle and makes it champion where there is none.
    poll_seconds : float
        How often the registry is asked.
    clock : Clock
        For the intervals.
    """

    def __init__(
        self,
        sessions: sessionmaker[Session],
        open_bundle: OpenBundle,
        install_starter: InstallStarter,
        *,
        poll_seconds: float,
        clock: Clock,
    ) -> None:
        self._sessions = sessions
        self._open_bundle = open_bundle
        self._install_starter = install_starter
        self._poll_seconds = poll_seconds
        self._clock = clock
        self._next_look = float("-inf")
        self._loading: _Loading | None = None
        self._refused: tuple[Wanted, float] | None = None
        self.serving: Serving | None = None
        self.problem: str | None = None

    @property
    def loading(self) -> bool:
        """Whether a model is being loaded now."""
        return self._loading is not None

    def look(self) -> None:
        """Adopt a model that finished loading, and ask the registry when it is time to; call between batches."""
        self._adopt()
        now = self._clock.monotonic()
        if self._loading is not None or now < self._next_look:
            return
        self._next_look = now + self._poll_seconds
        wanted = self._ask()
        if wanted is None or (self.serving is not None and self.serving.wanted == wanted):
            if wanted is not None:
                self.problem = None
            return
        if self._refused is not None and self._refused[0] == wanted and now < self._refused[1]:
            return
        self._loading = _Loading(wanted, self._open_bundle)

    def _ask(self) -> Wanted | None:
        with self._sessions.begin() as session:
            reign = champion(session)
            if reign is None:
                try:
                    # a savepoint: what a refusal left half done is undone, the connection stays
                    with session.begin_nested():
                        self._install_starter(session)
                except (LungwatchError, OSError) as error:
                    self._complain("the starter bundle is refused", error)
                    return None
                reign = champion(session)
            if reign is None:
                return None
            return Wanted(reign.model.id, reign.model.location, reign.model.bundle_digest, reign.model.version)

    def _adopt(self) -> None:
        loading = self._loading
        if loading is None or loading.is_alive():
            return
        self._loading = None
        if loading.error is not None:
            self._refused = (loading.wanted, self._clock.monotonic() + _RETRY_SECONDS)
            self._complain(f"model {loading.wanted.version} is refused", loading.error)
        elif loading.opened is not None:
            self.serving, self.problem, self._refused = loading.opened, None, None
            log.info(
                "model_in_service", model_version_id=loading.wanted.model_version_id, version=loading.wanted.version
            )

    def _complain(self, what: str, error: Exception) -> None:
        described = safe_error(error)
        keeps = "" if self.serving is None else f"; {self.serving.wanted.version} keeps serving"
        self.problem = f"{what}: {described.get('message', described['error'])}"[: 199 - len(keeps)] + keeps
        log.error("model_refused", what=what, serving=self.serving is not None, **described)


class _Loading(threading.Thread):
    """One bundle being verified and loaded; read its fields after it ended."""

    def __init__(self, wanted: Wanted, open_bundle: OpenBundle) -> None:
        super().__init__(name="load-model", daemon=True)
        self.wanted = wanted
        self.opened: Serving | None = None
        self.error: Exception | None = None
        self._open_bundle = open_bundle
        self.start()

    def run(self) -> None:
        try:
            self.opened = self._open_bundle(self.wanted)
        except Exception as error:  # noqa: BLE001 - the edge of a thread: whatever a bundle provokes is a refusal
            self.error = error
