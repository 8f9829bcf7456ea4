"""The parent of the association processes: binds, forks, starts again what dies, and drains all of them together.

Processes that share a listening socket use more than one core, and one that
dies costs the associations it served. They are forked, not started anew, so
that they share the memory of what they have in common; hence this one has a
single thread and does nothing else.
"""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from core.clock import SystemClock
from core.errors import ExitCode, LungwatchError, Misconfigured
from core.logging import get, safe_error
from core.parent_death import die_with
from core.peers import PeersFile
from core.settings import Settings
from core.signals import ONE_WISH_SECONDS, STOP, SignalMailbox, StopSignals
from core.spool import Spool
from dicom_listener import process
from dicom_listener.association.door import Entrance
from dicom_listener.association.places import Limits, Places
from dicom_listener.binding import bind, bind_metrics, bind_tls
from dicom_listener.metrics.counting import Metrics
from dicom_listener.metrics.endpoint import serve_metrics
from dicom_listener.storage.instance_file import require_writable
from dicom_listener.upper_layer.private_names import require_private_names
from dicom_listener.upper_layer.tls import Tls

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 10.0
_MOST_DOUBLINGS: Final = 10
_STEADY_SECONDS: Final = 20.0
_TICK: Final = 0.25
# beyond what a process grants its associations
_GRACE_SECONDS: Final = 3.0

