from __future__ import annotations

import multiprocessing
from collections.abc import Callable

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import ProgrammingError

from core.errors import Misconfigured, TransientFailure
from core.settings import Settings
from db import views
from db.base import Base, make_engine
from db.migrate import check, comparison_options, upgrade


@pytest.fixture
def empty(ledger_settings: Settings) -> Engine:
    engine = make_engine(ledger_settings)
    yield engine
    engine.dispose()


def test_models_and_migrated_schema_are_the_same(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=dict(comparison_options()))
        assert compare_metadata(context, Base.metadata) == []


def test_the_newest_migration_carries_the_digest_of_the_views() -> None:
    script = ScriptDirectory("db/migrations")
    newest = script.get_revision(script.get_current_head())
    assert views.digest() == newest.module.VIEWS, "a view changed: add a migration with the new db.views.digest()"


def test_upgrade_again_changes_nothing(engine: Engine) -> None:
    upgrade(engine)
    check(engine)


def test_check_names_the_command_where_there_are_no_tables(empty: Engine) -> None:
    with pytest.raises(Misconfigured, match="lungwatch db upgrade"):
        check(empty)


def test_check_names_the_command_where_the_schema_is_outdated(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ScriptDirectory, "get_current_head", lambda _self: "0002")
    with pytest.raises(Misconfigured, match=r"outdated \(0001, this program needs 0002\).*lungwatch db upgrade"):
        check(engine)


@pytest.mark.parametrize("act", [check, upgrade])
def test_a_newer_schema_is_refused(engine: Engine, act: Callable[[Engine], None]) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Misconfigured, match="not one this program knows"):
        act(engine)


def test_check_misses_a_view(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("DROP VIEW flagged_result"))
    with pytest.raises(Misconfigured, match="flagged_result"):
        check(engine)


def test_a_failing_migration_leaves_the_old_schema(empty: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "statements", lambda _dialect: ["CREATE VIEW study_result AS nonsense"])
    with pytest.raises((TransientFailure, ProgrammingError)):
        upgrade(empty)
    assert inspect(empty).get_table_names() == []


def _upgrade(settings: Settings) -> None:
    engine = make_engine(settings)
    upgrade(engine)
    check(engine)


def test_several_upgrades_at_once_all_succeed(ledger_settings: Settings) -> None:
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(4) as pool:
        pool.map(_upgrade, [ledger_settings] * 4)
        pool.close()
        pool.join()


@pytest.mark.requires("postgres")
def test_an_unreachable_database_is_said_without_its_password(make_settings: Callable[..., Settings]) -> None:
    engine = make_engine(make_settings(database_url="postgresql://user:secret@127.0.0.1:1/none"))
    with pytest.raises(TransientFailure, match="does not answer") as caught:
        check(engine)
    assert "secret" not in str(caught.value)


def test_columns_of_the_views_are_the_same_on_both_databases(engine: Engine) -> None:
    columns = {name: [column["name"] for column in inspect(engine).get_columns(name)] for name in views.NAMES}
    assert columns["flagged_result"] == [*columns["study_result"], "receipt_id"]
    assert columns["study_result"] == [
        "study_id",
        "study_uid",
        "accession_number",
        "patient_id",
        "study_date",
        "outcome",
        "reason",
        "probability",
        "threshold",
        "score",
        "score_threshold",
        "flags",
        "annotations",
        "priority",
        "model_version",
        "received_at",
        "last_received_at",
        "settled_at",
        "revision",
    ]
