"""What people wait for reads indexes, not tables: the plans that each database really makes, statistics gathered."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.orm import Session

from core.settings import Settings
from db import claims, drift, removal, rescoring, shadow
from db.backlog import backlog
from db.base import make_engine, make_sessions
from db.migrate import upgrade
from db.quarantine import quarantined
from db.queries import result, results
from db.receipts import unstored
from db.report import status
from db.rescoring import queue
from db.selection import labelled
from db.settling import due
from db.story import trace
from db.vocabulary import Outcome
from tests.factories.rows import digest

STUDIES: Final = 20_000
# tables that grow with the images; the others stay small
LARGE: Final = ("study", "image", "receipt", "prediction", "flag", "labelled_image", "label", "rescoring")

_STATEMENTS: Final = {
    "study": "INSERT INTO study (id, study_uid, accession_number, patient_id, revision, outcome, first_received_at, "
    "last_received_at, settled_at) SELECT i, '1.2.' || i, 'A' || i, 'P' || i, 1, 'NOT_SUSPECTED', {at}, {at}, "
    "CASE WHEN i > {n} - 5 THEN NULL ELSE {at} END FROM n WHERE i <= {n}",
    "image": "INSERT INTO image (id, study_id, sop_instance_uid, sop_class_uid, transfer_syntax_uid, revision, "
    "receipt_sha256, dataset_sha256, master_digest, input_digest, outcome, annotations) SELECT i, i, '1.3.' || i, '1', "
    "'1', 1, 'f' || i, 'd' || i, 'm' || i, 'i' || i, 'NOT_SUSPECTED', '[]' FROM n WHERE i <= {n}",
    "prediction": "INSERT INTO prediction (id, image_id, image_revision, model_version_id, preprocess_digest, "
    "master_digest, input_digest, outcome, threshold, runtime, code_version, created_at) SELECT i, i, 1, 1, 'p', "
    "'m' || i, 'i' || i, 'NOT_SUSPECTED', 0.5, 'r', 'c', {at} FROM n WHERE i <= {n}",
    "receipt": "INSERT INTO receipt (id, entry, listener, incarnation, sequence, sha256, size, sop_instance_uid, "
    "received_at, registered_at, due_at, urgency, state, attempts, finished_at, stored_at, study_id, image_id) "
    "SELECT i, '0123456789ab00000001-' || {pad} || '-' || '{digest}', 'l', 'x', i, 'f' || i, 1, '1.3.' || i, {at}, "
    "{at}, {at}, 10, CASE WHEN i > {n} - 5 THEN 'PENDING' WHEN i % 500 = 0 THEN 'QUARANTINED' ELSE 'CLASSIFIED' END, "
    "1, CASE WHEN i > {n} - 5 THEN NULL ELSE {at} END, CASE WHEN i > {n} - 5 THEN NULL ELSE {at} END, i, i "
    "FROM n WHERE i <= {n}",
    "flag": "INSERT INTO flag (id, study_id, study_revision, kind, priority, received_at, raised_at, cleared_at) "
    "SELECT i, i, 1, 'SUSPECTED', 10, {at}, {at}, CASE WHEN i % 100 = 0 THEN NULL ELSE {at} END FROM n WHERE i <= {n}",
    "labelled_image": "INSERT INTO labelled_image (id, master_digest, patient_digest, added_at) "
    "SELECT i, 'm' || i, 'p' || i, {at} FROM n WHERE i <= {n}",
    "rescoring": "INSERT INTO rescoring (model_version_id, image_id, state, attempts, queued_at, finished_at) "
    "SELECT 1, i, 'DONE', 1, {at}, {at} FROM n WHERE i <= {n}",
    "label": "INSERT INTO label (id, labelled_image_id, version, label, origin, made_at) "
    "SELECT i, i, 1, 'NORMAL', 'VERDICT', {at} FROM n WHERE i <= {n}",
}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def full(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A ledger with some thousand of each, from years ago to now, analysed; nothing here changes it."""
    # under work stealing pytest may make a module's fixture more than once
    database = request.getfixturevalue("postgres_server").database() if request.param == "postgresql" else nullcontext()
    with database as url:
        engine = make_engine(Settings(data_dir=tmp_path_factory.mktemp("plans"), database_url=url))
        upgrade(engine)
        _fill(engine)
        yield engine
        engine.dispose()


def _fill(engine: Engine) -> None:
    if engine.dialect.name == "postgresql":
        at, pad = "(now() - make_interval(hours => {n} - i))", "lpad(i::text, 10, '0')"
        series = "(SELECT generate_series(1, {n}) AS i)"
    else:
        at = "strftime('%Y-%m-%d %H:%M:%f000', 'now', (i - {n}) || ' hours')"
        pad = "printf('%010d', i)"
        series = "(WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < {n}) SELECT i FROM c)"
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO model_version (id, name, version, origin, bundle_digest, location, architecture, "
            "preprocess_digest, threshold, manifest, registered_at) VALUES "
            "(1, 'n', '1', 'STARTER', 'd', 'starter', 'a', 'p', 0.5, '{}', '2026-01-01 00:00:00.000000'), "
            "(2, 'n', '2', 'TRAINED', 'e', 'second', 'a', 'p', 0.5, '{}', '2026-01-01 00:00:00.000000')"
        )
        connection.exec_driver_sql(
            "INSERT INTO champion (id, model_version_id, fencing_token, since) "
            "VALUES (1, 2, 1, '2026-01-01 00:00:00.000000')"
        )
        for statement in _STATEMENTS.values():
            sql = statement.format(at=at, n="{n}", pad=pad, digest=digest("file"))
            sql = sql.replace("FROM n", f"FROM {series} n").replace("{n}", str(STUDIES))
            connection.exec_driver_sql(sql.replace("%", "%%") if engine.dialect.name == "postgresql" else sql)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE" if engine.dialect.name == "sqlite" else "VACUUM ANALYZE")


