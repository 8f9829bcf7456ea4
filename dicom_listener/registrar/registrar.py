"""The registrar process: what lies in ``new/`` becomes receipts in the ledger, and the workers' bell is rung.

It knows nothing of associations and the listener knows nothing of it: they
share a directory. One runs for each spool. Killing it, stopping the database
or losing the broker delays receipts and loses none, because every pass starts
from the directory and registering twice changes nothing. Requests for storage
commitment are registered likewise (`dicom_listener.registrar.requests`).
"""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from core.clock import Clock, SystemClock
from core.errors import Misconfigured
from core.failpoints import reach
from core.files import make_directories
from core.logging import get, safe_error
from core.rarely import Rarely
from core.settings import Settings
from core.signals import stop_event
from core.spool import Entry, Spool
from db import receipts
from db.base import make_engine, make_sessions
from db.heartbeats import Heart
from db.migrate import check
from db.single_host import refuse_second_host
from db.vocabulary import ProcessKind, Urgency
from dicom_listener.registrar.arrivals import Arrivals, leftover_age, received_at, sweep_leftovers
from dicom_listener.registrar.bell import Bell
from dicom_listener.registrar.requests import Requests
from dicom_listener.storage.file_meta import read_origin

LOCK: Final = "registrar.lock"
# settling waits for the horizon, so it is told at least this often
_BEAT_SECONDS: Final = 1.0
_WAIT_SECONDS: Final = 1.0
_SWEEP_SECONDS: Final = 600.0
_RARELY_SECONDS: Final = 60.0

_log = get(__name__)


class Registrar:
    """Registers one spool; `register_new` is one pass.

    Parameters
    ----------
    settings : Settings
    sessions : sessionmaker
        Of the ledger.
    ring : callable
        Called after new receipts are committed; must not block.
    clock : Clock
    """

    def __init__(
        self, settings: Settings, sessions: sessionmaker[Session], ring: Callable[[], None], clock: Clock
    ) -> None:
        self._settings = settings
        self._sessions = sessions
        self._ring = ring
        self._clock = clock
        self._spool = Spool(settings.data_dir, settings.listener_name)
        self._arrivals = Arrivals(self._spool, clock)
        self._requests = Requests(self._spool, sessions, ring, clock)
        self._heart = Heart(ProcessKind.REGISTRAR, clock, self._spool.listener)
        self._beaten = float("-inf")
        self._horizon: datetime | None = None
        self._remembers = False
        # entries of the last pass that could not be described
        self._left = 0
        self._rarely = Rarely(_RARELY_SECONDS, clock.monotonic)

    def register_new(self) -> int:
        """Register everything that lies in ``new/``, then the requests for storage commitment.

        Reads the directories and each new file's name, size, time and file meta;
        writes receipts in batches and a heartbeat. Repeating it is safe:
        receipts that exist stay as they are.

        Returns
        -------
        int
            How many receipts are new.

        Raises
        ------
        SQLAlchemyError
            If the database fails; the next pass starts from the directory again.
        OSError
            If the spool cannot be read.
        """
        registered = self._register_instances()
        self._requests.register_new()
        return registered

    def _register_instances(self) -> int:
        listing = self._arrivals.look()
        if listing is None:
            self._beat(at_once=False)
            return 0
        arrived = self._unknown(listing.arrived)
        inserted = self._left = 0
        for start in range(0, len(arrived), self._settings.registrar_batch):
            inserted += self._register(arrived[start : start + self._settings.registrar_batch])
        # after a crash of ours these may be registered before but not yet rung for
        if listing.arrived:
            self._ring()
        if not self._left:
            self._horizon = listing.horizon
        self._remembers = True
        if inserted:
            _log.info("receipts_registered", receipts=inserted)
        self._beat(at_once=bool(listing.arrived))
        return inserted

    def _unknown(self, arrived: list[Entry]) -> list[Entry]:
        """Leave out, after a restart, what has a receipt already, rather than open each file again."""
        if self._remembers or not arrived:
            return arrived
        with self._sessions() as session:
            known = receipts.known(session, self._spool.listener, arrived)
        self._arrivals.registered(known)
        return [entry for entry in arrived if entry not in known]

    def _register(self, batch: Sequence[Entry]) -> int:
        described = [new for entry in batch if (new := self._describe(entry)) is not None]
        with self._sessions.begin() as session:
            inserted = receipts.register(session, described, self._settings.overdue_seconds)
            reach("registrar.inserted")
        reach("registrar.committed")
        self._arrivals.registered(new.entry for new in described)
        return inserted

    def _describe(self, entry: Entry) -> receipts.NewReceipt | None:
        try:
            return self._read(entry)
        except FileNotFoundError:
            # a worker has it already, so it has a receipt, or somebody took it away, which reconcile will say
            return None
        except Exception as error:  # noqa: BLE001 - one entry must not stop the others
            # the horizon stays behind it: no study settles without it
            self._left += 1
            self._rarely.warning(_log, "entry_not_described", listener=self._spool.listener, **safe_error(error))
            return None

    def _read(self, entry: Entry) -> receipts.NewReceipt:
        path = self._spool.path(entry)
        facts = path.stat()
        origin = read_origin(path)
        return receipts.NewReceipt(
            entry=entry,
            listener=self._spool.listener,
            size=facts.st_size,
            received_at=received_at(facts, self._clock),
            peer=origin.sending_ae_title,
            urgency=Urgency.URGENT if origin.sending_ae_title in self._settings.urgent_ae_titles else Urgency.ROUTINE,
            sop_class_uid=origin.sop_class_uid,
            sop_instance_uid=origin.sop_instance_uid,
        )

    def _beat(self, *, at_once: bool) -> None:
        now = self._clock.monotonic()
        if not at_once and now - self._beaten < min(_BEAT_SECONDS, self._settings.heartbeat_seconds):
            return
        with self._sessions.begin() as session:
            self._heart.beat(session, horizon=self._horizon, problem=self._problem())
        self._beaten = now

    def _problem(self) -> str | None:
        if not self._left:
            return None
        return f"cannot read {self._left} of the files in spool/{self._spool.listener}/new; see its log"

    def sweep(self) -> None:
        """Delete temporary files that a crash has left."""
        sweep_leftovers(self._spool, self._clock.now(), leftover_age(self._settings.message_timeout))

    def sign_off(self) -> None:
        """Write that the registrar stopped in good order, unless something is left: settling must wait for that."""
        if self._left:
            return
        with self._sessions.begin() as session:
            self._heart.stop(session)


