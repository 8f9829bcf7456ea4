"""The views people and BI tools query; docs/ledger.md describes their columns.

`study_result` has every study. `flagged_result` has what waits for a reader:
studies with an open flag that no verdict on their present revision answers,
and receipts that are unreadable or overdue and of which no study is known.
Between them stands `reader_result`, every study as a reader may see it: what
is to be read blind tells nothing of its score until somebody has read it.

The outcome is computed here from images and receipts, not copied from
`study.outcome`: a study never reads NOT_SUSPECTED while an instance of it is
unfinished or unreadable, whatever the processes that write did or failed to do.
OVERDUE is computed from the clock, so it shows even when nothing runs.

Views are code, not history: `db.migrate.upgrade` drops them before the
migrations and makes them anew after. Whoever changes one adds a migration
(empty, if no table changes) that carries the new `digest()`.
"""

from __future__ import annotations

import hashlib
from typing import Final

from db.answering import STANDING
from db.vocabulary import BLIND_FLAGS, FLAG_PRIORITY, GOOD_STATES, OUTCOME_PRECEDENCE, FlagKind, Outcome

# in the order they are dropped
NAMES: Final = ("flagged_result", "reader_result", "study_result")
DIALECTS: Final = ("postgresql", "sqlite")

_NOW: Final = {
    # stable within the statement, so that indexes on times serve
    "postgresql": "statement_timestamp()",
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f000', 'now')",
}

# How each database gets at a row's outcome and flags once, and at the prediction that decided. Written as SQLite
# needs it, which knows no LATERAL, PostgreSQL would read every prediction for every study.
_SHOWN: Final = {"postgresql": "o.shown", "sqlite": "s.shown"}
_FROM: Final = {
    "postgresql": """study s
CROSS JOIN LATERAL (SELECT {outcome} AS shown OFFSET 0) o
CROSS JOIN LATERAL (SELECT {flags} AS flags, min(k.priority) AS priority FROM {kinds}) f
LEFT JOIN LATERAL (SELECT p.* {deciding}) p ON TRUE""",
    "sqlite": """(SELECT s.*, {outcome} AS shown FROM study s) s
LEFT JOIN prediction p ON p.id = (SELECT p.id {deciding})""",
}

_ANNOTATIONS: Final = {
    "postgresql": """(SELECT coalesce(string_agg(w.word, ',' ORDER BY w.word), '') FROM (
        SELECT DISTINCT a.value AS word
        FROM image i CROSS JOIN LATERAL json_array_elements_text(i.annotations) AS a(value)
        WHERE i.study_id = s.id) w)""",
    "sqlite": """(SELECT coalesce(group_concat(w.word, ','), '') FROM (
        SELECT DISTINCT a.value AS word
        FROM image i CROSS JOIN json_each(i.annotations) a
        WHERE i.study_id = s.id ORDER BY 1) w)""",
}

_REASONS: Final = """(SELECT {join} FROM (
        SELECT i.reason AS word FROM image i
        WHERE i.study_id = s.id AND i.outcome = {shown} AND i.reason IS NOT NULL
        UNION SELECT r.reason FROM receipt r
        WHERE {shown} = 'NO_RESULT' AND r.study_id = s.id AND r.reason IS NOT NULL AND {unjudged}
        ORDER BY 1) w)"""
_JOIN: Final = {
    "postgresql": "string_agg(w.word, ',' ORDER BY w.word)",
    "sqlite": "group_concat(w.word, ',')",
}

# of a receipt r whose instance was not judged for its study: quarantined, and no other copy of the same image was
# read; or in conflict with an image that is in force in another study
_UNJUDGED: Final = f"""(r.state = 'QUARANTINED' AND NOT EXISTS (
            SELECT 1 FROM receipt better WHERE better.image_id = r.image_id AND better.study_id = r.study_id
            AND better.state IN ({", ".join(f"'{state}'" for state in GOOD_STATES)}))
        OR r.state = 'CONFLICT' AND EXISTS (
            SELECT 1 FROM image elsewhere WHERE elsewhere.id = r.image_id AND elsewhere.study_id <> r.study_id))"""  # noqa: S608 - constants

