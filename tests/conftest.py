"""Fixtures every test may use: settings on a scratch folder, migrated ledgers, real servers."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import structlog
from redis import Redis
from sqlalchemy import Engine, make_url
from sqlalchemy.orm import Session, sessionmaker

from core.settings import Settings
from db.base import make_engine, make_sessions, sqlite_path
from db.migrate import upgrade
from tests import programs, servers

# how long one example takes says more about the machine's load than about the code
hypothesis.settings.register_profile(
    "lungwatch", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("lungwatch")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run first what takes longest: xdist gives each process a stretch, and who is done takes from another's end."""
    items.sort(
        key=lambda item: (
            item.get_closest_marker("tensorflow") is None,
            "/system/" not in item.nodeid,
            "/unit/" in item.nodeid,
        )
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("requires"):
        for program in marker.args:
            programs.require(program)


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    """Keep the developer's own environment and .env out of the tests, and of what is made once for all of them."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in list(os.environ):
            if name.startswith("LUNGWATCH_") and not name.startswith(("LUNGWATCH_TEST_", "LUNGWATCH_SHARED_")):
                monkeypatch.delenv(name)
        monkeypatch.setitem(Settings.model_config, "env_file", None)
        yield


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
            # each takes a second to start
            "helper_processes": 1,
        }
        return Settings(**{**values, **overrides})

    return build


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings()


@pytest.fixture(scope="module")
def few_resamples() -> Iterator[None]:
    """Draw few resamples for intervals, which have tests of their own: a thousand for every figure take seconds."""
    from training.examination.metrics import patient_weights  # noqa: PLC0415 - few tests train

    with pytest.MonkeyPatch.context() as monkeypatch:
        for module in ("examination.metrics", "examination.predictive", "examination.stress", "familiarity.noticing"):
            monkeypatch.setattr(
                f"training.{module}.patient_weights", lambda patients, _, seed: patient_weights(patients, 20, seed)
            )
        yield


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[servers.Server]:
    server = servers.postgres()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: servers.Server) -> Iterator[str]:
    """The name of a migrated, empty database to copy: migrating takes ten times as long."""
    with postgres_server.database() as url:
        _migrate(Settings(database_url=url))
        yield make_url(url).database


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite ledger to copy."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("migrated"))
    _migrate(settings)
    return sqlite_path(settings)


def _migrate(settings: Settings) -> None:
    engine = make_engine(settings)
    upgrade(engine)
    engine.dispose()


@pytest.fixture
def postgres_url(postgres_server: servers.Server) -> Iterator[str]:
    """An empty database of this test's own."""
    with postgres_server.database() as url:
        yield url


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
def ledger_settings(request: pytest.FixtureRequest, make_settings: Callable[..., Settings]) -> Iterator[Settings]:
    """Settings for a migrated, empty ledger on each of the two databases."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_settings")
        return
    server, template = (request.getfixturevalue(name) for name in ("postgres_server", "migrated_postgres"))
    with server.database(template) as url:
        yield make_settings(database_url=url)


@pytest.fixture
def sqlite_settings(settings: Settings, migrated_sqlite: Path) -> Settings:
    """Settings for a migrated, empty SQLite ledger, where the other database would add nothing."""
    settings.data_dir.mkdir(parents=True)
    shutil.copyfile(migrated_sqlite, sqlite_path(settings))
    return settings


@pytest.fixture
def engine(ledger_settings: Settings) -> Iterator[Engine]:
    """A migrated, empty ledger on each of the two databases."""
    engine = make_engine(ledger_settings)
    yield engine
    engine.dispose()


@pytest.fixture
def sqlite_engine(sqlite_settings: Settings) -> Iterator[Engine]:
    """A migrated, empty SQLite ledger on this test's data directory."""
    engine = make_engine(sqlite_settings)
    yield engine
    engine.dispose()


@pytest.fixture
def sessions(engine: Engine) -> sessionmaker[Session]:
    return make_sessions(engine)