@contextmanager
def _statements(engine: Engine) -> Iterator[list[tuple[str, Any]]]:
    """Note what is executed."""
    seen: list[tuple[str, Any]] = []

    def note(_c: Connection, _u: Any, statement: str, parameters: Any, _x: Any, _m: bool) -> None:
        seen.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


def _read_whole(engine: Engine, work: Callable[[Session], object]) -> list[str]:
    """Run some work and return which large tables its statements read from end to end, or a tenth of them."""
    with _statements(engine) as seen, make_sessions(engine)() as session:
        work(session)
    explain = _rows_read if engine.dialect.name == "postgresql" else _scans
    # nothing that a writing statement does again here is committed
    with engine.connect() as connection:
        asked = [one for one in seen if one[0].startswith(("SELECT", "INSERT", "UPDATE", "WITH"))]
        assert asked
        return [found for statement, parameters in asked for found in explain(connection, statement, parameters)]


def _rows_read(connection: Connection, statement: str, parameters: Any) -> list[str]:
    plan = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}", parameters).scalar()
    read: Counter[str] = Counter()
    for node in _nodes(plan[0]["Plan"]):
        passed_over = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
        if node.get("Relation Name") in LARGE:
            read[node["Relation Name"]] += (node["Actual Rows"] + passed_over) * node["Actual Loops"]
    return [f"{table}: {rows} rows" for table, rows in read.items() if rows > STUDIES / 10]


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


def _scans(connection: Connection, statement: str, parameters: Any) -> list[str]:
    plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
    scanned = [re.match(r"SCAN (\w+)(.*)", row[3]) for row in plan]
    # by its alias in a view, or numbered by SQLAlchemy
    return [
        found[0]
        for found in scanned
        if found and " INDEX " not in found[2] and re.sub(r"_\d+$", "", found[1]) in {*LARGE, *"sirpgfv"}
    ]


def _page_after_page(session: Session) -> None:
    (*_, last) = results(session, flagged=True, limit=5)
    assert results(session, flagged=True, limit=5, after=last)


def _newest(session: Session) -> None:
    (*_, last) = results(session, limit=5)
    assert results(session, limit=5, after=last)


def _retention(session: Session) -> None:
    before = removal.cutoff(session, 30)
    files, mark = removal.removable_files(session, before)
    assert files
    assert removal.removable_files(session, before, mark)[0]
    assert removal.unfinished_files(session, 20) == []
    removal.needed_masters(session, [f"m{number}" for number in range(1, 21)], before)


def _drift(session: Session) -> None:
    today = datetime.now(UTC).date()
    # as for retention below: what is looked at at once is a small share; whole days, the same at any hour
    chosen = drift.days(session, today - timedelta(days=2), today - timedelta(days=1), STUDIES)
    assert 40 < chosen.studies < 60
    assert len(list(drift.images(session, chosen))) == chosen.studies
    assert len(drift.flagged(session, chosen)) == chosen.studies
    assert len(drift.days(session, today - timedelta(days=28), today, 100).looked_at) <= 100
    list(drift.read(session, chosen))
    assert drift.first_day(session)


def _claim(session: Session) -> None:
    assert len(claims.claim(session, 3, 60, ["l"])) == 3
    session.rollback()


def _rescore(session: Session) -> None:
    # of twenty thousand studies, one an hour until now
    assert queue(session, 1, 2) == 0
    assert queue(session, 2, 2) == 48
    held = rescoring.claim(session, 2, 8, 60)
    assert len(held) == 8
    assert rescoring.why_not(session, held[0], 2) is None
    session.rollback()


def _shadow(session: Session) -> None:
    since = datetime.now(UTC) - timedelta(days=2)
    live, mark = shadow.unscored(session, 2, since)
    assert len(live) == 48
    assert shadow.unscored(session, 2, since, mark) == ([], None)
    shadow.note(session, 2, [shadow.Said(one.image_id, 1, Outcome.SUSPECTED, 0.9) for one in live])
    assert shadow.tally(session, 2, 1, since).champion_suspected == 0
    session.rollback()


@pytest.mark.parametrize(
    "work",
    [
        pytest.param(_page_after_page, id="worklist"),
        pytest.param(_newest, id="newest studies"),
        pytest.param(lambda session: trace(session, "A77"), id="a study by accession number"),
        pytest.param(lambda session: result(session, "1.2.77"), id="a study by its UID"),
        pytest.param(lambda session: labelled(session, 20, 1000), id="nightly selection"),
        pytest.param(_claim, id="claim"),
        pytest.param(lambda session: due(session, 60, 100), id="settle"),
        pytest.param(lambda session: unstored(session, 200), id="sweep"),
        pytest.param(status, id="status"),
        pytest.param(backlog, id="backlog"),
        pytest.param(lambda session: quarantined(session, reason="TRUNCATED"), id="quarantine"),
        pytest.param(_retention, id="retention"),
        pytest.param(_drift, id="drift"),
        pytest.param(_rescore, id="re-scoring"),
        pytest.param(_shadow, id="shadow"),
    ],
)
def test_no_table_is_read_from_end_to_end(
    full: Engine, work: Callable[[Session], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    # what retention looks at at once is a small share of a ledger of a real size, as here
    monkeypatch.setattr(removal, "_LOOK_AT", 100)
    assert _read_whole(full, work) == []


def test_such_a_reading_would_be_noticed(full: Engine) -> None:
    for statement in ("SELECT sum(revision) FROM study", "SELECT sum(size) FROM receipt WHERE size > 5"):
        assert len(_read_whole(full, lambda session, said=statement: session.execute(text(said)))) == 1
