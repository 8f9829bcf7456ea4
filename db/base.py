"""Declarative base, engine and the two databases' differences: time, transactions, durability."""

from __future__ import annotations

import sqlite3
import time
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    JSON,
    CheckConstraint,
    DateTime,
    Engine,
    Float,
    MetaData,
    String,
    TypeDecorator,
    create_engine,
    event,
    literal,
    make_url,
    text,
)
from sqlalchemy.exc import ArgumentError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker
from sqlalchemy.sql.functions import FunctionElement

from core.errors import Misconfigured

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.engine import Connection
    from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor, Dialect, ExceptionContext
    from sqlalchemy.pool import ConnectionPoolEntry
    from sqlalchemy.sql.compiler import SQLCompiler

    from core.settings import Settings

_CONNECT_SECONDS: Final = 3
_OTHER_CONNECTIONS: Final = 8
_SQLITE_BUSY_SECONDS: Final = 10
_SQLITE_RETRY_SECONDS: Final = 0.02
# of an extended result code, https://sqlite.org/rescode.html
_SQLITE_PRIMARY_CODE: Final = 0xFF
_READ_ONLY: Final = "lungwatch_read_only"
# What says nothing of what was asked: the database is away or hangs, has become one that only reads (a standby, while
# another takes over), or all of this process's connections are in use.
UNAVAILABLE: Final = (OperationalError, InterfaceError, InternalError, PoolTimeout)
# SQLSTATE, PostgreSQL's appendix A
_IDLE_IN_TRANSACTION: Final = "25P03"


class Moment(TypeDecorator[datetime]):
    """An aware time: ``timestamptz`` on PostgreSQL, sortable UTC text with microseconds on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store in UTC; refuse a time without zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            message = "times in the ledger are aware; got a naive one"
            raise ValueError(message)
        return value.astimezone(UTC) if dialect.name != "sqlite" else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return an aware time in UTC."""
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class database_now(FunctionElement[datetime]):  # noqa: N801 - reads as the SQL function it is
    """The database's clock, plus some seconds: hosts may disagree about time, a lease must not.

    Parameters
    ----------
    seconds : float, optional
        Offset from now.
    """

    type = Moment()
    inherit_cache = True

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__(literal(float(seconds), Float()))


@compiles(database_now, "postgresql")
def _postgresql_now(element: database_now, compiler: SQLCompiler, **options: Any) -> str:
    seconds = compiler.process(element.clauses, **options)
    return f"(clock_timestamp() + make_interval(secs => CAST({seconds} AS double precision)))"


@compiles(database_now, "sqlite")
def _sqlite_now(element: database_now, compiler: SQLCompiler, **options: Any) -> str:
    # the form Moment stores; SQLite's clock gives milliseconds
    seconds = compiler.process(element.clauses, **options)
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', printf('%+.3f seconds', {seconds}))"


def vocabulary_check(column: str, words: type[StrEnum]) -> CheckConstraint:
    """Hold a text column to a vocabulary."""
    values = ", ".join(f"'{word.value}'" for word in words)
    return CheckConstraint(f"{column} IN ({values})", name=column)


class Words(TypeDecorator[StrEnum]):
    """A `StrEnum` stored by value; pair it with `vocabulary_check`."""

    impl = String
    cache_ok = True

    def __init__(self, words: type[StrEnum]) -> None:
        super().__init__(32)
        self.words = words

    def process_bind_param(self, value: StrEnum | str | None, dialect: Dialect) -> str | None:
        """Refuse a word that is not in the vocabulary."""
        del dialect
        return None if value is None else self.words(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> StrEnum | None:
        """Return the member of the vocabulary."""
        del dialect
        return None if value is None else self.words(value)


class Text(TypeDecorator[str]):
    """Text that both databases take alike.

    PostgreSQL refuses NUL and what is too long; SQLite takes both, so a poisoned
    header would fail in production alone. Here it fails everywhere, before it is sent.
    """

    impl = String
    cache_ok = True

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.length = length

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Refuse NUL and what is too long, without quoting it."""
        del dialect
        if value is not None and ("\0" in value or len(value) > self.length):
            message = f"text for the ledger holds NUL or more than {self.length} characters; clean it where it is read"
            raise ValueError(message)
        return value


class Base(DeclarativeBase):
    """Base of all tables; names constraints so that migrations can find them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own hook
        datetime: Moment(),
        dict[str, Any]: JSON(),
        list[str]: JSON(),
    }

    def __repr__(self) -> str:
        # never the columns: they hold identifiers and reach logs through reprs
        return f"<{type(self).__name__} {getattr(self, 'id', None)}>"


def sqlite_path(settings: Settings) -> Path:
    """Return where the embedded ledger lies, or would."""
    return settings.data_dir.resolve() / "lungwatch.db"


