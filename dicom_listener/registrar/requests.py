"""What lies in ``commitment/`` becomes rows of the ledger, as what lies in ``new/`` becomes receipts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlalchemy.orm import Session, sessionmaker

from core.clock import Clock
from core.failpoints import reach
from core.logging import get, safe_error
from core.rarely import Rarely
from core.spool import Entry, Spool
from db import commitments
from dicom_listener.registrar.arrivals import Arrivals, received_at
from dicom_listener.storage.file_meta import read_origin

_RARELY_SECONDS: Final = 60.0

_log = get(__name__)


class Requests:
    """Registers the requests for storage commitment of one spool; `register_new` is one pass.

    Parameters
    ----------
    spool : Spool
    sessions : sessionmaker
        Of the ledger.
    ring : callable
        Called after new requests are committed; must not block.
    clock : Clock
    """

    def __init__(self, spool: Spool, sessions: sessionmaker[Session], ring: Callable[[], None], clock: Clock) -> None:
        self._spool = spool
        self._sessions = sessions
        self._ring = ring
        self._clock = clock
        self._arrivals = Arrivals(spool, clock, spool.commitments)
        self._rarely = Rarely(_RARELY_SECONDS, clock.monotonic)

    def register_new(self) -> int:
        """Register everything that lies in ``commitment/``, and return how many requests are new.

        Repeating it is safe: requests that exist stay as they are, also those
        that were answered and whose file a crash left behind.

        Raises
        ------
        SQLAlchemyError
            If the database fails; the next pass starts from the directory again.
        OSError
            If the spool cannot be read.
        """
        try:
            listing = self._arrivals.look()
        except FileNotFoundError:
            # no listener that takes requests has run here yet
            return 0
        if listing is None or not listing.arrived:
            return 0
        described = [new for entry in listing.arrived if (new := self._describe(entry)) is not None]
        with self._sessions.begin() as session:
            inserted = commitments.register(session, described)
            reach("registrar.requests_inserted")
        reach("registrar.requests_committed")
        self._arrivals.registered(new.entry for new in described)
        # after a crash of ours these may be registered before but not yet rung for
        if described:
            self._ring()
        if inserted:
            _log.info("commitments_registered", requests=inserted)
        return inserted

    def _describe(self, entry: Entry) -> commitments.NewCommitment | None:
        path = self._spool.commitments / entry.file_name
        try:
            facts = path.stat()
            return commitments.NewCommitment(
                entry=entry,
                listener=self._spool.listener,
                size=facts.st_size,
                received_at=received_at(facts, self._clock),
                peer=read_origin(path).sending_ae_title,
            )
        except FileNotFoundError:
            # a worker has answered it already
            return None
        except Exception as error:  # noqa: BLE001 - one entry must not stop the others
            self._rarely.warning(_log, "request_not_described", listener=self._spool.listener, **safe_error(error))
            return None
