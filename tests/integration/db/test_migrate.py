from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from multiprocessing.pool import Pool

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, bindparam, inspect, select, text
from sqlalchemy.exc import ProgrammingError

from core.errors import Misconfigured, TransientFailure
from core.settings import Settings
from db import views
from db.answering import waits
from db.base import Base, Moment, make_engine, make_sessions
from db.champion_history import history
from db.commitments import copies
from db.migrate import _config, check, comparison_options, upgrade
from db.models.flag import Flag
from db.models.receipt import Receipt
from db.registry import champion
from tests.factories.rows import ago, entry


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_settings(request: pytest.FixtureRequest, make_settings: Callable[..., Settings]) -> Settings:
    """Settings for each of the two databases, nothing migrated."""
    if request.param == "sqlite":
        return make_settings()
    return make_settings(database_url=request.getfixturevalue("postgres_url"))


@pytest.fixture
def empty(empty_settings: Settings) -> Engine:
    engine = make_engine(empty_settings)
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
    monkeypatch.setattr(ScriptDirectory, "get_current_head", lambda _self: "0009")
    with pytest.raises(Misconfigured, match=r"outdated \(0008, this program needs 0009\).*lungwatch db upgrade"):
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


def test_a_ledger_of_the_first_release_keeps_its_rows(empty: Engine) -> None:
    with empty.begin() as connection:
        command.upgrade(_config(connection), "0001")
        # its own views, whatever they were: an upgrade drops them and makes them anew
        for name in views.NAMES:
            connection.execute(text(f"CREATE VIEW {name} AS SELECT 1 AS something"))
        moment = "2026-01-02 03:04:05.678900+00" if empty.dialect.name == "postgresql" else "2026-01-02 03:04:05.678900"
        connection.execute(
            text(
                "INSERT INTO study (id, study_uid, revision, outcome, first_received_at, last_received_at) "
                "VALUES (1, '1.2.3', 1, 'NOT_SUSPECTED', :moment, :moment)"
            ),
            {"moment": moment},
        )
        connection.execute(
            text(
                "INSERT INTO image (id, study_id, sop_instance_uid, sop_class_uid, transfer_syntax_uid, revision, "
                "receipt_sha256, outcome, annotations) VALUES (1, 1, '1.2.3.4', '1.2.840.10008.5.1.4.1.1.1', "
                "'1.2.840.10008.1.2', 1, :sha256, 'NOT_SUSPECTED', '[]')"
            ),
            {"sha256": entry(1).sha256},
        )
        connection.execute(
            text(
                "INSERT INTO receipt (id, entry, listener, incarnation, sequence, sha256, size, received_at, "
                "registered_at, due_at, urgency, state, attempts, study_id, image_id) VALUES (1, :entry, 'listener', "
                ":incarnation, 1, :sha256, 9, :moment, :moment, :moment, 10, 'CLASSIFIED', 1, 1, 1)"
            ),
            {
                "entry": entry(1).name,
                "incarnation": entry(1).incarnation,
                "sha256": entry(1).sha256,
                "moment": moment,
            },
        )
    with pytest.raises(Misconfigured, match="outdated"):
        check(empty)
    upgrade(empty)
    check(empty)
    with make_sessions(empty).begin() as session:
        assert session.get_one(Receipt, 1).sop_instance_uid is None
        # what the first release received can be vouched for
        (copy,) = copies(session, ["1.2.3.4"])["1.2.3.4"]
        assert (copy.sop_class_uid, copy.entry) == ("1.2.840.10008.5.1.4.1.1.1", entry(1))
        # and its registrar, still running, may go on
        session.execute(
            text(
                "INSERT INTO receipt (id, entry, listener, incarnation, sequence, sha256, size, received_at, "
                "registered_at, due_at, urgency, state, attempts) SELECT 2, :entry, listener, incarnation, 2, :sha256, "
                "size, received_at, registered_at, due_at, urgency, 'PENDING', 0 FROM receipt"
            ),
            {"entry": entry(2).name, "sha256": entry(2).sha256},
        )
        assert session.scalar(text("SELECT count(*) FROM flagged_result")) == 1