def database_url(settings: Settings) -> str:
    """Return the SQLAlchemy URL in force: PostgreSQL where one is set, else SQLite in the data directory."""
    if settings.database_url is None:
        return f"sqlite+pysqlite:///{sqlite_path(settings)}"
    try:
        url = make_url(settings.database_url.get_secret_value())
    except ArgumentError:
        message = "LUNGWATCH_DATABASE_URL is not a database URL; use postgresql+psycopg://user@host/name"
        raise Misconfigured(message) from None
    if url.drivername in {"postgresql", "postgres"}:
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() not in {"postgresql", "sqlite"}:
        message = f"LUNGWATCH_DATABASE_URL names {url.get_backend_name()}; only postgresql and sqlite are supported"
        raise Misconfigured(message)
    if settings.database_password_file is not None:
        try:
            url = url.set(password=settings.database_password_file.read_text().strip())
        except OSError:
            message = f"LUNGWATCH_DATABASE_PASSWORD_FILE cannot be read: {settings.database_password_file}"
            raise Misconfigured(message) from None
    return url.render_as_string(hide_password=False)


def make_engine(settings: Settings) -> Engine:
    """Open the ledger's engine; nothing is connected yet.

    Raises
    ------
    Misconfigured
        If the URL is wrong or its driver is not installed.
    """
    url = database_url(settings)
    if url.startswith("sqlite"):
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        engine = create_engine(url, hide_parameters=True, connect_args={"timeout": _SQLITE_BUSY_SECONDS})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    # a holder that is stopped or cut off within a transaction keeps its rows locked no longer than a claim holds:
    # whoever claims passes locked rows over, and the server alone would wait for it for hours
    idle_milliseconds = max(1, round(settings.lease_seconds * 1000))
    try:
        engine = create_engine(
            url,
            # identifiers of patients must not reach an exception's text
            hide_parameters=True,
            pool_pre_ping=True,
            pool_size=4,
            # one for each lane of a worker, and for those who beat, report and count
            max_overflow=settings.helper_processes + _OTHER_CONNECTIONS,
            connect_args={
                "connect_timeout": _CONNECT_SECONDS,
                # a hung server must not hang us: a dead peer shows after about 20 s
                "keepalives_idle": 10,
                "keepalives_interval": 3,
                "keepalives_count": 3,
                "tcp_user_timeout": 20_000,
                # jit: compiling the views' many small subqueries takes seconds, running them milliseconds
                "options": "-c statement_timeout=30s -c lock_timeout=10s -c timezone=UTC -c jit=off"
                f" -c idle_in_transaction_session_timeout={idle_milliseconds}",
            },
        )
    except ModuleNotFoundError:
        message = "PostgreSQL needs its driver: pip install 'lungwatch[postgres]'"
        raise Misconfigured(message) from None
    event.listen(engine, "handle_error", _ended_by_the_server)
    return engine


def _ended_by_the_server(context: ExceptionContext) -> None:
    """Take a transaction that the server ended for its idleness for what it is: a connection that is gone."""
    error = context.original_exception
    if getattr(error, "sqlstate", None) == _IDLE_IN_TRANSACTION:
        # psycopg calls it an internal error, which nobody would try again
        raise OperationalError(context.statement, None, error, hide_parameters=True, connection_invalidated=True)


def _prepare_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    # the driver's own transaction handling begins too late and loses updates; we begin ourselves
    connection.isolation_level = None
    cursor = connection.cursor()
    _use_wal(cursor)
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _use_wal(cursor: DBAPICursor) -> None:
    # another process that changes the mode of a new ledger is not waited for, whatever the timeout:
    # SQLite answers "database is locked" at once where waiting might be a deadlock
    deadline = time.monotonic() + _SQLITE_BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & _SQLITE_PRIMARY_CODE == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(_SQLITE_RETRY_SECONDS)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    # a deferred transaction that turns into a writer fails at once with "database is locked",
    # so everything that may write takes the write lock first; readers need none under WAL
    reads = connection.get_execution_options().get(_READ_ONLY, False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def keep_locks_while_idle(session: Session) -> None:
    """Let this transaction keep its locks however long it does something else, as removing the files of locked rows.

    Elsewhere a server ends a transaction in which nothing happens for as long as a lease.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))


def make_sessions(engine: Engine) -> sessionmaker[Session]:
    """Return the factory of sessions that may write; use as ``with sessions.begin() as session``."""
    return sessionmaker(engine, expire_on_commit=False)


def reading(engine: Engine) -> Engine:
    """Return the same engine for connections that only read, each from one snapshot, never waiting for a writer.

    On PostgreSQL the transaction is ``REPEATABLE READ, READ ONLY``; on SQLite
    it begins without the write lock. Never write through one.
    """
    options: dict[str, Any] = {_READ_ONLY: True}
    if engine.dialect.name == "postgresql":
        options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    return engine.execution_options(**options)


def make_readers(engine: Engine) -> sessionmaker[Session]:
    """Return the factory of sessions that only read (`reading`); use as ``with readers() as session``."""
    return sessionmaker(reading(engine), expire_on_commit=False)
