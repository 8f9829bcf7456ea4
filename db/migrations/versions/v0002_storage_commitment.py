"""Requests for storage commitment, and which SOP instance each receipt is of.

Compatible with the release still running: the new columns of ``receipt`` may
stay empty, and `db.commitments` then goes by the image that a receipt's file
is in force for. So nothing is backfilled.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

from db.migrations.one_way import downgrade  # noqa: F401 - Alembic looks for it here

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# `db.views.digest()` of the views this schema serves
VIEWS = "db3a62d39b824dc6a72cb2168e886f4498345de1d737ede9b76338cf37a4b78e"

_MOMENT: Final = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add the table and the columns."""
    op.add_column(
        "receipt",
        sa.Column("sop_class_uid", sa.String(64), nullable=True, comment="(0002,0002), which the listener compared."),
    )
    op.add_column(
        "receipt", sa.Column("sop_instance_uid", sa.String(64), nullable=True, comment="(0002,0003), likewise.")
    )
    op.create_index("ix_receipt_sop_instance_uid", "receipt", ["sop_instance_uid"], unique=False)
    _commitment()


def _commitment() -> None:
    op.create_table(
        "commitment",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("entry", sa.String(128), nullable=False, comment="The spool's entry name, without suffix."),
        sa.Column("listener", sa.String(32), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False, comment="Bytes of the Part 10 file."),
        sa.Column("peer", sa.String(16), nullable=True, comment="Requesting AE title, made printable."),
        sa.Column("received_at", _MOMENT, nullable=False, comment="When the file became durable."),
        sa.Column("registered_at", _MOMENT, nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("reason", sa.String(32), nullable=True, comment="Why the last try did not report it."),
        sa.Column("detail", sa.String(500), nullable=True, comment="One sentence, free of identifiers."),
        sa.Column("attempts", sa.Integer(), nullable=False, comment="Tries to report, committed before connecting."),
        sa.Column("next_at", _MOMENT, nullable=False, comment="Not looked at before; by the database's clock."),
        sa.Column("lease_token", sa.String(32), nullable=True),
        sa.Column("lease_until", _MOMENT, nullable=True, comment="By the database's clock."),
        sa.Column("committed", sa.Integer(), nullable=True, comment="REPORTED: instances that we vouched for."),
        sa.Column("failed", sa.Integer(), nullable=True, comment="REPORTED: instances that we did not."),
        sa.Column("finished_at", _MOMENT, nullable=True),
        sa.CheckConstraint("state IN ('PENDING', 'REPORTED', 'GAVE_UP')", name=op.f("ck_commitment_state")),
        sa.CheckConstraint(
            "reason IN ('UNREADABLE', 'MISSING_FILE', 'NO_ADDRESS', 'UNREACHABLE', 'REFUSED')",
            name=op.f("ck_commitment_reason"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commitment")),
        sa.UniqueConstraint("entry", name=op.f("uq_commitment_entry")),
        comment="One row for every storage commitment request acknowledged with 0x0000, and what became of it.",
    )
    op.create_index(
        "ix_commitment_next_at",
        "commitment",
        ["next_at"],
        unique=False,
        sqlite_where=sa.text("state = 'PENDING'"),
        postgresql_where=sa.text("state = 'PENDING'"),
    )
