"""The journey of a request for storage commitment, on a thread of its own; read this first.

====================  ===========================  ==============================================
step                  where                        durable afterwards
====================  ===========================  ==============================================
claim                 `db.commitments.claim`       a lease with a token
read the request      `spooled`                    nothing
vouch: look up each   `vouching`, pure             nothing; where something is undecided, when to
reference                                          look again
charge the attempt    `db.commitments`             ``commitment.attempts``, before connecting
report                `sending`                    the peer knows
end                   `db.commitments`             state, how many were committed and failed
remove the file       here, repeated by the sweep  nothing is left in ``commitment/``
====================  ===========================  ==============================================

A worker may die after any of them: until *end* the request is PENDING and its
lease runs out, so another worker takes it up and the peer may be told twice.
Where one dies at the last attempt, perhaps before it connected, there is one
more; who dies at that one too is given up, lest a request end every worker.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy.orm import Session, sessionmaker

from core import failpoints, logging
from core.clock import Clock, SystemClock
from core.commitment_request import Reference
from core.errors import Misconfigured, RejectedInput, TransientFailure
from core.logging import safe_error
from core.peers import PeersFile
from core.rarely import Rarely
from core.settings import Settings
from core.spool import SUFFIX, BadEntryName, Entry, Spool, listeners, place
from db import commitments
from db.base import UNAVAILABLE
from db.claims import LeaseLost
from db.commitments import Copy, Held
from db.vocabulary import CommitmentState, Unreported
from worker.backoff import backoff
from worker.commitment import spooled
from worker.commitment.destination import Destination, NotReported
from worker.commitment.spooled import Spooled
from worker.commitment.vouching import FailureReason, Report, Standing, stand

log = logging.get(__name__)

# what comes this much after a request may still be what it asks for
_LITTLE: Final = timedelta(seconds=2)
_FIRST_PAUSE_SECONDS: Final = 10.0
# a peer that could not be reached for one request is not tried for another
_REST_SECONDS: Final = 10.0
_SWEEP_SECONDS: Final = 30.0
_RARELY_SECONDS: Final = 60.0
# how long a request waits for what is undecided: a tenth of what it has waited already
_PATIENCE: Final = 0.1
_LOOK_AGAIN_SECONDS: Final = (0.5, 60.0)


class Reporter:
    """Looks for requests that are due and takes each a step further; never raises out of `run`.

    Parameters
    ----------
    settings : Settings
    sessions, readers : sessionmaker
        Of the ledger, `db.base.make_sessions` and `make_readers`: looking up thousands of
        references must keep nobody from writing.
    stopping : threading.Event
        Set to stop; a report under way is finished.
    clock : Clock, optional
        For the intervals.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        sessions: sessionmaker[Session],
        readers: sessionmaker[Session],
        stopping: threading.Event,
        clock: Clock | None = None,
    ) -> None:
        self._settings = settings
        self._data = settings.data_dir.resolve()
        self._sessions = sessions
        self._readers = readers
        self._stopping = stopping
        self._clock = clock or SystemClock()
        self._rarely = Rarely(_RARELY_SECONDS, self._clock.monotonic)
        self._peers: PeersFile | None = None
        self._away_until: dict[Destination, float] = {}
        self._swept = float("-inf")

    def run(self) -> None:
        """Work until told to stop; a failure costs a pause, never the thread."""
        pauses = backoff(1.0, 30.0)
        while not self._stopping.is_set():
            try:
                worked = self.step()
            except Exception as error:  # noqa: BLE001 - the edge: requests wait in the ledger
                self._rarely.warning(log, "commitments_wait", **safe_error(error))
                self._stopping.wait(next(pauses))
            else:
                pauses = backoff(1.0, 30.0)
                if not worked:
                    self._stopping.wait(self._settings.idle_poll_seconds)

    def step(self) -> bool:
        """Take the request that has been due for longest a step further; False if none is due.

        Raises
        ------
        SQLAlchemyError
            If the ledger is away; the lease runs out by itself.
        OSError
            If the spool cannot be read.
        """
        here = list(listeners(self._data))
        if self._clock.monotonic() - self._swept > _SWEEP_SECONDS:
            self._sweep(here)
            self._swept = self._clock.monotonic()
        if not here:
            return False
        with self._sessions.begin() as session:
            held = commitments.claim(session, self._settings.lease_seconds, [spool.listener for spool in here])
        if held is None:
            return False
        failpoints.reach("commitment.claimed")
        try:
            self._take_further(held)
        except LeaseLost:
            log.warning("commitment_lease_lost", commitment_id=held.commitment_id)
        return True

    def _take_further(self, held: Held) -> None:
        try:
            request = spooled.read(self._path(held), held.entry)
            report = self._vouch(request, held)
        except FileNotFoundError:
            self._give_up(held, Unreported.MISSING_FILE, "the spooled request is gone; have the peer ask again")
            return
        except RejectedInput as error:
            self._give_up(held, Unreported.UNREADABLE, error.detail)
            return
        except (OSError, TransientFailure) as error:
            # this host's trouble says nothing of the request
            self._rarely.warning(log, "commitments_wait", **safe_error(error))
            self._write(partial(commitments.postpone, held=held, seconds=_FIRST_PAUSE_SECONDS))
            return
        if report is None:
            again = min(max(_PATIENCE * held.waited_seconds, _LOOK_AGAIN_SECONDS[0]), _LOOK_AGAIN_SECONDS[1])
            self._write(partial(commitments.postpone, held=held, seconds=again))
            return
        rest = self._rest(request, held)
        if rest > 0:
            self._write(partial(commitments.postpone, held=held, seconds=rest))
            return
        # one that failed at the last gave up by itself: that many, and still pending, says that the last was cut short
        if held.attempts > self._settings.commitment_attempts:
            why = "no attempt is left: workers ended at the last two, or LUNGWATCH_COMMITMENT_ATTEMPTS was lowered"
            self._give_up(held, Unreported.UNREACHABLE, why)
            return
        self._write(partial(commitments.start_attempt, held=held))
        failpoints.reach("commitment.attempt_charged")
        try:
            self._report(request, report, held)
        except NotReported as error:
            self._failed(held, error)

    def _vouch(self, request: Spooled, held: Held) -> Report | None:
        """Say how we stand to each reference; None while something is undecided."""
        with self._readers() as session:
            # first, so that what is known is among the copies
            all_known = commitments.all_known(session, held.received_at + _LITTLE)
            found = commitments.copies(session, (reference.sop_instance_uid for reference in request.references))
        in_time = held.waited_seconds < self._settings.commitment_seconds
        committed: list[Reference] = []
        failed: list[tuple[Reference, FailureReason]] = []
        for reference in request.references:
            copies = found.get(reference.sop_instance_uid, ())
            standing = stand(reference, copies, self._is_there, all_known=all_known, in_time=in_time)
            match standing:
                case Standing.UNDECIDED:
                    return None
                case Standing.HELD:
                    committed.append(reference)
                case FailureReason():
                    failed.append((reference, standing))
        return Report(request.transaction_uid, tuple(committed), tuple(failed))

    def _is_there(self, copy: Copy) -> bool:
        if copy.removed:
            return False
        for _ in range(2):
            try:
                size = place(self._data, copy.listener, copy.entry, stored=copy.stored).stat().st_size
            except FileNotFoundError:
                # it may have moved to stored/ between two looks
                continue
            return size == copy.size
        if not copy.stored and not Spool(self._data, copy.listener).root.is_dir():
            message = f"spool/{copy.listener} is not on this host; mount it below LUNGWATCH_DATA_DIR"
            raise TransientFailure(message)
        return False

    def _report(self, request: Spooled, report: Report, held: Held) -> None:
        # the network library only where it is needed: most workers never report
        from worker.commitment.sending import send  # noqa: PLC0415

        destination = self._destination(request, held)
        try:
            send(report, destination, self._settings.ae_title)
        except NotReported as error:
            if error.reason is Unreported.UNREACHABLE:
                self._away_until[destination] = self._clock.monotonic() + _REST_SECONDS
            raise
        failpoints.reach("commitment.told")
        committed, failed = len(report.committed), len(report.failed)
        self._write(partial(commitments.reported, held=held, committed=committed, failed=failed))
        failpoints.reach("commitment.ended")
        log.info("commitment_reported", commitment_id=held.commitment_id, committed=committed, failed=failed)
        self._remove(held.listener, held.entry)

    def _destination(self, request: Spooled, held: Held) -> Destination:
        try:
            self._peers = self._peers or PeersFile.from_settings(self._settings)
        except Misconfigured as error:
            raise NotReported(Unreported.NO_ADDRESS, "the peers file is wrong; see lungwatch peers list") from error
        peer = None if request.source is None else self._peers.current().find(held.peer, request.source)
        if peer is None or peer.report_host is None or peer.report_port is None:
            raise NotReported(Unreported.NO_ADDRESS, "the peers file names no report_to for this peer any more")
        return Destination(peer.ae_title, peer.report_host, peer.report_port)

    def _rest(self, request: Spooled, held: Held) -> float:
        """Return for how many seconds its peer is left alone: one that is away must not keep others waiting."""
        with suppress(NotReported):
            away_until = self._away_until.get(self._destination(request, held))
            return 0.0 if away_until is None else away_until - self._clock.monotonic()
        return 0.0

    def _failed(self, held: Held, error: NotReported) -> None:
        attempts = held.attempts + 1
        log.warning(
            "commitment_not_reported",
            commitment_id=held.commitment_id,
            peer=held.peer,
            attempts=attempts,
            reason=error.reason,
            detail=error.detail,
        )
        if attempts >= self._settings.commitment_attempts:
            self._give_up(held, error.reason, error.detail)
            return
        pause = _FIRST_PAUSE_SECONDS * 2 ** min(held.attempts, 10)
        self._write(partial(commitments.postpone, held=held, seconds=pause, reason=error.reason, detail=error.detail))

    def _give_up(self, held: Held, reason: Unreported, detail: str) -> None:
        self._write(partial(commitments.give_up, held=held, reason=reason, detail=detail))
        failpoints.reach("commitment.ended")
        log.error("commitment_given_up", commitment_id=held.commitment_id, peer=held.peer, reason=reason, detail=detail)
        self._remove(held.listener, held.entry)

    def _write(self, work: Callable[[Session], None]) -> None:
        """Run one transaction, again while the database is away and the lease may still hold."""
        deadline = self._clock.monotonic() + self._settings.lease_seconds / 2
        for pause in backoff():
            try:
                with self._sessions.begin() as session:
                    work(session)
                    return
            except UNAVAILABLE as error:
                if self._stopping.is_set() or self._clock.monotonic() + pause > deadline:
                    raise
                log.warning("database_away", **safe_error(error))
                self._stopping.wait(pause)

    def _path(self, held: Held) -> Path:
        return Spool(self._data, held.listener).commitments / held.entry.file_name

    def _remove(self, listener: str, entry: Entry) -> None:
        try:
            (Spool(self._data, listener).commitments / entry.file_name).unlink(missing_ok=True)
        except OSError as error:
            # the sweep comes back to it
            self._rarely.warning(log, "request_not_removed", **safe_error(error))

    def _sweep(self, here: list[Spool]) -> None:
        """Remove the files of requests that came to their end, and whose worker died before removing them."""
        for spool in here:
            entries = _entries(spool)
            if not entries:
                continue
            with self._readers() as session:
                states = commitments.states(session, entries)
            for entry, state in states.items():
                if state is not CommitmentState.PENDING:
                    self._remove(spool.listener, entry)


def _entries(spool: Spool) -> list[Entry]:
    found = []
    try:
        names = [path.name for path in spool.commitments.iterdir() if path.name.endswith(SUFFIX)]
    except FileNotFoundError:
        # no listener that takes requests has run here yet
        return []
    for name in names:
        # what the listener did not name is nobody's; `reconcile` tells of it
        with suppress(BadEntryName):
            found.append(Entry.parse(name))
    return found
