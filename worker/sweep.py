"""Files that a crash left behind: the receipt is terminal, the file still lies in the spool.

Receipts whose worker died need no sweep of their own: their lease runs out,
the next claim takes them, and one whose attempts are used up is quarantined
by `worker.read` instead of started.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from core import logging
from core.spool import Entry
from db.base import database_now
from db.models.receipt import Receipt
from db.vocabulary import ReceiptState
from imaging.reasons import Rejection
from worker.store import store

log = logging.get(__name__)

_BATCH: Final = 200
# whoever finished a receipt moves its file at once; until then it is none of our business
_GRACE_SECONDS: Final = 10.0


class StoreSweep:
    """Repeats the move of files that were left in the spool, a bounded number at a time.

    Repeating is safe: a file that was moved counts as moved. Receipts whose
    file is gone from both places are passed over; `reconcile` names them.
    """

    def __init__(self, data: Path, sessions: sessionmaker[Session], grace_seconds: float = _GRACE_SECONDS) -> None:
        self._data = data
        self._sessions = sessions
        self._grace_seconds = grace_seconds
        self._after = 0

    def run(self) -> int:
        """Store a batch of left files and return how many; a lap over all of them takes several calls."""
        with self._sessions.begin() as session:
            left = session.execute(
                select(Receipt.id, Receipt.listener, Receipt.entry)
                .where(
                    Receipt.id > self._after,
                    Receipt.state != ReceiptState.PENDING,
                    Receipt.stored_at.is_(None),
                    Receipt.finished_at < database_now(-self._grace_seconds),
                    Receipt.reason.is_distinct_from(Rejection.MISSING_FILE),
                )
                .order_by(Receipt.id)
                .limit(_BATCH)
            ).all()
        self._after = left[-1].id if len(left) == _BATCH else 0
        stored = sum(store(self._data, self._sessions, row.id, row.listener, Entry.parse(row.entry)) for row in left)
        if stored:
            log.info("stored_left_files", files=stored)
        return stored
