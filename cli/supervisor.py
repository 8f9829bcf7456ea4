"""Child processes kept alive, and stopped in order; knows nothing of DICOM.

A child that dies is started again, at first at once, then with growing pauses.
A child whose very first start ends with exit code 2 is misconfigured: starting
it again cannot help, so everything stops and the code is passed on. Children
die with their supervisor, even with one that was killed by ``kill -9``: the
kernel tells them (`core.parent_death`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from core.errors import ExitCode, Misconfigured
from core.logging import get
from core.parent_death import die_with
from core.signals import SignalMailbox

_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 30.0
_STEADY_SECONDS: Final = 20.0
_TICK: Final = 0.25
# systemd, timeout(1) and a closing terminal send two signals at once and mean one
_IMPATIENCE_SECONDS: Final = 1.0
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_log = get(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run.

    Attributes
    ----------
    name : str
        How the child is called in `serve.json` and in the log.
    arguments : sequence of str
        The command line.
    stop_seconds : float
        How long it may take to stop after SIGTERM; then it is killed.
    stage : int
        Children of a lower stage have stopped before those of a higher one are asked to.
    """

    name: str
    arguments: Sequence[str]
    stop_seconds: float
    stage: int = 0


@dataclass(slots=True)
class Child:
    """One planned process and its present run."""

    plan: Plan
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    started: float = 0.0
    failures: int = 0
    start_at: float = 0.0


class Supervisor:
    """Start, watch, restart and stop children. One thread, the main one.

    Parameters
    ----------
    plans : sequence of Plan
    environment : mapping
        What children inherit.
    changed : callable
        Called after the set of running processes has changed.
    """

    def __init__(
        self, plans: Sequence[Plan], environment: Mapping[str, str], changed: Callable[[], None] = lambda: None
    ) -> None:
        self._children = [Child(plan) for plan in plans]
        self._environment = dict(environment)
        self._changed = changed

    def amend(self, **environment: str) -> None:
        """Set variables for children started from now on."""
        self._environment.update(environment)

    @property
    def processes(self) -> dict[str, int]:
        """Return the process ids of those that run, by name."""
        return {child.plan.name: child.process.pid for child in self._children if child.process is not None}

    def run(self, attend: Callable[[], None] = lambda: None) -> bool:
        """Keep the children running until SIGTERM, SIGINT or SIGHUP, then stop them in order.

        Parameters
        ----------
        attend : callable
            Called several times a second, for whoever waits for the children to become ready.

        Returns
        -------
        bool
            Whether every child stopped by itself, none by SIGKILL.

        Raises
        ------
        Misconfigured
            If a child's first start ended with exit code 2. It has said why.
        """
        with SignalMailbox((*STOP_SIGNALS, signal.SIGCHLD)) as signals:
            try:
                while True:
                    self._start_due()
                    attend()
                    received = signals.next(_TICK)
                    if received in STOP_SIGNALS:
                        _log.info("stopping", signal=received.name)
                        return self._stop(signals)
                    self._reap()
            except BaseException:
                self._stop(signals)
                raise

    def _start_due(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.process is None and child.start_at <= now:
                self._start(child)

    def _start(self, child: Child) -> None:
        supervisor = os.getpid()

        def prepare() -> None:
            # runs in the child between fork and exec; the supervisor has one thread, so this is safe
            if not die_with(supervisor):
                os._exit(1)

        child.process = subprocess.Popen(  # noqa: S603 - our own program
            list(child.plan.arguments),
            stdin=subprocess.DEVNULL,
            env=self._environment,
            # Ctrl-C in a terminal reaches the supervisor alone, which keeps the order
            start_new_session=True,
            preexec_fn=prepare,  # noqa: PLW1509 - see above
        )
        child.starts += 1
        child.started = time.monotonic()
        _log.info("child_started", child=child.plan.name, pid=child.process.pid, start=child.starts)
        self._changed()

    def _reap(self) -> None:
        for child in self._children:
            if child.process is None:
                continue
            code = child.process.poll()
            if code is None:
                continue
            child.process = None
            if code == ExitCode.MISCONFIGURED and child.starts == 1:
                message = f"{child.plan.name} could not start; its message stands above"
                raise Misconfigured(message)
            now = time.monotonic()
            child.failures = 0 if now - child.started > _STEADY_SECONDS else child.failures + 1
            pause = min(_FIRST_PAUSE * 2**child.failures, _LONGEST_PAUSE)
            child.start_at = now + pause
            _log.warning("child_died", child=child.plan.name, code=code, restart_in=round(pause, 1))
            self._changed()

    def _stop(self, signals: SignalMailbox) -> bool:
        orderly = True
        impatient_from = time.monotonic() + _IMPATIENCE_SECONDS
        for stage in sorted({child.plan.stage for child in self._children}):
            group = [child for child in self._children if child.plan.stage == stage and child.process is not None]
            for child in group:
                self._signal(child, signal.SIGTERM)
            asked = time.monotonic()
            for child in group:
                orderly &= self._await_end(signals, child, asked + child.plan.stop_seconds, impatient_from)
        return orderly

    def _await_end(self, signals: SignalMailbox, child: Child, deadline: float, impatient_from: float) -> bool:
        process = child.process
        if process is None:
            return True
        try:
            while process.poll() is None:
                # a second Ctrl-C or SIGTERM means: now
                again = signals.next(0.05)
                now = time.monotonic()
                urged = again in {signal.SIGTERM, signal.SIGINT} and now > impatient_from
                if urged or now > deadline:
                    _log.error("child_killed", child=child.plan.name, pid=process.pid)
                    self._signal(child, signal.SIGKILL)
                    process.wait()
                    return False
        finally:
            child.process = None
            self._changed()
        _log.info("child_stopped", child=child.plan.name, code=process.returncode)
        return True

    @staticmethod
    def _signal(child: Child, number: signal.Signals) -> None:
        if child.process is not None:
            child.process.send_signal(number)
