"""INSERT … ON CONFLICT, which both databases speak but SQLAlchemy offers once a dialect."""

from __future__ import annotations

from typing import cast

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from db.base import Base


def insert(session: Session, table: type[Base]) -> postgresql.Insert:
    """Return an INSERT that offers ``on_conflict_do_nothing`` and ``on_conflict_do_update``."""
    if session.get_bind().dialect.name == "sqlite":
        # the same two methods with the same arguments as far as we use them
        return cast("postgresql.Insert", sqlite.insert(table))
    return postgresql.insert(table)
