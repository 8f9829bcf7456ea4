from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DatabaseError, OperationalError

from core.errors import Misconfigured
from core.settings import Settings
from db.base import (
    Base,
    Moment,
    Text,
    Words,
    database_now,
    database_url,
    make_engine,
    make_readers,
    make_sessions,
    sqlite_path,
)
from db.models.study import Study
from db.vocabulary import Outcome

Make = Callable[..., Settings]


def test_a_moment_is_stored_in_utc_and_comes_back_aware() -> None:
    there = datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=5)))
    stored = Moment().process_bind_param(there, sqlite.dialect())
    assert stored == datetime(2026, 1, 1, 22)  # noqa: DTZ001 - SQLite holds none
    assert Moment().process_result_value(stored, sqlite.dialect()) == there
    assert Moment().process_bind_param(there, postgresql.dialect()) == there


def test_a_naive_moment_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        Moment().process_bind_param(datetime(2026, 1, 1), sqlite.dialect())  # noqa: DTZ001 - what is refused


@pytest.mark.parametrize("text", ["a\0b", "abcde"])
def test_text_refuses_what_one_database_would_take_and_does_not_quote_it(text: str) -> None:
    with pytest.raises(ValueError, match="NUL or more than 4") as caught:
        Text(4).process_bind_param(text, sqlite.dialect())
    assert text not in str(caught.value)


def test_words_refuse_what_is_not_in_the_vocabulary() -> None:
    assert Words(Outcome).process_bind_param("PENDING", sqlite.dialect()) == "PENDING"
    with pytest.raises(ValueError, match="NORMAL"):
        Words(Outcome).process_bind_param("NORMAL", sqlite.dialect())


def test_a_row_never_shows_its_columns() -> None:
    assert repr(Study(id=3, patient_id="P1", study_uid="1.2.3")) == "<Study 3>"


def test_the_default_is_sqlite_in_the_data_directory(settings: Settings) -> None:
    assert database_url(settings) == f"sqlite+pysqlite:///{settings.data_dir.resolve()}/lungwatch.db"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_is_spoken_through_psycopg(make_settings: Make, scheme: str) -> None:
    url = database_url(make_settings(database_url=f"{scheme}://user@host/name"))
    assert url == "postgresql+psycopg://user@host/name"


@pytest.mark.parametrize("url", ["nonsense", "mysql://host/name", "postgresql+asyncpg2"])
def test_another_database_is_refused_without_its_url(make_settings: Make, url: str) -> None:
    with pytest.raises(Misconfigured, match="LUNGWATCH_DATABASE_URL") as caught:
        database_url(make_settings(database_url=url))
    assert url not in str(caught.value)


def test_the_password_may_lie_in_a_file(make_settings: Make, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("p@ss\n")
    url = database_url(make_settings(database_url="postgresql://user@host/name", database_password_file=file))
    assert url == "postgresql+psycopg://user:p%40ss@host/name"
    file.unlink()
    with pytest.raises(Misconfigured, match="PASSWORD_FILE"):
        database_url(make_settings(database_url="postgresql://user@host/name", database_password_file=file))


def test_sqlite_is_opened_for_durability(settings: Settings) -> None:
    engine = make_engine(settings)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    engine.dispose()


def test_sqlites_clock_is_written_as_moments_are(settings: Settings) -> None:
    engine = make_engine(settings)
    Base.metadata.create_all(engine)
    with make_sessions(engine).begin() as session:
        session.add(Study(study_uid="1", first_received_at=database_now(-5), last_received_at=database_now(5.5)))
        session.flush()
        study = session.scalars(select(Study)).one()
        assert study.last_received_at - study.first_received_at == timedelta(seconds=10.5)
        assert abs(datetime.now(UTC) - study.first_received_at - timedelta(seconds=5)) < timedelta(seconds=2)
        assert session.scalar(select(Study.id).where(Study.first_received_at < database_now())) == study.id
        assert session.scalar(select(Study.id).where(Study.last_received_at < database_now())) is None
    engine.dispose()


def test_on_sqlite_writers_wait_for_each_other_and_readers_do_not(settings: Settings) -> None:
    engine = make_engine(settings)
    impatient = make_engine(settings)
    with engine.begin(), make_readers(engine)() as reader:
        assert reader.connection().exec_driver_sql("SELECT 1").scalar() == 1
        other = impatient.connect()
        other.connection.dbapi_connection.execute("PRAGMA busy_timeout = 10")
        with pytest.raises(OperationalError, match="locked"):
            other.begin()
        other.close()
    engine.dispose()
    impatient.dispose()


def _mode(engine: Engine) -> str:
    with engine.connect() as connection:
        return connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()


def test_a_new_ledger_whose_mode_another_process_changes_is_waited_for(settings: Settings) -> None:
    settings.data_dir.mkdir(parents=True)
    first = sqlite3.connect(sqlite_path(settings), isolation_level=None, check_same_thread=False)
    # as in the moment in which it turns to write-ahead logging: SQLite waits for nobody then
    first.execute("CREATE TABLE other (number INTEGER)")
    first.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        sqlite3.connect(sqlite_path(settings), timeout=60).execute("PRAGMA journal_mode=WAL")
    engine = make_engine(settings)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(_mode, engine)
        assert not wait([waiting], 0.3).done
        first.execute("COMMIT")
        assert waiting.result(10) == "wal"
    first.close()
    engine.dispose()


def test_a_ledger_that_fails_is_not_waited_for(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("db.base.time.sleep")
    settings.data_dir.mkdir(parents=True)
    sqlite_path(settings).write_bytes(b"no database" * 1000)
    engine = make_engine(settings)
    with pytest.raises(DatabaseError, match="not a database"):
        engine.connect()
    sqlite_path(settings).unlink()
    sqlite_path(settings).mkdir()
    with pytest.raises(OperationalError, match="unable to open"):
        engine.connect()