# The prediction in force of the image that decided: of each image the newest for its present revision
# (a header revision keeps the one it inherits; what re-scoring said beside it is passed over), of those the highest
# probability.
_DECIDING: Final = """FROM image i JOIN prediction p ON p.image_id = i.id
        WHERE i.study_id = s.id AND i.outcome = {shown} AND p.image_revision <= i.revision
        AND NOT p.beside AND NOT EXISTS (
            SELECT 1 FROM prediction newer
            WHERE newer.image_id = i.id AND newer.image_revision <= i.revision AND NOT newer.beside
            AND (newer.image_revision > p.image_revision
                 OR (newer.image_revision = p.image_revision AND newer.id > p.id)))
        ORDER BY p.probability DESC NULLS LAST, p.id LIMIT 1"""

# Of a flag f: a reader waits for it.
_WAITS: Final = "f.cleared_at IS NULL AND f.answered_at IS NULL"


def statements(dialect: str) -> list[str]:
    """Return the CREATE VIEW statements for ``postgresql`` or ``sqlite``, in order."""
    return [_study_result(dialect), _reader_result(), _flagged_result(dialect)]


def digest() -> str:
    """Return the SHA-256 of all statements; the newest migration carries it."""
    text = "\n".join(statement for dialect in DIALECTS for statement in statements(dialect))
    return hashlib.sha256(text.encode()).hexdigest()


def _outcome() -> str:
    also = {
        Outcome.NO_RESULT: f"OR EXISTS (SELECT 1 FROM receipt r WHERE r.study_id = s.id AND {_UNJUDGED})",  # noqa: S608
        Outcome.PENDING: "OR EXISTS (SELECT 1 FROM receipt r WHERE r.study_id = s.id AND r.state = 'PENDING')",
    }
    cases = "\n        ".join(
        f"WHEN EXISTS (SELECT 1 FROM image i WHERE i.study_id = s.id AND i.outcome = '{outcome}') "  # noqa: S608
        f"{also.get(outcome, '')} THEN '{outcome}'"
        for outcome in OUTCOME_PRECEDENCE
    )
    # nothing of its own in force and nothing to come: every image it brought is in force in another study
    return f"CASE\n        {cases}\n        ELSE 'NO_RESULT' END"


def _kinds(dialect: str) -> str:
    return f"""(SELECT g.kind AS kind, CASE WHEN g.answered_at IS NULL THEN g.priority END AS priority FROM flag g
        WHERE g.study_id = s.id AND g.cleared_at IS NULL
        UNION ALL SELECT 'OVERDUE', {FLAG_PRIORITY[FlagKind.OVERDUE]} FROM receipt r
        WHERE r.study_id = s.id AND r.state = 'PENDING' AND r.due_at < {_NOW[dialect]}) k"""  # noqa: S608 - constants


def _by_priority() -> list[FlagKind]:
    return sorted(FlagKind, key=lambda kind: FLAG_PRIORITY[kind])


def _study_result(dialect: str) -> str:
    shown = _SHOWN[dialect]
    words = " || ".join(f"coalesce(max(CASE k.kind WHEN '{kind}' THEN '{kind},' END), '')" for kind in _by_priority())
    flags, kinds = f"rtrim({words}, ',')", _kinds(dialect)
    in_place = dialect == "sqlite"
    reasons = _REASONS.format(join=_JOIN[dialect], unjudged=_UNJUDGED, shown=shown)
    source = _FROM[dialect].format(outcome=_outcome(), deciding=_DECIDING.format(shown=shown), flags=flags, kinds=kinds)
    decided = f"CASE WHEN {shown} IN ('SUSPECTED', 'NOT_SUSPECTED') THEN"
    return f"""CREATE VIEW study_result AS
SELECT
    s.id AS study_id,
    s.study_uid AS study_uid,
    s.accession_number AS accession_number,
    s.patient_id AS patient_id,
    s.study_date AS study_date,
    {shown} AS outcome,
    {reasons} AS reason,
    {decided} p.probability END AS probability,
    {decided} p.probability_threshold END AS threshold,
    {decided} p.score END AS score,
    {decided} p.threshold END AS score_threshold,
    {f"(SELECT {flags} FROM {kinds})" if in_place else "f.flags"} AS flags,
    {_ANNOTATIONS[dialect]} AS annotations,
    {f"(SELECT min(k.priority) FROM {kinds})" if in_place else "f.priority"} AS priority,
    m.name || ' ' || m.version AS model_version,
    s.first_received_at AS received_at,
    s.last_received_at AS last_received_at,
    s.settled_at AS settled_at,
    s.revision AS revision
FROM {source}
LEFT JOIN model_version m ON m.id = p.model_version_id"""  # noqa: S608 - nothing but constants of this module


