"""Files that a crash left behind: the receipt is terminal, the file still lies in the spool.

Receipts whose worker died need no sweep of their own: their lease runs out,
the next claim takes them, and one whose attempts are used up is quarantined
by `worker.read` instead of started.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy.orm import Session, sessionmaker

from core import logging
from db.receipts import unstored
from worker.store import store

log = logging.get(__name__)

_BATCH: Final = 200


class StoreSweep:
    """Repeats the move of files that were left in the spool, a bounded number at a time.

    Repeating is safe: a file that was moved counts as moved. A receipt whose
    file is gone from both places is named once a process; `reconcile` names it always.
    """

    def __init__(self, data: Path, sessions: sessionmaker[Session]) -> None:
        self._data = data
        self._sessions = sessions
        self._after = 0
        self._named: set[int] = set()

    def run(self) -> int:
        """Store a batch of left files and return how many; a lap over all of them may take several calls."""
        with self._sessions.begin() as session:
            left = unstored(session, _BATCH, self._after)
        self._after = left[-1].receipt_id if len(left) == _BATCH else 0
        stored = 0
        for one in left:
            if store(self._data, self._sessions, one, complain=one.receipt_id not in self._named):
                stored += 1
            else:
                self._named.add(one.receipt_id)
        if stored:
            log.info("stored_left_files", files=stored)
        return stored