def test_the_champion_of_an_older_ledger_begins_the_history(empty: Engine) -> None:
    with empty.begin() as connection:
        command.upgrade(_config(connection), "0001")
        for name in views.NAMES:
            connection.execute(text(f"CREATE VIEW {name} AS SELECT 1 AS something"))
        moment = "2026-01-02 03:04:05.678900+00" if empty.dialect.name == "postgresql" else "2026-01-02 03:04:05.678900"
        connection.execute(
            text(
                "INSERT INTO model_version (id, name, version, origin, bundle_digest, location, architecture, "
                "preprocess_digest, threshold, manifest, registered_at) VALUES (7, 'starter', '1', 'STARTER', 'a', "
                "'starter', 'b', 'c', 0.5, '{}', :moment)"
            ),
            {"moment": moment},
        )
        connection.execute(
            text("INSERT INTO champion (id, model_version_id, fencing_token, since) VALUES (1, 7, 3, :moment)"),
            {"moment": moment},
        )
    upgrade(empty)
    with make_sessions(empty).begin() as session:
        (change,) = history(session)
        reign = champion(session)
        assert reign is not None
        assert (change.kind, change.new_model_version_id, change.fencing_token) == ("INSTALLED", 7, 3)
        assert (change.changed_at, reign.anchor_id) == (reign.since, 7)


def test_there_is_no_way_back_and_it_is_said_what_to_do(engine: Engine) -> None:
    with engine.begin() as connection, pytest.raises(Misconfigured, match="restore a backup"):
        command.downgrade(_config(connection), "-1")
    check(engine)


def test_what_readers_answered_before_is_known_after(empty: Engine) -> None:
    with empty.begin() as connection:
        command.upgrade(_config(connection), "0005")
        for statement in (
            (
                "INSERT INTO study (id, study_uid, revision, outcome, first_received_at, last_received_at) "
                "VALUES (1, '1.2.3', 1, 'SUSPECTED', :early, :early)"
            ),
            (
                "INSERT INTO study_revision (id, study_id, revision, outcome, settled_at, images) "
                "VALUES (1, 1, 1, 'SUSPECTED', :early, 1)"
            ),
            (
                "INSERT INTO verdict (study_revision_id, reader, read_at, verdict, model_visible, origin, entered_by, "
                "recorded_at, digest) VALUES (1, 'a', :read, 'PNEUMONIA', TRUE, 'COMMAND', 'root', :read, 'one')"
            ),
            (
                "INSERT INTO flag (id, study_id, study_revision, kind, priority, raised_at) VALUES "
                "(1, 1, 1, 'SUSPECTED', 10, :early), (2, 1, 1, 'CONFLICT', 10, :late)"
            ),
        ):
            connection.execute(
                text(statement).bindparams(
                    *(
                        bindparam(name, value, Moment())
                        for name, value in (("early", ago(50)), ("read", ago(40)), ("late", ago(30)))
                        if f":{name}" in statement
                    )
                )
            )
    upgrade(empty)
    with make_sessions(empty).begin() as session:
        assert session.scalars(select(Flag.id).where(waits())).all() == [2]
        assert session.get_one(Flag, 1).answered_at is not None


def _upgrade(settings: Settings) -> None:
    engine = make_engine(settings)
    upgrade(engine)
    check(engine)


@pytest.fixture(scope="module")
def four() -> Iterator[Pool]:
    """Four processes, started once: each imports as much as a command does."""
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        yield pool
        pool.close()
        pool.join()


def test_several_upgrades_at_once_all_succeed(empty_settings: Settings, four: Pool) -> None:
    four.map(_upgrade, [empty_settings] * 4, chunksize=1)


@pytest.mark.requires("postgres")
def test_an_unreachable_database_is_said_without_its_password(make_settings: Callable[..., Settings]) -> None:
    engine = make_engine(make_settings(database_url="postgresql://user:secret@127.0.0.1:1/none"))
    with pytest.raises(TransientFailure, match="does not answer") as caught:
        check(engine)
    assert "secret" not in str(caught.value)


def test_columns_of_the_views_are_the_same_on_both_databases(engine: Engine) -> None:
    columns = {name: [column["name"] for column in inspect(engine).get_columns(name)] for name in views.NAMES}
    assert columns["flagged_result"] == [*columns["study_result"], "receipt_id"]
    assert columns["reader_result"] == columns["study_result"]
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
