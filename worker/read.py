"""One receipt's file, from the spool to what it holds: the attempt is charged first, then a helper reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sqlalchemy.orm import Session, sessionmaker

from core import failpoints
from core.errors import TransientFailure
from core.settings import Settings
from core.spool import Spool, stored_path
from db.claims import Claim, LeaseLost, start_attempt
from imaging.instance import ReadingRules
from imaging.reading import Reading
from imaging.reasons import Rejection
from worker import rows
from worker.decode_protocol import Ask, Request
from worker.helpers import HelperFailed, Helpers
from worker.record import nature
from worker.resolve import is_duplicate, needs_pixels
from worker.stages import AttemptFailed, KnownAlready, Read


def locate(data: Path, claim: Claim) -> Path:
    """Return where the entry's file should be: in stored/ once it was there, else in its listener's spool."""
    stored = stored_path(data, claim.entry)
    new = Spool(data, claim.listener).path(claim.entry)
    return stored if claim.stored or (not new.exists() and stored.exists()) else new


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
    """

    def __init__(self, settings: Settings, sessions: sessionmaker[Session], helpers: Helpers) -> None:
        self._settings = settings
        self._sessions = sessions
        self._helpers = helpers
        self._data = settings.data_dir.resolve()

    def read(self, claim: Claim, rules: ReadingRules) -> Read | KnownAlready | AttemptFailed:
        """Charge an attempt and find out what the file holds.

        Raises
        ------
        LeaseLost
            Somebody else has the receipt; nothing was done.
        """
        if claim.attempts >= self._settings.maximum_attempts:
            # only a worker that died at each of them leaves a receipt like this
            return self._failed(claim, claim.attempts, Rejection.CRASHED, "the worker ended at each attempt", rules)
        with self._sessions.begin() as session:
            if not start_attempt(session, claim):
                message = f"the lease on receipt {claim.receipt_id} ended before it was started"
                raise LeaseLost(message)
        failpoints.reach("attempt_charged")
        try:
            return self._look(claim, rules)
        except HelperFailed as error:
            return self._failed(claim, claim.attempts + 1, error.reason, error.detail, rules)
        except TransientFailure as error:
            return self._failed(claim, claim.attempts + 1, Rejection.CRASHED, str(error), rules)

    def _failed(
        self, claim: Claim, attempts: int, reason: Rejection, detail: str, rules: ReadingRules
    ) -> AttemptFailed:
        attributes = None
        dataset_sha256 = None
        if attempts >= self._settings.maximum_attempts:
            try:
                dataset_sha256 = self._helpers.ask(self._request(Ask.FINGERPRINT, claim, rules)).dataset_sha256 or None
                attributes = self._helpers.ask(self._request(Ask.HEADER, claim, rules)).attributes
            except TransientFailure:
                # the header alone kills a helper too: the receipt is quarantined without a study
                pass
        return AttemptFailed(claim, attempts, reason, detail, attributes, dataset_sha256)

    def _look(self, claim: Claim, rules: ReadingRules) -> Read | KnownAlready:
        answer = self._helpers.ask(self._request(Ask.FINGERPRINT, claim, rules))
        if answer.reading is not None:
            return Read(claim, answer.reading, None)
        dataset_sha256 = answer.dataset_sha256 or None
        known = self._known(claim, dataset_sha256)
        if known is not None:
            return known
        failpoints.reach("decoding")
        reading = self._ask(claim, rules)
        if self._must_show_pixels(reading):
            seen = self._ask(claim, replace(rules, scope=None))
            if seen.master is not None:
                reading = replace(reading, master=seen.master)
        return Read(claim, reading, dataset_sha256)

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
            if found is None or not is_duplicate(rows.in_force(*found), dataset_sha256, put_back=claim.stored):
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
