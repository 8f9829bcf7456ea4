"""Moving a disposed-of file out of the spool; repeated by the sweep until it is done."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from core import failpoints, logging
from core.files import move_durably
from core.logging import safe_error
from core.spool import Spool, stored_path
from db.receipts import Unstored, mark_stored

log = logging.get(__name__)


def store(data: Path, sessions: sessionmaker[Session], left: Unstored, *, complain: bool = True) -> bool:
    """Move the file of a receipt that is terminal to ``stored/``, and note when.

    Never raises for a disk or database that is away: the receipt's end is
    committed, and the sweep comes back to its file. Repeating it is safe.

    Parameters
    ----------
    complain : bool
        Whether a failure is logged; the sweep says it once.

    Returns
    -------
    bool
        Whether the file lies where it should and the ledger says so.
    """
    try:
        move_durably(Spool(data, left.listener).path(left.entry), stored_path(data, left.entry))
        failpoints.reach("moved")
        with sessions.begin() as session:
            mark_stored(session, [left.receipt_id])
    except (OSError, SQLAlchemyError) as error:
        if complain:
            log.error("file_not_stored", receipt_id=left.receipt_id, **safe_error(error))  # noqa: TRY400
        return False
    return True
