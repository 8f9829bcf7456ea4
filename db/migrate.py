"""The schema: bringing it up to date, and refusing to start on one that is not.

Everything happens in one transaction on either database, views included, so a
crash leaves the old schema. On PostgreSQL an advisory lock makes the second of
two upgrades wait; on SQLite ``BEGIN IMMEDIATE`` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import OperationalError

from core.errors import Misconfigured, TransientFailure
from db import views
from db.base import reading

if TYPE_CHECKING:
    from collections.abc import Mapping

# any number, as long as nobody else locks it: the first eight bytes of SHA-256("lungwatch schema"), signed
_ADVISORY_LOCK: Final = 0x4C756E6777617463
_LOCK_TIMEOUT: Final = "10s"
_STATEMENT_TIMEOUT: Final = "15min"


def upgrade(engine: Engine) -> None:
    """Bring the schema to this program's version; where it is there already, change nothing.

    Raises
    ------
    Misconfigured
        If the schema is newer than this program.
    TransientFailure
        If the database does not answer, or another upgrade holds the lock for too long.
    """
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'"))
                connection.execute(text(f"SET LOCAL statement_timeout = '{_STATEMENT_TIMEOUT}'"))
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
            script = ScriptDirectory.from_config(_config(connection))
            current = _current(connection)
            _refuse_newer(script, current)
            if current == script.get_current_head():
                return
            for name in views.NAMES:
                connection.execute(text(f"DROP VIEW IF EXISTS {name}"))
            command.upgrade(_config(connection), "head")
            for statement in views.statements(connection.dialect.name):
                connection.exec_driver_sql(statement.replace("%", "%%") if _doubles_percent(connection) else statement)
    except OperationalError as error:
        raise _unreachable(error) from None


def check(engine: Engine) -> None:
    """Refuse a schema that is missing, outdated or newer than this program.

    Raises
    ------
    Misconfigured
        Saying which, and what to do.
    TransientFailure
        If the database does not answer.
    """
    try:
        with reading(engine).connect() as connection:
            current = _current(connection)
            present = set(inspect(connection).get_view_names()) if current is not None else set()
    except OperationalError as error:
        raise _unreachable(error) from None
    script = ScriptDirectory.from_config(_config(None))
    if current is None:
        message = "the ledger has no tables yet; run: lungwatch db upgrade"
        raise Misconfigured(message)
    _refuse_newer(script, current)
    head = script.get_current_head()
    if current != head:
        message = f"the ledger's schema is outdated ({current}, this program needs {head}); run: lungwatch db upgrade"
        raise Misconfigured(message)
    missing = sorted(set(views.NAMES) - present)
    if missing:
        message = (
            f"the ledger lacks {', '.join(missing)}, dropped by hand; restore from a backup or make the view again"
        )
        raise Misconfigured(message)


def comparison_options() -> Mapping[str, Any]:
    """Return how Alembic compares models and schema; the same in migrations and in the test that compares them."""
    return {
        "compare_type": True,
        "render_as_batch": True,
        "include_object": lambda _, name, kind, *__: not (kind == "table" and name in views.NAMES),
    }


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", "db:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _refuse_newer(script: ScriptDirectory, current: str | None) -> None:
    known = {revision.revision for revision in script.walk_revisions()}
    if current is not None and current not in known:
        message = f"the ledger's schema ({current}) is not one this program knows; install the Lungwatch that made it"
        raise Misconfigured(message)


def _doubles_percent(connection: Connection) -> bool:
    # psycopg reads % as a placeholder only where parameters are passed; exec_driver_sql passes an empty set
    return connection.dialect.name == "postgresql"


def _unreachable(error: OperationalError) -> TransientFailure:
    return TransientFailure(
        f"the ledger's database does not answer or is busy ({type(error.orig).__name__}); "
        "check LUNGWATCH_DATABASE_URL and that the server runs"
    )
