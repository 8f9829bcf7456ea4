"""SQLite is for one host: its locks do not hold over a network file system, so a second host is refused."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final

from sqlalchemy import Engine, select

from core.errors import Misconfigured
from core.logging import get
from db.base import database_now, make_readers
from db.models.model import Heartbeat

# three beats of the longest interval there may be (`heartbeat_seconds`); after that a host is gone
_RECENT_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 1.0

_log = get(__name__)


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
    other = _last_beat(engine, host)
    if other is not None:
        raise _in_use(other)


def wait_for_sole_use(engine: Engine, told_to_stop: Callable[[float], bool], host: str | None = None) -> bool:
    """Wait until a host that was killed counts as gone; where the ledger is not SQLite there is nothing to wait for.

    A machine or container that was killed and comes back under another name
    finds its own last heartbeats, less than half a minute old.

    Parameters
    ----------
    engine : Engine
        A migrated ledger.
    told_to_stop : callable
        Waits so many seconds; true ends the waiting.
    host : str, optional
        This host; by default its name.

    Returns
    -------
    bool
        False if told to stop meanwhile.

    Raises
    ------
    Misconfigured
        As soon as the other host is heard of again.
    """
    first = _last_beat(engine, host)
    if first is not None:
        _log.warning("ledger_was_just_in_use_on_another_host", other=first.host, waiting_up_to=_RECENT_SECONDS)
    other = first
    while first is not None and other is not None:
        if other.seen_at > first.seen_at:
            raise _in_use(other)
        if told_to_stop(_LOOK_SECONDS):
            return False
        other = _last_beat(engine, host)
    return True


def _last_beat(engine: Engine, host: str | None) -> Heartbeat | None:
    """Return the last sign of life of a process on another host, None if none lives or the ledger is not SQLite."""
    if engine.dialect.name != "sqlite":
        return None
    with make_readers(engine)() as session:
        return session.scalars(
            select(Heartbeat)
            .where(
                Heartbeat.host != (host or socket.gethostname()),
                Heartbeat.stopped_at.is_(None),
                Heartbeat.seen_at > database_now(-_RECENT_SECONDS),
            )
            .order_by(Heartbeat.seen_at.desc())
            .limit(1)
        ).first()


def _in_use(other: Heartbeat) -> Misconfigured:
    return Misconfigured(
        f"the SQLite ledger is in use on the host {other.host}; more than one host needs PostgreSQL: "
        "set LUNGWATCH_DATABASE_URL, or stop Lungwatch there and wait half a minute"
    )
