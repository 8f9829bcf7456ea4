"""A ledger of many images made quickly: rows are computed by the database itself, indexes are built afterwards.

Two images a study, the second mostly a lateral view and so out of scope; three
years of service up to now, the last days unread by anybody, the last minutes
still waiting. Stored files older than a year were removed by policy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Engine, text

_CHUNK: Final = 500_000
_INCARNATION: Final = "0123456789ab00000001"
# what a number is by its place: a multiplier that scatters it over 0 to 999
_DRAW: Final = "((i * 2654435761) % 1000003 % 1000)"
_SHA: Final = "encode(sha256(convert_to('{0}' || i, 'UTF8')), 'hex')"


def _sha(what: str) -> str:
    return _SHA.format(what)


@dataclass(frozen=True, slots=True)
class Size:
    """How large a ledger.

    Attributes
    ----------
    images : int
    pending : int
        Receipts at the end that no worker has read.
    unread : int
        Studies at the end whose flags nobody has cleared.
    years : float
        That the images are spread over.
    """

    images: int
    pending: int
    unread: int
    years: float = 3.0

    @classmethod
    def of(cls, images: int) -> Size:
        """Return what fits this many images: about ten days unread, minutes pending."""
        return cls(images, min(2_000, images // 50), images // 200)

    @property
    def studies(self) -> int:
        """Two images each."""
        return self.images // 2


def load(engine: Engine, size: Size, tell: Callable[[str], None]) -> None:
    """Fill an empty, migrated ledger, in one transaction, and have it analysed.

    Parameters
    ----------
    engine : Engine
        For a superuser of PostgreSQL: references are not checked row by row.
    """
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        indexes = connection.execute(
            text(
                "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' "
                "AND indexdef LIKE 'CREATE INDEX%'"
            )
        ).all()
        for row in indexes:
            connection.execute(text(f'DROP INDEX "{row.indexname}"'))
        filled = ", ".join(sorted({table for table, *_ in _TABLES}))
        connection.execute(text(f"TRUNCATE {filled} CASCADE"))
        connection.execute(text(_MODEL))
        for table, columns, select, count in _TABLES:
            total = count(size)
            for first in range(1, total + 1, _CHUNK):
                last = min(first + _CHUNK - 1, total)
                tell(f"{table} {last:,} of {total:,}")
                statement = f"INSERT INTO {table} ({columns}) {select}"
                connection.execute(
                    text(statement),
                    {
                        "first": first,
                        "last": last,
                        "images": size.images,
                        "pending": size.pending,
                        "unread": size.unread,
                        "step": size.years * 365 * 86_400 / size.images,
                    },
                )
        for row in indexes:
            tell(f"index {row.indexname}")
            connection.execute(text(row.indexdef))
        for table in ("study", "image", "receipt", "prediction", "flag", "study_revision", "labelled_image", "label"):
            connection.execute(text(f"SELECT setval('{table}_id_seq', (SELECT max(id) FROM {table}))"))  # noqa: S608
    tell("vacuum analyze")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("VACUUM (ANALYZE)"))


_MODEL: Final = """WITH model AS (
    INSERT INTO model_version (id, name, version, origin, bundle_digest, location, architecture, preprocess_digest,
        threshold, manifest, registered_at)
    VALUES (1, 'bench', '1', 'STARTER', repeat('0', 64), 'starter', 'none', repeat('1', 64), 0.5, '{}', now())
    ON CONFLICT DO NOTHING RETURNING id)