_log = get(__name__)


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the listener really listens; None for what it does not do."""

    plain: int | None
    tls: int | None
    metrics: int | None


@dataclass(slots=True)
class _Child:
    name: str
    run: Callable[[], None]
    died: Callable[[int], None]
    pid: int = 0
    started: float = 0.0
    failures: int = 0
    start_at: float = 0.0

    def put_off(self, *, steady: bool) -> float:
        """Return after how many seconds it is started again: at once, or longer after each failure in a row."""
        self.failures = 0 if steady else self.failures + 1
        # 2 to the power of the failures of some hours is more than a float holds
        doublings = min(self.failures, _MOST_DOUBLINGS)
        pause = min(_FIRST_PAUSE * 2**doublings, _LONGEST_PAUSE) if self.failures > 1 else 0.0
        self.pid, self.start_at = 0, time.monotonic() + pause
        return pause


class Server:
    """The listener's processes.

    Parameters
    ----------
    settings : Settings

    Raises
    ------
    Misconfigured
        If the spool cannot be written, a port cannot be had, a file that
        the settings name is wrong, or pynetdicom is of another version than ours.
    """

    def __init__(self, settings: Settings) -> None:
        require_private_names()
        self._settings = settings
        spool = Spool(settings.data_dir, settings.listener_name)
        for directory in (spool.new, spool.commitments):
            require_writable(spool, directory)
        self._tls = tls = Tls.from_settings(settings)
        plain = bind(settings)
        secure = bind_tls(settings)
        exposed = bind_metrics(settings)
        self.ports = Ports(*(None if one is None else one.getsockname()[1] for one in (plain, secure, exposed)))
        metrics = Metrics(settings, SystemClock().now())
        places = Places(
            Limits(
                settings.maximum_associations,
                min(settings.reserved_associations, settings.maximum_associations // 2),
                settings.maximum_associations_per_peer,
            )
        )
        entrances = [Entrance(plain, None)] if plain is not None else []
        if secure is not None:
            entrances.append(Entrance(secure, tls))
        for entrance in entrances:
            # another process may have taken the connection that poll told us of
            entrance.listening.setblocking(False)  # noqa: FBT003 - the socket's own word
        self._peers = peers = PeersFile.from_settings(settings)
        _warn_of_certificates_nobody_asks_for(settings, peers)
        shared = process.Shared(settings, entrances, peers, places, metrics)
        self._sockets = [one for one in (plain, secure, exposed) if one is not None]

        def associate(number: int) -> None:
            metrics.enter(number)
            if exposed is not None:
                exposed.close()
            process.serve(shared)

        def died(number: int, pid: int) -> None:
            metrics.gone(number)
            places.clear(pid)

        self._children = [
            _Child(f"associations-{number}", partial(associate, number), partial(died, number))
            for number in range(settings.listener_processes)
        ]
        if exposed is not None:

            def expose() -> None:
                for entrance in entrances:
                    entrance.listening.close()
                serve_metrics(exposed, metrics, StopSignals().wait)

            self._children.append(_Child("metrics", expose, lambda _: None))

    def run(self, ready: Callable[[Ports], None]) -> int:
        """Serve until SIGTERM or SIGINT, then drain.

        Parameters
        ----------
        ready : callable
            Called once associations are accepted.

        Returns
        -------
        int
            Exit code, 0.
        """
        # what exists now is never collected, so that collecting in a child does not copy its pages
        gc.collect()
        gc.freeze()
        with SignalMailbox((*STOP, signal.SIGCHLD)) as signals:
            self._start_due(signals)
            _log.info("listener_started", port=self.ports.plain, tls_port=self.ports.tls)
            ready(self.ports)
            while signals.next(_TICK) not in STOP:
                self._look_at_files()
                self._reap()
                self._start_due(signals)
            _log.info("listener_draining")
            self._drain(signals)
        return 0

    def _look_at_files(self) -> None:
        # a process started in place of a dead one begins with what these last said: were it what they said when the
        # listener started, a file that has gone wrong since would let in again whom it had shut out
        self._peers.current()
        if self._tls is not None:
            self._tls.refresh()

    def _start_due(self, signals: SignalMailbox) -> None:
        for child in self._children:
            if not child.pid and child.start_at <= time.monotonic():
                self._start(child, signals)

    def _start(self, child: _Child, signals: SignalMailbox) -> None:
        parent = os.getpid()
        # until the child has put the parent's mailbox away, a wish for it to stop would be delivered to the parent
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP)
        try:
            pid = os.fork()
        except OSError as error:
            # no memory or no process to be had just now: those that live go on serving
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP)
            pause = child.put_off(steady=False)
            _log.error("process_not_started", process=child.name, why=error.strerror, again_in=round(pause, 1))
            return
        if pid:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP)
        else:
            code = int(ExitCode.UNEXPECTED)
            try:
                signals.close()
                signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP)
                if die_with(parent):
                    code = _run(child)
            finally:
                # not by way of the parent's clean-up, which is the parent's
                os._exit(code)
        child.pid, child.started = pid, time.monotonic()
        _log.info("process_started", process=child.name, pid=pid)

    def _reap(self) -> None:
        for child in self._children:
            if child.pid and (ended := os.waitpid(child.pid, os.WNOHANG)) != (0, 0):
                child.died(child.pid)
                pause = child.put_off(steady=time.monotonic() - child.started > _STEADY_SECONDS)
                code = os.waitstatus_to_exitcode(ended[1])
                _log.error("process_died", process=child.name, code=code, restart_in=round(pause, 1))

    def _drain(self, signals: SignalMailbox) -> None:
        for listening in self._sockets:
            listening.close()
        self._signal_all(signal.SIGTERM)
        began = time.monotonic()
        deadline = began + self._settings.drain_timeout + _GRACE_SECONDS
        while self._remaining() and time.monotonic() < deadline:
            # whoever asks again is in a hurry; what is cut was not acknowledged
            if signals.next(0.05) in STOP and time.monotonic() - began > ONE_WISH_SECONDS:
                break
        if self._remaining():
            _log.error("process_killed", processes=len(self._remaining()))
            self._signal_all(signal.SIGKILL)
        _log.info("listener_drained")

    def _remaining(self) -> list[_Child]:
        for child in self._children:
            if child.pid and os.waitpid(child.pid, os.WNOHANG) != (0, 0):
                child.pid = 0
        return [child for child in self._children if child.pid]

    def _signal_all(self, number: signal.Signals) -> None:
        for child in self._remaining():
            os.kill(child.pid, number)


def _warn_of_certificates_nobody_asks_for(settings: Settings, peers: PeersFile) -> None:
    bound = sum(peer.certificate is not None for peer in peers.current().peers)
    if bound and (settings.tls_port is None or settings.tls_client_ca_file is None):
        why = "peers are bound to certificates, which no client is asked for: set LUNGWATCH_TLS_CLIENT_CA_FILE"
        _log.warning("certificates_not_asked_for", peers=bound, why=why)


def _run(child: _Child) -> int:
    try:
        child.run()
    except Misconfigured as error:
        _log.error("process_misconfigured", process=child.name, why=str(error))
        return ExitCode.MISCONFIGURED
    except LungwatchError as error:
        _log.error("process_failed", process=child.name, why=str(error))
        return ExitCode.OUTSIDE
    except Exception as error:  # noqa: BLE001 - the edge of a process
        _log.error("process_failed", process=child.name, **safe_error(error))
        return ExitCode.UNEXPECTED
    return ExitCode.FINE


def serve(settings: Settings, ready: Callable[[Ports], None]) -> int:
    """Listen until SIGTERM or SIGINT, then drain.

    Returns
    -------
    int
        Exit code, 0.

    Raises
    ------
    Misconfigured
        If it cannot start.
    """
    return Server(settings).run(ready)
