"""Moving a disposed-of file out of the spool; repeated by the sweep until it is done."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from core import failpoints, logging
from core.files import move_durably
from core.logging import safe_error
from core.spool import Entry, Spool, stored_path
from db.base import database_now
from db.models.receipt import Receipt

log = logging.get(__name__)


def store(data: Path, sessions: sessionmaker[Session], receipt_id: int, listener: str, entry: Entry) -> bool:
    """Move the file of a receipt that is terminal to ``stored/``, and note when.

    Never raises for a disk or database that is away: the receipt's end is
    committed, and the sweep comes back to its file.

    Returns
    -------
    bool
        Whether the file lies where it should and the ledger says so.
    """
    try:
        move_durably(Spool(data, listener).path(entry), stored_path(data, entry))
        failpoints.reach("moved")
        with sessions.begin() as session:
            session.execute(
                update(Receipt)
                .where(Receipt.id == receipt_id, Receipt.stored_at.is_(None))
                .values(stored_at=database_now())
                .execution_options(synchronize_session=False)
            )
    except (OSError, SQLAlchemyError) as error:
        log.error("file_not_stored", receipt_id=receipt_id, **safe_error(error))  # noqa: TRY400
        return False
    return True