INSERT INTO champion (id, model_version_id, fencing_token, since) SELECT 1, id, 1, now() FROM model
ON CONFLICT DO NOTHING"""

# of image i: when it came, and what became of it
_RECEIVED: Final = "now() - make_interval(secs => (:images - i) * :step)"
_STATE: Final = f"""CASE WHEN i > :images - :pending THEN 'PENDING'
    WHEN i % 2 = 0 AND {_DRAW} < 800 THEN 'OUT_OF_SCOPE'
    WHEN {_DRAW} % 100 = 0 THEN 'QUARANTINED' ELSE 'CLASSIFIED' END"""
_OUTCOME: Final = f"""CASE WHEN i % 2 = 0 AND {_DRAW} < 800 THEN 'OUT_OF_SCOPE'
    WHEN {_DRAW} % 100 = 0 THEN 'NO_RESULT' WHEN {_DRAW} % 5 = 1 THEN 'SUSPECTED' ELSE 'NOT_SUSPECTED' END"""
_JUDGED: Final = f"(NOT (i % 2 = 0 AND {_DRAW} < 800) AND {_DRAW} % 100 <> 0)"
_SERIES: Final = "FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) i"
_READ: Final = "i <= :images - :pending"
_CLEARED: Final = "CASE WHEN {study} <= (:images / 2) - :unread AND {draw} % 200 <> 3 THEN {at} + interval '1 day' END"


def _receipt(select_more: str, serial: str, state: str, condition: str) -> str:
    finished = f"CASE WHEN i <= :images - :pending THEN {_RECEIVED} + interval '2 seconds' END"
    removed = f"CASE WHEN i < :images * 0.66 AND {state} <> 'QUARANTINED' THEN"
    return f"""SELECT '{_INCARNATION}-' || lpad(({serial})::text, 10, '0') || '-' || {_sha("file")}, 'listener',
        '{_INCARNATION}', {serial}, {_sha("file")}, 9000000 + i % 7000000, 'PACS', '1.2.840.10008.5.1.4.1.1.1.1',
        '1.2.826.0.1.3680043.10.1.' || (1000000000 + i), {_RECEIVED}, {_RECEIVED} + interval '1 second',
        {_RECEIVED} + interval '15 minutes', CASE WHEN i % 50 = 0 THEN 0 ELSE 10 END, {state},
        {select_more}, {finished}, {finished}, {removed} 'STORED_DAYS=365' END, {removed} {_RECEIVED} + interval '365 days' END,
        CASE WHEN i <= :images - :pending AND NOT ({state} = 'QUARANTINED' AND i % 3 = 0) THEN (i + 1) / 2 END,
        CASE WHEN i <= :images - :pending AND NOT ({state} = 'QUARANTINED' AND i % 3 = 0) THEN i END
    {_SERIES} WHERE {condition}"""  # noqa: E501 - constants


_RECEIPT_COLUMNS: Final = (
    "entry, listener, incarnation, sequence, sha256, size, peer, sop_class_uid, sop_instance_uid, received_at, "
    "registered_at, due_at, urgency, state, reason, attempts, finished_at, stored_at, removal_policy, removed_at, "
    "study_id, image_id"
)

# table, columns, SELECT for the numbers first to last, how many
_TABLES: Final[list[tuple[str, str, str, Callable[[Size], int]]]] = [
    (
        "study",
        (
            "id, study_uid, accession_number, patient_id, study_date, revision, outcome, first_received_at, "
            "last_received_at, settled_at"
        ),
        f"""SELECT s, '1.2.826.0.1.3680043.10.2.' || (1000000000 + s), 'A' || (10000000 + s), 'P' || (s % 900000),
            CAST({_RECEIVED} AS date), 1, CASE WHEN {_OUTCOME} = 'OUT_OF_SCOPE' THEN 'NOT_SUSPECTED' ELSE {_OUTCOME} END,
            {_RECEIVED}, {_RECEIVED} + interval '10 seconds',
            CASE WHEN {_READ} AND i < :images - :pending - 200 THEN {_RECEIVED} + interval '75 seconds' END
        FROM (SELECT s, 2 * s - 1 AS i FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) s) n
        WHERE {_READ}""",  # noqa: S608, E501
        lambda size: size.studies,
    ),
    (
        "study_revision",
        "study_id, revision, outcome, settled_at, images",
        f"""SELECT s, 1, {_OUTCOME}, {_RECEIVED} + interval '75 seconds', 2
        FROM (SELECT s, 2 * s - 1 AS i FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) s) n
        WHERE {_READ} AND i < :images - :pending - 200""",  # noqa: S608
        lambda size: size.studies,
    ),
    (
        "image",
        (
            "id, study_id, sop_instance_uid, sop_class_uid, series_uid, transfer_syntax_uid, revision, receipt_sha256, "
            "dataset_sha256, outcome, reason, annotations, modality, body_part, view, patient_age_days, patient_sex, "
            "rows, columns, pixels_digest, master_digest, input_digest"
        ),
        f"""SELECT i, (i + 1) / 2, '1.2.826.0.1.3680043.10.1.' || (1000000000 + i), '1.2.840.10008.5.1.4.1.1.1.1',
            '1.2.826.0.1.3680043.10.3.' || (1000000000 + i), '1.2.840.10008.1.2.1', 1, {_sha("file")}, {_sha("dataset")},
            {_OUTCOME}, CASE {_OUTCOME} WHEN 'OUT_OF_SCOPE' THEN 'VIEW' WHEN 'NO_RESULT' THEN 'TRUNCATED' END,
            CAST('["UNKNOWN_VIEW"]' AS json), 'DX', 'CHEST', CASE WHEN i % 2 = 1 THEN 'AP' ELSE 'LATERAL' END, 1000, 'M',
            3000, 2500, CASE WHEN {_JUDGED} THEN {_sha("pixels")} END, CASE WHEN {_JUDGED} THEN {_sha("master")} END,
            CASE WHEN {_JUDGED} THEN {_sha("input")} END
        {_SERIES} WHERE {_READ}""",  # noqa: E501
        lambda size: size.images,
    ),
    (
        "prediction",
        (
            "image_id, image_revision, model_version_id, preprocess_digest, master_digest, input_digest, outcome, "
            "score, probability, prevalence, prevalence_offset, threshold, probability_threshold, runtime, "
            "code_version, created_at"
        ),
        f"""SELECT i, 1, 1, repeat('1', 64), {_sha("master")}, {_sha("input")}, {_OUTCOME}, {_DRAW} / 1000.0,
            {_DRAW} / 1000.0, 0.05, -2.9, 0.5, 0.4, 'litert', '0.1.0', {_RECEIVED} + interval '2 seconds'
        {_SERIES} WHERE {_READ} AND {_JUDGED}""",
        lambda size: size.images,
    ),
    (
        "receipt",
        _RECEIPT_COLUMNS,
        _receipt(
            f"CASE {_STATE} WHEN 'OUT_OF_SCOPE' THEN 'VIEW' WHEN 'QUARANTINED' THEN 'TRUNCATED' END, 1",
            "i",
            _STATE,
            "true",
        ),
        lambda size: size.images,
    ),
    (
        # one in twenty was sent twice
        "receipt",
        _RECEIPT_COLUMNS,
        _receipt("NULL, 1", ":images + i", "'DUPLICATE'", f"i % 20 = 0 AND {_READ}"),
        lambda size: size.images,
    ),
    (
        "flag",
        "study_id, image_id, study_revision, kind, priority, received_at, raised_at, cleared_at",
        f"""SELECT (i + 1) / 2, i, 1, k.kind, k.priority, study_at, {_RECEIVED} + interval '2 seconds',
            {_CLEARED.format(study="(i + 1) / 2", draw=_DRAW, at=_RECEIVED)}
        {_SERIES}
        CROSS JOIN LATERAL (SELECT now() - make_interval(secs => (:images - (i - (i + 1) % 2)) * :step) AS study_at) t
        CROSS JOIN LATERAL (VALUES ('SUSPECTED', 10, {_OUTCOME} = 'SUSPECTED'), ('NO_RESULT', 30, {_OUTCOME} = 'NO_RESULT'),
            ('UNCERTAIN', 50, {_JUDGED} AND {_DRAW} % 17 = 5)) k (kind, priority, stands)
        WHERE {_READ} AND k.stands""",  # noqa: E501
        lambda size: size.images,
    ),
    (
        # one study in fifty is drawn to be read blind
        "flag",
        "study_id, image_id, study_revision, kind, priority, draw_probability, received_at, raised_at, cleared_at",
        f"""SELECT (i + 1) / 2, NULL, 1, 'AUDIT', (ARRAY[10, 30, 50])[1 + i % 3], 0.02, {_RECEIVED},
            {_RECEIVED} + interval '75 seconds', {_CLEARED.format(study="(i + 1) / 2", draw=_DRAW, at=_RECEIVED)}
        {_SERIES} WHERE {_READ} AND i % 100 = 1""",
        lambda size: size.images,
    ),
    (
        # one image in fifty has a label, from a verdict
        "labelled_image",
        "id, master_digest, patient_digest, added_at",
        f"""SELECT i, {_sha("master")}, left({_sha("patient")}, 16), {_RECEIVED} + interval '1 day'
        {_SERIES} WHERE {_READ} AND {_JUDGED} AND i % 50 = 1""",
        lambda size: size.images,
    ),
    (
        "label",
        "labelled_image_id, version, label, origin, made_at",
        f"""SELECT i, v, CASE WHEN {_OUTCOME} = 'SUSPECTED' THEN 'PNEUMONIA' ELSE 'NORMAL' END, 'VERDICT',
            {_RECEIVED} + interval '1 day'
        {_SERIES} CROSS JOIN generate_series(1, CASE WHEN i % 500 = 1 THEN 2 ELSE 1 END) v
        WHERE {_READ} AND {_JUDGED} AND i % 50 = 1""",
        lambda size: size.images,
    ),
    (
        "removed_master",
        "digest, policy, decided_at, removed_at",
        f"""SELECT {_sha("master")}, 'MASTERS_DAYS=730', {_RECEIVED} + interval '730 days', {_RECEIVED} + interval '730 days'
        {_SERIES} WHERE {_JUDGED} AND i < :images * 0.33""",  # noqa: E501
        lambda size: size.images,
    ),
]
