"""How commands reach the ledger: settings read, schema checked, one session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from core.errors import Misconfigured
from core.logging import configure
from core.settings import Settings, load
from db.base import make_engine, make_readers, make_sessions, sqlite_path
from db.migrate import check


@dataclass(frozen=True, slots=True)
class Ledger:
    """An opened ledger.

    Attributes
    ----------
    read : sessionmaker
        Sessions that take no write lock.
    write : sessionmaker
        Sessions for the few commands that change something.
    """

    settings: Settings
    engine: Engine
    read: sessionmaker[Session]
    write: sessionmaker[Session]


@contextmanager
def open_ledger() -> Iterator[Ledger]:
    """Open the ledger the settings name.

    Raises
    ------
    Misconfigured
        If there is none yet, or its schema is not this program's.
    TransientFailure
        If the database does not answer.
    """
    settings = load()
    quiet(settings)
    refuse_missing(settings)
    engine = make_engine(settings)
    try:
        check(engine)
        yield Ledger(settings, engine, make_readers(engine), make_sessions(engine))
    finally:
        engine.dispose()


def quiet(settings: Settings) -> None:
    """Keep log lines out of a command's output, except where a person asked for them with DEBUG."""
    configure(settings if settings.log_level == "DEBUG" else settings.model_copy(update={"log_level": "ERROR"}))


def has_ledger(settings: Settings) -> bool:
    """Whether this installation has a ledger; looking never makes one."""
    return settings.database_url is not None or sqlite_path(settings).exists()


def refuse_missing(settings: Settings) -> None:
    """Refuse to look into an embedded ledger that is not there: opening it would make an empty one.

    Raises
    ------
    Misconfigured
        Naming the place looked at.
    """
    if not has_ledger(settings):
        message = (
            f"there is no ledger at {sqlite_path(settings)}. Run this where lungwatch serve runs, or set "
            "LUNGWATCH_DATA_DIR (or LUNGWATCH_DATABASE_URL) as it has them; lungwatch serve and "
            "lungwatch db upgrade make a new one."
        )
        raise Misconfigured(message)
