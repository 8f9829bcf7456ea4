"""Fixtures every test may use: settings on a scratch folder, migrated ledgers, real servers."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import structlog
from redis import Redis
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.orm import Session, sessionmaker

from core.settings import Settings
from db.base import make_engine, make_sessions
from db.migrate import upgrade
from tests import programs, servers

# how long one example takes says more about the machine's load than about the code
hypothesis.settings.register_profile(
    "lungwatch", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("lungwatch")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("requires"):
        for program in marker.args:
            programs.require(program)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the developer's own environment and .env out of the tests."""
    for name in list(os.environ):
        if name.startswith("LUNGWATCH_") and not name.startswith(("LUNGWATCH_TEST_", "LUNGWATCH_SHARED_")):
            monkeypatch.delenv(name)
    monkeypatch.setitem(Settings.model_config, "env_file", None)


@pytest.fixture(autouse=True)
def _logging_as_found() -> Iterator[None]:
    """Take back what a command run in this process did to logging: its handler writes to a captured stream."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@pytest.fixture
def make_settings(tmp_path: Path) -> Callable[..., Settings]:
    """Build settings on this test's own data directory; keywords override."""

    def build(**overrides: Any) -> Settings:
        values: dict[str, Any] = {
            "data_dir": tmp_path / "data",
            "listen_host": "127.0.0.1",
            "listen_port": 0,
            "free_space_bytes": 0,
            "free_space_fraction": 0.0,
            "settle_seconds": 0.0,
        }
        return Settings(**{**values, **overrides})

    return build


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[servers.Server]:
    server = servers.postgres()
    yield server
    server.remove()


@pytest.fixture
def postgres_url(postgres_server: servers.Server) -> Iterator[str]:
    """An empty database of this test's own."""
    name = f"test_{secrets.token_hex(6)}"
    administration = create_engine(postgres_server.url, isolation_level="AUTOCOMMIT")
    with administration.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}"'))
    yield make_url(postgres_server.url).set(database=name).render_as_string(hide_password=False)
    with administration.connect() as connection:
        connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    administration.dispose()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[servers.Server]:
    server = servers.redis()
    yield server
    server.remove()


@pytest.fixture
def redis_url(redis_server: servers.Server) -> str:
    """A broker emptied for this test; a test that stops or hangs one starts its own `servers.redis()`."""
    with Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture(scope="session")
def rabbitmq_server() -> Iterator[servers.Server]:
    server = servers.rabbitmq()
    yield server
    server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_settings(request: pytest.FixtureRequest, make_settings: Callable[..., Settings]) -> Settings:
    """Settings for each of the two databases, nothing migrated."""
    if request.param == "sqlite":
        return make_settings()
    return make_settings(database_url=request.getfixturevalue("postgres_url"))


@pytest.fixture
def engine(ledger_settings: Settings) -> Iterator[Engine]:
    """A migrated, empty ledger on each of the two databases."""
    engine = make_engine(ledger_settings)
    upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def sqlite_engine(settings: Settings) -> Iterator[Engine]:
    """A migrated, empty SQLite ledger on this test's data directory, where the other database would add nothing."""
    engine = make_engine(settings)
    upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def sessions(engine: Engine) -> sessionmaker[Session]:
    return make_sessions(engine)
