"""What keeps lists fast with ten million images, and what retention removed.

Stop the workers of the release before: a flag they raise stands first of its
priority until its study settles, and what they reopen after somebody has read it
comes back into the reader's list only then. Listeners may go on.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

from db.migrations.one_way import downgrade  # noqa: F401 - Alembic looks for it here

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# `db.views.digest()` of the views this schema serves
VIEWS = "20cfc564c0ad3d55cc511d4efbe5dac950d4a8d8b18c2308d3cd9269a2d97fc3"

_MOMENT: Final = sa.DateTime(timezone=True)
_BEFORE_ALL: Final = sa.text("'1970-01-01 00:00:00.000000'")


# a verdict that answers a flag, as `db.answering` has it at this schema
_ANSWER: Final = """
    SELECT 1 FROM study t
    JOIN study_revision n ON n.study_id = t.id AND n.revision = t.revision
    JOIN verdict w ON w.study_revision_id = n.id
    WHERE t.id = flag.study_id AND w.verdict <> 'INDETERMINATE'
    AND (n.revision = 1 OR w.read_at >= n.settled_at)
    AND (flag.kind = 'AUDIT' OR (flag.raised_at <= w.read_at AND flag.raised_at <= w.recorded_at))
    AND NOT EXISTS (
        SELECT 1 FROM verdict later
        WHERE later.study_revision_id = w.study_revision_id AND later.reader = w.reader
        AND (later.read_at > w.read_at OR (later.read_at = w.read_at AND later.id > w.id)))"""


def upgrade() -> None:
    """Add tables and columns, and change indexes."""
    if op.get_bind().dialect.name == "postgresql":
        # in the order in which workers lock rows, and at once, so that neither waits for the other
        op.execute("LOCK TABLE study, image, receipt, flag IN ACCESS EXCLUSIVE MODE")
    _flag()
    _study()
    _receipt()
    _removed_master()
    _retention_run()


def _flag() -> None:
    op.add_column(
        "flag",
        sa.Column(
            "received_at",
            _MOMENT,
            nullable=False,
            server_default=_BEFORE_ALL,
            comment="Of its study, when it was raised or last settled; orders the reader's list.",
        ),
    )
    op.execute(
        "UPDATE flag SET received_at = (SELECT s.first_received_at FROM study s WHERE s.id = flag.study_id) "
        "WHERE cleared_at IS NULL"
    )
    op.add_column(
        "flag",
        sa.Column(
            "answered_at",
            _MOMENT,
            nullable=True,
            comment="Since when a verdict on the present revision answers it; set from the verdicts (db/answering.py).",
        ),
    )
    op.execute(
        f"UPDATE flag SET answered_at = CURRENT_TIMESTAMP WHERE cleared_at IS NULL AND EXISTS ({_ANSWER})"  # noqa: S608
    )
    _index(
        "ix_flag_waiting",
        "flag",
        ["priority", "received_at", "study_id"],
        "cleared_at IS NULL AND answered_at IS NULL",
    )


def _study() -> None:
    op.drop_index("ix_study_first_received_at", "study")
    op.create_index("ix_study_newest", "study", ["first_received_at", "id"])
    op.create_index("ix_study_last_received_at", "study", ["last_received_at"])


def _receipt() -> None:
    op.add_column(
        "receipt",
        sa.Column(
            "removal_policy",
            sa.String(64),
            nullable=True,
            comment="The policy that its file is removed by; set before the file goes.",
        ),
    )
    op.add_column("receipt", sa.Column("removed_at", _MOMENT, nullable=True, comment="When its file was gone."))
    op.drop_index("ix_receipt_state_reason", "receipt")
    op.drop_index("ix_receipt_waiting", "receipt")
    _index("ix_receipt_waiting", "receipt", ["received_at", "id"], "state = 'PENDING'")
    _index("ix_receipt_put_back", "receipt", ["study_id"], "state = 'PENDING' AND study_id IS NOT NULL")
    _index("ix_receipt_quarantined", "receipt", ["id", "reason"], "state = 'QUARANTINED'")
    _index("ix_receipt_unreadable", "receipt", ["received_at", "id"], "state = 'QUARANTINED' AND study_id IS NULL")
    _index("ix_receipt_kept", "receipt", ["finished_at", "id"], "finished_at IS NOT NULL AND removed_at IS NULL")
    _index("ix_receipt_removing", "receipt", ["id"], "removal_policy IS NOT NULL AND removed_at IS NULL")


def _removed_master() -> None:
    op.create_table(
        "removed_master",
        sa.Column("digest", sa.String(64), nullable=False, comment="SHA-256 that named the master file."),
        sa.Column("policy", sa.String(64), nullable=False, comment="The policy that it is removed by."),
        sa.Column("decided_at", _MOMENT, nullable=False, comment="Before the file goes."),
        sa.Column("removed_at", _MOMENT, nullable=True, comment="When the file was gone."),
        sa.Column("restored_at", _MOMENT, nullable=True, comment="When the same image came again and was kept."),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_removed_master")),
        comment="Master images that retention removed, the last time for each.",
    )
    _index("ix_removed_master_removing", "removed_master", ["digest"], "removed_at IS NULL")


def _retention_run() -> None:
    op.create_table(
        "retention_run",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("due_on", sa.Date(), nullable=False, comment="The day it was due, UTC; one run a day."),
        sa.Column("token", sa.String(32), nullable=False, comment="Who holds it."),
        sa.Column("lease_until", _MOMENT, nullable=False, comment="By the database's clock."),
        sa.Column("started_at", _MOMENT, nullable=False),
        sa.Column("finished_at", _MOMENT, nullable=True),
        sa.Column("stored_files", sa.Integer(), nullable=True, comment="Stored files removed."),
        sa.Column("stored_bytes", sa.BigInteger(), nullable=True),
        sa.Column("masters", sa.Integer(), nullable=True, comment="Master images removed."),
        sa.Column("master_bytes", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retention_run")),
        sa.UniqueConstraint("due_on", name=op.f("uq_retention_run_due_on")),
        comment="Daily runs of retention, claimed by whoever comes first.",
    )


def _index(name: str, table: str, columns: list[str], condition: str) -> None:
    op.create_index(
        name, table, columns, unique=False, sqlite_where=sa.text(condition), postgresql_where=sa.text(condition)
    )
