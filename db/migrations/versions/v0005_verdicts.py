"""Verdicts of readers, and labels made from them.

Compatible with the release still running: it knows neither new table, and the
new column of ``label`` has a default. What readers said, and labels, can from
now on be added to and never changed: triggers see to that.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

from db.migrations.one_way import downgrade  # noqa: F401 - Alembic looks for it here

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# `db.views.digest()` of the views this schema serves
VIEWS = "80cf692ce100207d8af98a1ba6892e90ac16651e8d36402ea3381e08041a4dde"

_MOMENT: Final = sa.DateTime(timezone=True)
# a later migration that makes one of these anew on SQLite takes its triggers away, and must put them back
_APPEND_ONLY: Final = ("verdict", "label", "label_verdict")


def upgrade() -> None:
    """Add the tables, the column and the triggers."""
    _verdict()
    op.add_column(
        "label",
        sa.Column(
            "withdrawn",
            sa.Boolean(),
            server_default=sa.false(),
            nullable=False,
            comment="The verdicts no longer say it; no label is in force.",
        ),
    )
    _label_verdict()
    if op.get_bind().dialect.name == "postgresql":
        op.create_table_comment(
            "label",
            "Labels of images; the highest version is in force; append-only, held by a trigger.",
            existing_comment="Labels of images; the highest version is in force; append-only.",
        )
        _refuse_changes_on_postgresql()
    else:
        _refuse_changes_on_sqlite()


def _verdict() -> None:
    op.create_table(
        "verdict",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_revision_id", sa.Integer(), nullable=False),
        sa.Column("reader", sa.String(64), nullable=False, comment="Lower case: one reader has one spelling."),
        sa.Column(
            "read_at", _MOMENT, nullable=False, comment="Of two verdicts of a reader on a revision the later stands."
        ),
        sa.Column("verdict", sa.String(32), nullable=False),
        sa.Column(
            "model_visible", sa.Boolean(), nullable=False, comment="Whether the reader could see what the model said."
        ),
        sa.Column("comment", sa.String(500), nullable=True),
        sa.Column("origin", sa.String(32), nullable=False),
        sa.Column("source_sha256", sa.String(64), nullable=True, comment="FILE: digest of the file it was in."),
        sa.Column(
            "entered_by", sa.String(64), nullable=False, comment="Account that entered it, not always the reader's."
        ),
        sa.Column("recorded_at", _MOMENT, nullable=False, comment="By the database's clock."),
        sa.Column(
            "digest", sa.String(64), nullable=False, comment="SHA-256 of what it says: the same is entered once."
        ),
        sa.CheckConstraint(
            "verdict IN ('PNEUMONIA', 'NO_PNEUMONIA', 'OTHER_ABNORMAL', 'INDETERMINATE', 'UNREADABLE', 'NOT_A_CHEST')",
            name=op.f("ck_verdict_verdict"),
        ),
        sa.CheckConstraint("origin IN ('COMMAND', 'FILE', 'PAGE')", name=op.f("ck_verdict_origin")),
        sa.CheckConstraint("origin <> 'FILE' OR source_sha256 IS NOT NULL", name=op.f("ck_verdict_from_file")),
        sa.ForeignKeyConstraint(
            ["study_revision_id"], ["study_revision.id"], name=op.f("fk_verdict_study_revision_id_study_revision")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verdict")),
        sa.UniqueConstraint("digest", name=op.f("uq_verdict_digest")),
        comment="What readers said of study revisions; append-only, held by a trigger.",
    )
    op.create_index("ix_verdict_study_revision_id", "verdict", ["study_revision_id", "reader", "read_at"], unique=False)


def _label_verdict() -> None:
    op.create_table(
        "label_verdict",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("label_id", sa.Integer(), nullable=False),
        sa.Column("verdict_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["label_id"], ["label.id"], name=op.f("fk_label_verdict_label_id_label")),
        sa.ForeignKeyConstraint(["verdict_id"], ["verdict.id"], name=op.f("fk_label_verdict_verdict_id_verdict")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label_verdict")),
        sa.UniqueConstraint("label_id", "verdict_id", name=op.f("uq_label_verdict_label_id_verdict_id")),
        comment="Which verdicts a label was made from; append-only, held by a trigger.",
    )
    op.create_index("ix_label_verdict_verdict_id", "label_verdict", ["verdict_id"], unique=False)


def _refuse_changes_on_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION lungwatch_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION USING MESSAGE = TG_TABLE_NAME || ' is append-only', ERRCODE = 'restrict_violation'; "
        "END $$"
    )
    for table in _APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION lungwatch_append_only()"
        )


def _refuse_changes_on_sqlite() -> None:
    for table in _APPEND_ONLY:
        for change in ("update", "delete"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{change} BEFORE {change.upper()} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