@contextmanager
def only_one(spool: Spool, waiting: Callable[[], bool]) -> Iterator[bool]:
    """Hold a spool for one registrar; the kernel lets go when the process ends, however it ends.

    Yields
    ------
    bool
        Whether it is held; false where `waiting` said to give up.
    """
    make_directories(spool.root)
    with (spool.root / LOCK).open("a") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not waiting():
                    yield False
                    return
            else:
                yield True
                return


def run(settings: Settings, stop: threading.Event, clock: Clock | None = None) -> None:
    """Register until told to stop, whatever the database does meanwhile.

    Raises
    ------
    Misconfigured
        If the database's URL is wrong or the spool's directory cannot be made.
    """
    clock = clock or SystemClock()
    rarely = Rarely(_RARELY_SECONDS, clock.monotonic)
    engine = make_engine(settings)
    spool = Spool(settings.data_dir, settings.listener_name)

    def wait_for_other() -> bool:
        rarely.warning(_log, "registrar_waits_for_another", listener=spool.listener)
        return not stop.wait(_WAIT_SECONDS)

    try:
        with only_one(spool, wait_for_other) as held:
            if held:
                for directory in (spool.new, spool.temporary, spool.commitments):
                    make_directories(directory)
                bell = Bell(settings)
                registrar = Registrar(settings, make_sessions(engine), bell.ring, clock)
                _log.info("registrar_started", listener=spool.listener)
                _run(registrar, spool, lambda: _check(engine), settings.registrar_interval, stop, clock, rarely)
                bell.leave()
    except OSError as error:
        message = f"the spool {spool.root} cannot be used ({error.strerror}): give it to the user the registrar runs as"
        raise Misconfigured(message) from None
    finally:
        engine.dispose()


def _check(engine: Engine) -> None:
    check(engine)
    refuse_second_host(engine)


def _run(  # noqa: PLR0917 - what `run` has put together
    registrar: Registrar,
    spool: Spool,
    check_schema: Callable[[], None],
    interval: float,
    stop: threading.Event,
    clock: Clock,
    rarely: Rarely,
) -> None:
    checked = False
    swept = float("-inf")
    while True:
        # a last pass after the signal: what the listener finished while draining is registered before we go
        last = stop.is_set()
        pause = interval
        try:
            if not checked:
                check_schema()
                checked = True
                _log.info("ledger_ready", listener=spool.listener)
            registrar.register_new()
            if clock.monotonic() - swept > _SWEEP_SECONDS:
                registrar.sweep()
                swept = clock.monotonic()
            if last:
                registrar.sign_off()
        except Exception as error:  # noqa: BLE001 - the edge: nothing is lost by waiting, the files stay where they are
            rarely.warning(_log, "registration_waits", **safe_error(error))
            checked, pause = False, _WAIT_SECONDS
        if last:
            _log.info("registrar_stopped", listener=spool.listener)
            return
        stop.wait(pause)


def main(settings: Settings) -> int:
    """Run as a process: until SIGTERM or SIGINT.

    Returns
    -------
    int
        Exit code, 0.
    """
    run(settings, stop_event())
    return 0
