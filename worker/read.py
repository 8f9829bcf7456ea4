"""One receipt's file, from the spool to what it holds: the attempt is charged first, then a helper reads."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from sqlalchemy.orm import Session, sessionmaker

from core import failpoints, logging
from core.errors import TransientFailure
from core.logging import safe_error
from core.settings import Settings
from core.spool import Entry, place
from db.base import UNAVAILABLE
from db.claims import Claim, LeaseLost, start_attempt
from imaging.instance import ReadingRules
from imaging.reading import Reading
from imaging.reasons import Rejection
from worker import rows
from worker.decode_protocol import Ask, Request
from worker.helpers import HelperFailed, Helpers
from worker.metrics.figures import Figures
from worker.metrics.told import HELPER
from worker.record import delivered, nature, pixels
from worker.resolve import Compared, Pixels, is_duplicate, needs_every_pixel, needs_pixels
from worker.stages import AttemptFailed, HostFailed, KnownAlready, Read
from worker.trouble import LEDGER_AWAY

# a header takes milliseconds; of a file that may have ended workers, no more is asked
_PEEK_SECONDS: Final = 3.0

log = logging.get(__name__)


def locate(data: Path, claim: Claim) -> Path:
    """Return where the claimed entry's file should be."""
    return place(data, claim.listener, claim.entry, stored=claim.stored)