def _reader_result() -> str:
    # drawn for blind review, and still without a verdict on any of its revisions
    unread = f"NOT EXISTS (SELECT 1 FROM {STANDING} AND n.study_id = v.study_id)"  # noqa: S608
    blind = f"CASE WHEN v.flags LIKE '%AUDIT%' AND {unread} THEN"
    shown = sorted(BLIND_FLAGS, key=lambda kind: FLAG_PRIORITY[kind])
    words = " || ".join(f"CASE WHEN v.flags LIKE '%{kind}%' THEN '{kind},' ELSE '' END" for kind in shown)
    hidden = ",\n    ".join(
        f"{blind} NULL ELSE v.{column} END AS {column}"
        for column in ("outcome", "reason", "probability", "threshold", "score", "score_threshold")
    )
    return f"""CREATE VIEW reader_result AS
SELECT
    v.study_id, v.study_uid, v.accession_number, v.patient_id, v.study_date,
    {hidden},
    {blind} rtrim({words}, ',') ELSE v.flags END AS flags,
    {blind} '' ELSE v.annotations END AS annotations,
    v.priority,
    {blind} NULL ELSE v.model_version END AS model_version,
    v.received_at, v.last_received_at, v.settled_at, v.revision
FROM study_result v"""  # noqa: S608 - constants


def _flagged_result(dialect: str) -> str:
    now = _NOW[dialect]
    # flagged and merely overdue studies apart: of two plain IN, each database can begin with the few studies asked for
    return f"""CREATE VIEW flagged_result AS
SELECT v.*, CAST(NULL AS integer) AS receipt_id
FROM reader_result v
WHERE v.study_id IN (SELECT f.study_id FROM flag f WHERE {_WAITS})
UNION ALL
SELECT v.*, CAST(NULL AS integer)
FROM reader_result v
WHERE v.study_id IN (
    SELECT r.study_id FROM receipt r WHERE r.state = 'PENDING' AND r.due_at < {now} AND r.study_id IS NOT NULL)
AND NOT EXISTS (SELECT 1 FROM flag f WHERE f.study_id = v.study_id AND {_WAITS})
UNION ALL
{_lone_receipts(Outcome.NO_RESULT, FlagKind.NO_RESULT, "r.state = 'QUARANTINED'")}
UNION ALL
{_lone_receipts(Outcome.PENDING, FlagKind.OVERDUE, f"r.state = 'PENDING' AND r.due_at < {now}")}"""  # noqa: S608


def _lone_receipts(outcome: Outcome, kind: FlagKind, condition: str) -> str:
    return f"""SELECT
    CAST(NULL AS integer), CAST(NULL AS varchar), CAST(NULL AS varchar), CAST(NULL AS varchar), CAST(NULL AS date),
    CAST('{outcome}' AS varchar), r.reason, CAST(NULL AS double precision), CAST(NULL AS double precision),
    CAST(NULL AS double precision), CAST(NULL AS double precision), CAST('{kind}' AS varchar), CAST('' AS varchar),
    {FLAG_PRIORITY[kind]}, CAST(NULL AS varchar), r.received_at, r.received_at,
    CAST(NULL AS timestamp with time zone), CAST(NULL AS integer), r.id
FROM receipt r WHERE r.study_id IS NULL AND {condition}"""  # noqa: S608 - constants
