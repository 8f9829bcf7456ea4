"""What people wait for reads indexes, not tables: the plans that each database really makes, statistics gathered."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.orm import Session

from db import claims, removal
from db.base import make_sessions, reading
from db.quarantine import quarantined
from db.queries import result, results
from db.receipts import unstored
from db.report import status
from db.retention_runs import claim as claim_run
from db.selection import labelled
from db.settling import due
from db.story import trace
from tests.factories.rows import digest

STUDIES: Final = 2000
# tables that grow with the images; the others stay small
LARGE: Final = ("study", "image", "receipt", "prediction", "flag", "labelled_image", "label")

_STATEMENTS: Final = {
    "study": "INSERT INTO study (id, study_uid, accession_number, patient_id, revision, outcome, first_received_at, "
    "last_received_at, settled_at) SELECT i, '1.2.' || i, 'A' || i, 'P' || i, 1, 'NOT_SUSPECTED', {at}, {at}, "
    "CASE WHEN i > {n} - 5 THEN NULL ELSE {at} END FROM n WHERE i <= {n}",
    "image": "INSERT INTO image (id, study_id, sop_instance_uid, sop_class_uid, transfer_syntax_uid, revision, "
    "receipt_sha256, dataset_sha256, master_digest, outcome, annotations) SELECT i, i, '1.3.' || i, '1', '1', 1, "
    "'f' || i, 'd' || i, 'm' || i, 'NOT_SUSPECTED', '[]' FROM n WHERE i <= {n}",
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
    "label": "INSERT INTO label (id, labelled_image_id, version, label, origin, made_at) "
    "SELECT i, i, 1, 'NORMAL', 'VERDICT', {at} FROM n WHERE i <= {n}",
}


@pytest.fixture
def full(engine: Engine) -> Engine:
    """A ledger with some thousand of each, from years ago to now, analysed."""
    if engine.dialect.name == "postgresql":
        at, pad = "(now() - make_interval(hours => 2000 - i))", "lpad(i::text, 10, '0')"
        series = "(SELECT generate_series(1, 2000) AS i)"
    else:
        at = "strftime('%Y-%m-%d %H:%M:%f000', 'now', (i - 2000) || ' hours')"
        pad = "printf('%010d', i)"
        series = "(WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 2000) SELECT i FROM c)"
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO model_version (id, name, version, origin, bundle_digest, location, architecture, "
            "preprocess_digest, threshold, manifest, registered_at) VALUES (1, 'n', '1', 'STARTER', 'd', 'starter', "
            "'a', 'p', 0.5, '{}', '2026-01-01 00:00:00.000000')"
        )
        for statement in _STATEMENTS.values():
            sql = statement.format(at=at, n=STUDIES, pad=pad, digest=digest("file"))
            sql = sql.replace("FROM n", f"FROM {series} n")
            connection.exec_driver_sql(sql.replace("%", "%%") if engine.dialect.name == "postgresql" else sql)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE" if engine.dialect.name == "sqlite" else "VACUUM ANALYZE")
    return engine


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


def _scans(engine: Engine, work: Callable[[Session], object]) -> list[str]:
    """Run some work and return which large tables its statements read from end to end."""
    sessions = make_sessions(reading(engine) if work not in WRITING else engine)
    with _statements(engine) as seen, sessions() as session:
        work(session)
    assert seen
    found = []
    prefix = "EXPLAIN " if engine.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN "
    with engine.connect() as connection:
        for statement, parameters in seen:
            if not statement.startswith(("SELECT", "INSERT", "UPDATE", "WITH")):
                continue
            plan = connection.exec_driver_sql(prefix + statement, parameters).all()
            lines = [" ".join(str(part) for part in row) for row in plan]
            found += [line.strip() for line in lines if _reads_a_table(line)]
    return found


def _reads_a_table(line: str) -> bool:
    # PostgreSQL: "Seq Scan on receipt r"; SQLite: "SCAN r" without "USING … INDEX"
    if seq := re.search(r"Seq Scan on (\w+)", line):
        return seq[1] in LARGE
    scan = re.search(r"\bSCAN (\w+)(?!.*INDEX)", line)
    return scan is not None and scan[1] not in {"CONSTANT", "anon_1", "w", "a", "k"} and "SUBQUERY" not in line


def _page_after_page(session: Session) -> None:
    (*_, last) = results(session, flagged=True, limit=5)
    assert results(session, flagged=True, limit=5, after=last)


def _newest(session: Session) -> None:
    (*_, last) = results(session, limit=5)
    assert results(session, limit=5, after=last)


def _retention(session: Session) -> None:
    before = removal.cutoff(session, 30)
    files = removal.removable_files(session, before, 20)
    assert len(removal.removable_files(session, before, 20, files[-1])) == 20
    assert removal.unfinished_files(session, 20) == []
    removal.needed_masters(session, [f"m{number}" for number in range(1, 21)], before)


def _claim(session: Session) -> None:
    assert len(claims.claim(session, 3, 60, ["l"])) == 3


WRITING = {_claim, claim_run}


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
        pytest.param(lambda session: quarantined(session, reason="TRUNCATED"), id="quarantine"),
        pytest.param(_retention, id="retention"),
    ],
)
def test_no_table_is_read_from_end_to_end(full: Engine, work: Callable[[Session], object]) -> None:
    assert _scans(full, work) == []


def test_such_a_reading_would_be_noticed(full: Engine) -> None:
    for statement in ("SELECT count(outcome) FROM study", "SELECT max(size) FROM receipt WHERE size > 5"):
        assert len(_scans(full, lambda session, statement=statement: session.execute(text(statement)))) == 1
