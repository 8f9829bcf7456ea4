"""The journey of a receipt through a worker; read this first.

======================  ==============================  =============================================
step                    where                           durable afterwards
======================  ==============================  =============================================
claim                   `db.claims.claim`               a lease with a token
charge the attempt      `worker.read`                   ``receipt.attempts``, before a byte is parsed
read: header, scope,    a helper process                the master image
decode, master
resolve: first,         `worker.resolve`                nothing; asked again under the study's lock
duplicate, revision,
conflict
classify                `worker.classify`               nothing
decide                  `worker.decide` (pure)          nothing
record                  `worker.record`                 study, image, prediction, flags, receipt:
                                                        one transaction under the lease token
store the file          `worker.store`                  spool entry in ``stored/``, ``stored_at``
======================  ==============================  =============================================

A worker may die after any of them: before *record* the receipt is PENDING and
its lease runs out, after it the receipt is terminal and the sweep moves the file.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, TypeVar

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from core import failpoints, logging
from core.clock import Clock, SystemClock
from core.errors import TransientFailure
from core.logging import safe_error
from core.settings import Settings
from core.spool import listeners
from db.base import UNAVAILABLE
from db.claims import Claim, LeaseLost, claim, release, renew, waits_elsewhere
from db.receipts import Unstored
from db.vocabulary import ReceiptState
from imaging.master import MissingMaster
from imaging.reading import MasterReference, Reading
from imaging.reasons import Rejection
from worker import rows
from worker.backoff import backoff
from worker.batching import Batch
from worker.classify import judge, prepare, score
from worker.lanes import Lanes
from worker.metrics import told
from worker.metrics.figures import Failure, Figures
from worker.read import Reader
from worker.reads import Reads
from worker.record import known_already, record, resolved
from worker.resolve import Resolution
from worker.serving import Serving
from worker.stages import AttemptFailed, HostFailed, Judgement, KnownAlready, Prepared, Read
from worker.store import store
from worker.trouble import Trouble

log = logging.get(__name__)

T = TypeVar("T")
Finding = Read | KnownAlready | AttemptFailed | HostFailed
# what is left of a lease is never less than this share when work goes on
_RENEWALS: Final = 4
_TICK_SECONDS: Final = 1.0
# then what is in hand is finished, and the engine settles, beats and looks for another champion
_CLAIMING_SECONDS: Final = 1.0
# an image that failed waits, so that its neighbours go first
_BACK_OFF_SECONDS: Final = 2.0


class Journey:
    """Takes receipts from claimed to disposed of, a batch at a time, on one thread of its own.

    Files are read on lanes, one thread and one helper process each, while this
    thread classifies and records what is ready: neither waits for the other
    (`worker.reads`, `worker.batching`).
    """

    def __init__(
        self,
        settings: Settings,
        sessions: sessionmaker[Session],
        lanes: Lanes,
        clock: Clock | None = None,
        figures: Figures | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._figures = figures or Figures()
        self._renewed = self._clock.monotonic()
        self._settings = settings
        self._data = settings.data_dir.resolve()
        self._trouble = Trouble(self._clock)
        self._absent: str | None = None
        self._sessions = sessions
        self._reader = Reader(settings, sessions, lanes.helpers, self._figures)
        self._lanes = lanes
        self._held: dict[int, Claim] = {}
        # told of already, in this batch
        self._gone: set[Claim] = set()
        # whose end is being written
        self._writing: Claim | None = None
        self._stopping = threading.Event()

    @property
    def problem(self) -> str | None:
        """Why this host cannot do its part now, for a person."""
        return self._trouble.problem or self._absent

    def run_batch(self, serving: Serving, stopping: threading.Event, tick: Callable[[], None]) -> int:
        """Claim what waits and dispose of it, with one model throughout.

        When `stopping` is set, what is being read is finished and the rest is given back.
        `tick` is called between images, at least every few seconds.

        Returns
        -------
        int
            Receipts taken in hand; 0 means that nothing waits that this host could do now.
        """
        self._stopping, self._writing, self._gone = stopping, None, set()
        if self._trouble.resting:
            return 0
        batch = Batch(serving.collecting, self._clock)
        reads = Reads(
            self._lanes,
            partial(self._reader.read, rules=serving.reading_rules),
            self._claims(),
            batch=serving.collecting.ahead,
            maximum_attempts=self._settings.maximum_attempts,
        )
        try:
            while self._feed(reads, batch):
                batch.add(self._dispose(self._found(reads, batch.seconds_left), serving))
                # before the model runs
                self._feed(reads, batch)
                while images := batch.close(more_may_come=bool(reads) and not stopping.is_set()):
                    self._classify(images, serving)
                tick()
        except UNAVAILABLE:
            # the ledger is away, which says nothing of what is in hand
            self._give_back(refund=True)
            raise
        finally:
            reads.cancel()
            self._trouble.batch_ended()
            self._give_back()
        return reads.begun

    def _claims(self) -> Iterator[Claim]:
        """Claim a batch, and others when it is used up, as long as they come full and it is not time for other work."""
        ends = self._clock.monotonic() + _CLAIMING_SECONDS
        while claims := self._claim():
            yield from claims
            if len(claims) < self._settings.batch_size or self._trouble.failing or self._clock.monotonic() >= ends:
                return

    def _claim(self) -> list[Claim]:
        here = self._spools()
        claims: list[Claim] = []
        with self._sessions.begin() as session:
            if here:
                claims = claim(session, self._settings.batch_size, self._settings.lease_seconds, here)
            absent = None if claims else waits_elsewhere(session, here)
        if not claims:
            self._absent = None if absent is None else _missing_spool(absent)
            return []
        if not self._held:
            self._renewed = self._clock.monotonic()
        self._held |= {one.receipt_id: one for one in claims}
        failpoints.reach("claimed")
        return claims

    def _spools(self) -> list[str]:
        """Whose spools this host can see; what lies in others, or anything where none is, is not claimed."""
        try:
            return [spool.listener for spool in listeners(self._data)]
        except OSError as error:
            log.error("spool_unreadable", **safe_error(error))  # noqa: TRY400 - the text may quote a path
            return []

    def _feed(self, reads: Reads[Finding], batch: Batch) -> bool:
        """Keep the lanes busy; whether anything is in hand."""
        if self._stopping.is_set():
            # a lane that has not begun its file is not in hand
            reads.cancel()
        else:
            reads.submit(others=bool(batch))
        return bool(reads or batch)

    def _found(self, reads: Reads[Finding], at_most: float) -> list[Finding]:
        """Wait for what the lanes find, no longer than for the next tick, and keep the leases meanwhile."""
        done = reads.wait(min(_TICK_SECONDS, at_most))
        self._renew()
        findings = []
        for held, future in done:
            try:
                findings.append(future.result())
            except LeaseLost:
                self._lost(held)
        return findings

    def _dispose(self, findings: list[Finding], serving: Serving) -> list[Prepared]:
        """Take each finding to its end; return those that need the model."""
        in_scope: list[Prepared] = []
        for finding in findings:
            match finding:
                case KnownAlready():
                    self._finish(finding.claim, partial(known_already, known=finding))
                case AttemptFailed():
                    self._failed(finding)
                case HostFailed():
                    self._host_failed(finding)
                case Read():
                    with self._its_own_failure(finding):
                        in_scope += self._dispose_of_read(finding, serving)
        return in_scope

    def _dispose_of_read(self, read: Read, serving: Serving) -> list[Prepared]:
        """Record what needs no score; return what does."""
        master = read.reading.master
        if master is None or read.reading.out_of_scope is not None:
            self._record(read)
            return []
        prepared = self._prepare(read, master, serving)
        if prepared is None:
            return []
        if self._needs_a_score(prepared):
            return [prepared]
        self._record(read, prepared.input_digest)
        return []

    @contextmanager
    def _its_own_failure(self, read: Read) -> Iterator[None]:
        """Let whatever an image provokes here, in the ledger or in our own code, cost that image alone."""
        try:
            yield
        except UNAVAILABLE:
            raise
        except TransientFailure as error:
            # its text names no instance: it is ours
            log.info("put_off", receipt_id=read.claim.receipt_id, why=str(error))
            self._put_off(read.claim)
        except Exception as error:  # noqa: BLE001 - the edge of one image; its neighbours go on
            log.error("image_failed", receipt_id=read.claim.receipt_id, **safe_error(error))  # noqa: TRY400
            self._refused(read, error)

    def _prepare(self, read: Read, master: MasterReference, serving: Serving) -> Prepared | None:
        began = time.perf_counter()
        try:
            prepared = prepare(read, master, self._settings.masters.resolve(), serving.spec)
        except MissingMaster as error:
            # gone or damaged since it was written: reading the instance again makes it anew
            self._failed(_spent(read, Rejection.CRASHED, str(error)))
        except TransientFailure as error:
            self._host_failed(HostFailed(read.claim, str(error)))
        else:
            read.reading.seconds[told.PREPARE] = seconds = time.perf_counter() - began
            self._figures.prepared(seconds)
            return prepared
        return None

    def _needs_a_score(self, prepared: Prepared) -> bool:
        """Ask the ledger, without locks, whether the instance is one whose pixels were judged before."""
        attributes = prepared.read.reading.attributes
        if attributes is None:
            return False
        known = self._write(lambda session: rows.find_instance(session, attributes.sop_instance_uid))
        resolution = resolved(known, prepared.read, attributes, prepared.input_digest)
        return resolution in {Resolution.FIRST, Resolution.REPLACE}

    def _classify(self, images: list[Prepared], serving: Serving) -> None:
        inputs = [image.model_input for image in images]
        began = time.perf_counter()
        scores = score(serving.runtime, inputs, serving.familiarity, serving.head)
        seconds = time.perf_counter() - began
        for image, found in zip(images, scores, strict=True):
            image.read.reading.seconds[told.INFERENCE] = seconds
            self._renew()
            if found.failed is not None and found.again:
                self._failed(_spent(image.read, found.failed, "the model failed on this image"))
                continue
            with self._its_own_failure(image.read):
                judgement = judge(found, serving, image.master.quality, image.input_digest)
                self._record(image.read, image.input_digest, judgement)

    def _failed(self, failed: AttemptFailed) -> None:
        """Give an image another attempt later, or quarantine it with the reason of the last one."""
        log.warning(
            "attempt_failed", receipt_id=failed.claim.receipt_id, attempts=failed.attempts, reason=failed.reason
        )
        self._figures.attempt_failed(failed.reason)
        if failed.attempts < self._settings.maximum_attempts:
            self._put_off(failed.claim)
            return
        read = Read(
            failed.claim,
            Reading(failed.attributes, rejected=failed.reason, detail=failed.detail),
            failed.dataset_sha256,
        )
        with self._its_own_failure(read):
            self._record(read)

    def _host_failed(self, failed: HostFailed) -> None:
        """Give a receipt back that met a disk in trouble, as if it had not been started."""
        log.error("host_failed", receipt_id=failed.claim.receipt_id, problem=failed.problem)
        self._figures.host_failed()
        delay = self._trouble.failed(failed.problem)
        self._write(lambda session: release(session, [failed.claim], refund=True, delay_seconds=delay))
        self._held.pop(failed.claim.receipt_id, None)

    def _record(self, read: Read, input_digest: str | None = None, judgement: Judgement | None = None) -> None:
        self._finish(read.claim, lambda session: record(session, read, input_digest, judgement), read.reading)

    def _refused(self, read: Read, error: Exception) -> None:
        """Count the attempt; after the last, quarantine without anything of what the image says of itself."""
        self._figures.attempt_failed(Failure.RECORDING)
        attempts = read.claim.attempts + 1
        if attempts < self._settings.maximum_attempts:
            self._put_off(read.claim)
            return
        if isinstance(error, (SQLAlchemyError, OverflowError)):
            reading = Reading(None, rejected=Rejection.BAD_HEADER, detail="the ledger refuses what the header says")
        else:
            reading = Reading(None, rejected=Rejection.CRASHED, detail="recording it failed; please report this")
        self._record(Read(read.claim, reading, None))

    def _finish(self, held: Claim, work: Callable[[Session], ReceiptState], reading: Reading | None = None) -> None:
        """Commit a receipt's end, then move its file."""
        began = time.perf_counter()
        self._writing = held
        try:
            state = self._write(work)
        except LeaseLost:
            self._writing = None
            self._lost(held)
            return
        self._writing = None
        self._held.pop(held.receipt_id, None)
        self._trouble.worked()
        failpoints.reach("recorded")
        seconds = time.perf_counter() - began
        waited = self._figures.finished(
            state,
            seconds,
            # of one that a person put back, the time since it was received says nothing of us
            received_at=None if held.put_back else held.received_at,
            reason=None if reading is None else reading.rejected,
        )
        log.info("receipt_finished", receipt_id=held.receipt_id, state=state, **told.stages(reading, seconds, waited))
        store(self._data, self._sessions, Unstored(held.receipt_id, held.listener, held.entry))

    def _put_off(self, held: Claim) -> None:
        """Give one receipt back, to be tried again after its neighbours."""
        self._write(lambda session: release(session, [held], delay_seconds=_BACK_OFF_SECONDS))
        self._held.pop(held.receipt_id, None)

    def _lost(self, held: Claim) -> None:
        # it may have been claimed again since
        if self._held.get(held.receipt_id) is held:
            del self._held[held.receipt_id]
        if held in self._gone:
            return
        self._gone.add(held)
        self._figures.lease_lost()
        log.warning("lease_lost", receipt_id=held.receipt_id)

    def _give_back(self, *, refund: bool = False) -> None:
        """Give back what is held, with the starts that it had, but for the image whose writing failed."""
        held, self._held = list(self._held.values()), {}
        if not held:
            return
        # a study that the ledger cannot write in time must not come back for ever
        spent = [one for one in held if not refund or one is self._writing]
        try:
            with self._sessions.begin() as session:
                release(session, spent)
                release(session, [one for one in held if one not in spent], refund=True)
        except SQLAlchemyError as error:
            # their leases run out by themselves
            log.warning("claims_not_given_back", receipts=len(held), **safe_error(error))

    def _renew(self) -> None:
        """Renew what is held, when a quarter of the lease has passed."""
        now = self._clock.monotonic()
        if now < self._renewed + self._settings.lease_seconds / _RENEWALS:
            return
        held = list(self._held.values())
        kept = self._write(lambda session: renew(session, held, self._settings.lease_seconds))
        self._renewed = now
        for one in held:
            if one.receipt_id not in kept:
                self._lost(one)

    def _write(self, work: Callable[[Session], T]) -> T:
        """Run one transaction, again while the database is away and the leases may still hold."""
        deadline = self._clock.monotonic() + self._settings.lease_seconds / 2
        for pause in backoff():
            try:
                with self._sessions.begin() as session:
                    return work(session)
            except UNAVAILABLE as error:
                if self._stopping.is_set() or self._clock.monotonic() + pause > deadline:
                    raise
                log.warning("database_away", **safe_error(error))
                time.sleep(pause)
        raise AssertionError("a backoff never ends")


def _missing_spool(listener: str) -> str:
    return f"receipts wait whose files are not on this host: no spool/{listener} below LUNGWATCH_DATA_DIR; mount it"


def _spent(read: Read, reason: Rejection, detail: str) -> AttemptFailed:
    return AttemptFailed(
        read.claim, read.claim.attempts + 1, reason, detail, read.reading.attributes, read.dataset_sha256
    )