class Reader:
    """Reads receipts' files in this thread's helper process.

    Parameters
    ----------
    settings : Settings
        Where things lie and how many attempts an image has.
    sessions : sessionmaker
        Each step is a transaction of its own.
    helpers : Helpers
        The decode processes.
    figures : Figures
        Where attempts and decoding are counted.
    """

    def __init__(self, settings: Settings, sessions: sessionmaker[Session], helpers: Helpers, figures: Figures) -> None:
        self._settings = settings
        self._sessions = sessions
        self._helpers = helpers
        self._figures = figures
        self._data = settings.data_dir.resolve()

    def read(self, claim: Claim, rules: ReadingRules) -> Read | KnownAlready | AttemptFailed | HostFailed:
        """Charge an attempt and find out what the file holds.

        Raises
        ------
        LeaseLost
            Somebody else has the receipt; nothing was done.
        """
        try:
            return self._read(claim, rules)
        except LeaseLost:
            raise
        except UNAVAILABLE as error:
            log.warning("database_away", **safe_error(error))
            return HostFailed(claim, LEDGER_AWAY)
        except OSError as error:
            log.error("file_not_seen", receipt_id=claim.receipt_id, **safe_error(error))  # noqa: TRY400 - it names a path
            return HostFailed(claim, f"a received file cannot be seen (errno {error.errno}); check its disk")
        except Exception as error:  # noqa: BLE001 - the edge of one image: it must not end what its neighbours are in
            log.error("read_failed", receipt_id=claim.receipt_id, **safe_error(error))  # noqa: TRY400 - may quote data
            detail = f"reading it failed ({type(error).__name__}); please report what the worker's log says"
            return AttemptFailed(claim, claim.attempts + 1, Rejection.CRASHED, detail)

    def _read(self, claim: Claim, rules: ReadingRules) -> Read | KnownAlready | AttemptFailed | HostFailed:
        if claim.attempts >= self._settings.maximum_attempts:
            return self._exhausted(claim, rules)
        with self._sessions.begin() as session:
            if not start_attempt(session, claim):
                message = f"the lease on receipt {claim.receipt_id} ended before it was started"
                raise LeaseLost(message)
        failpoints.reach("attempt_charged")
        self._figures.attempt_started()
        dataset_sha256 = None
        began = time.perf_counter()
        try:
            answer = self._helpers.ask(self._request(Ask.FINGERPRINT, claim, rules))
            if answer.reading is not None:
                return Read(claim, answer.reading, None)
            dataset_sha256 = answer.dataset_sha256 or None
            fingerprinted = time.perf_counter() - began
            return self._known(claim, dataset_sha256) or self._decode(claim, rules, dataset_sha256, fingerprinted)
        except HelperFailed as error:
            attempts = claim.attempts + 1
            return AttemptFailed(claim, attempts, error.reason, error.detail, error.attributes, dataset_sha256)
        except TransientFailure as error:
            return HostFailed(claim, str(error))

    def _exhausted(self, claim: Claim, rules: ReadingRules) -> Read | AttemptFailed | HostFailed:
        """Give up a receipt that was started as often as it may be, and whose worker died each time.

        What the attempts had read of the header died with them, so it is read once more, without
        decoding and only for a moment; where that fails the receipt is quarantined without a study.
        """
        attributes, dataset_sha256 = None, None
        try:
            answer = self._helpers.ask(self._request(Ask.FINGERPRINT, claim, rules))
            if answer.reading is not None:
                return Read(claim, answer.reading, None)
            dataset_sha256 = answer.dataset_sha256 or None
            attributes = self._helpers.peek(self._request(Ask.READ, claim, rules), _PEEK_SECONDS)
        except HelperFailed:
            pass
        except TransientFailure as error:
            return HostFailed(claim, str(error))
        detail = "the worker ended at each attempt"
        return AttemptFailed(claim, claim.attempts, Rejection.CRASHED, detail, attributes, dataset_sha256)

    def _decode(self, claim: Claim, rules: ReadingRules, dataset_sha256: str | None, fingerprinted: float) -> Read:
        failpoints.reach("decoding")
        began = time.perf_counter()
        reading = self._ask(claim, rules)
        seconds = fingerprinted + time.perf_counter() - began
        reading.seconds[HELPER] = seconds
        if reading.attributes is not None and reading.master is not None:
            self._figures.decoded(reading.attributes.transfer_syntax_uid, seconds)
        if self._must_show_pixels(reading):
            seen = self._ask(claim, replace(rules, scope=None))
            if seen.master is not None:
                reading = replace(reading, master=seen.master)
        return self._compare(Read(claim, reading, dataset_sha256), rules)

    def _compare(self, read: Read, rules: ReadingRules) -> Read:
        """Decode this delivery, and the one in force, in full, if only that can tell whether they are the same.

        Raises
        ------
        HelperFailed
            If another attempt may tell what this one could not.
        """
        attributes, master = read.reading.attributes, read.reading.master
        if attributes is None or master is None:
            return read
        with self._sessions.begin() as session:
            found = rows.find_instance(session, attributes.sop_instance_uid)
            if found is None or not needs_every_pixel(rows.in_force(*found), delivered(read, attributes)):
                return read
            first, sha256 = rows.in_force(*found).pixels, found[0].receipt_sha256
            files = rows.files_in_force(session, found[0])
        rules = replace(rules, scope=None, every_pixel=True)
        if first.decoded is None:
            try:
                first = self._in_full(files, sha256, rules) or first
            except HelperFailed as error:
                if read.claim.attempts + 1 < self._settings.maximum_attempts:
                    raise
                # this delivery is not to blame, and must not wait for ever: nothing shows that they are the same
                detail = f"the image in force could not be decoded in full to compare this one with it ({error})"
                untold = Compared(sha256, first, Pixels())
                return replace(read, reading=replace(read.reading, detail=detail), compared=untold)
        if first.decoded is not None and master.pixels_digest is None:
            seen = self._ask(read.claim, rules)
            if seen.master is None:
                # damaged where the smaller image did not show it
                return replace(read, reading=seen)
            master = seen.master
        return replace(read, compared=Compared(sha256, first, pixels(master)))

    def _in_full(self, files: list[tuple[str, Entry, bool]], sha256: str, rules: ReadingRules) -> Pixels | None:
        """Decode the file in force; None if it is gone or cannot be decoded any more.

        Raises
        ------
        HelperFailed
            If a helper crashed, took too long or ran out of memory: that says something of the day.
        """
        failed = None
        for listener, entry, stored in files:
            path = place(self._data, listener, entry, stored=stored)
            if not path.exists():
                continue
            request = Request(Ask.FINGERPRINT, str(path), sha256, str(self._settings.masters.resolve()), rules)
            try:
                if self._helpers.ask(request).reading is not None:
                    # not the bytes that were acknowledged
                    continue
                reading = self._helpers.ask(replace(request, ask=Ask.READ)).reading
            except HelperFailed as error:
                failed = error
                continue
            if reading is not None and reading.master is not None:
                return pixels(reading.master)
        if failed is not None:
            raise failed
        return None

    def _ask(self, claim: Claim, rules: ReadingRules) -> Reading:
        reading = self._helpers.ask(self._request(Ask.READ, claim, rules)).reading
        if reading is None:
            raise HelperFailed(Rejection.CRASHED, "a helper process answered another question")
        return reading

    def _known(self, claim: Claim, dataset_sha256: str | None) -> KnownAlready | None:
        if dataset_sha256 is None:
            return None
        with self._sessions.begin() as session:
            found = rows.find_by_dataset(session, dataset_sha256)
            if found is None or not is_duplicate(rows.in_force(*found), dataset_sha256, put_back=claim.put_back):
                return None
            return KnownAlready(claim, found[1].id, found[0].id)

    def _must_show_pixels(self, reading: Reading) -> bool:
        if reading.attributes is None or reading.out_of_scope is None:
            return False
        with self._sessions.begin() as session:
            found = rows.find_instance(session, reading.attributes.sop_instance_uid)
            return needs_pixels(None if found is None else rows.in_force(*found), nature(reading))

    def _request(self, ask: Ask, claim: Claim, rules: ReadingRules) -> Request:
        return Request(
            ask=ask,
            path=str(locate(self._data, claim)),
            sha256=claim.sha256,
            masters=str(self._settings.masters.resolve()),
            rules=rules,
        )
