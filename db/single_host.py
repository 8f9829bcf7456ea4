"""SQLite is for one host: its locks do not hold over a network file system, so a second host is refused."""

from __future__ import annotations

import socket
from typing import Final

from sqlalchemy import Engine, select

from core.errors import Misconfigured
from db.base import database_now, make_readers
from db.models.model import Heartbeat

# three beats at their usual ten seconds; a host that was renamed or replaced is let in after that
_RECENT_SECONDS: Final = 30.0


def refuse_second_host(engine: Engine, host: str | None = None) -> None:
    """Raise where the ledger is SQLite and a process on another host lives on it.

    Parameters
    ----------
    engine : Engine
        A migrated ledger.
    host : str, optional
        This host; by default its name.

    Raises
    ------
    Misconfigured
        Naming the other host and what to use instead.
    """
    if engine.dialect.name != "sqlite":
        return
    with make_readers(engine)() as session:
        other = session.scalars(
            select(Heartbeat.host)
            .where(
                Heartbeat.host != (host or socket.gethostname()),
                Heartbeat.stopped_at.is_(None),
                Heartbeat.seen_at > database_now(-_RECENT_SECONDS),
            )
            .limit(1)
        ).first()
    if other is not None:
        raise Misconfigured(
            f"the SQLite ledger is in use on the host {other}; more than one host needs PostgreSQL: "
            "set LUNGWATCH_DATABASE_URL, or stop Lungwatch there and wait half a minute"
        )
