"""Imported data sets, the images in them, and labels.

Compatible with the release still running: it knows none of these tables.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

from db.migrations.one_way import downgrade  # noqa: F401 - Alembic looks for it here

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# `db.views.digest()` of the views this schema serves
VIEWS = "db3a62d39b824dc6a72cb2168e886f4498345de1d737ede9b76338cf37a4b78e"

_MOMENT: Final = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add the tables."""
    _data_set()
    _labelled_image()
    _data_set_image()
    _label()


def _data_set() -> None:
    op.create_table(
        "data_set",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column(
            "version",
            sa.Integer(),
            nullable=False,
            comment="Counts the imports of this name; the newest is in force.",
        ),
        sa.Column(
            "digest",
            sa.String(64),
            nullable=False,
            comment="Over key, label, patient, subgroup, split and bytes of all.",
        ),
        sa.Column("layout", sa.String(32), nullable=False),
        sa.Column("origin", sa.String(500), nullable=False, comment="Where it came from, and under which licence."),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("imported_at", _MOMENT, nullable=False),
        sa.CheckConstraint("layout IN ('PUBLISHED', 'CLASS_FOLDERS', 'TABLE')", name=op.f("ck_data_set_layout")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_data_set")),
        sa.UniqueConstraint("digest", name=op.f("uq_data_set_digest")),
        sa.UniqueConstraint("name", "version", name=op.f("uq_data_set_name_version")),
        comment="Imported data sets, one row a version; append-only.",
    )


def _labelled_image() -> None:
    op.create_table(
        "labelled_image",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("master_digest", sa.String(64), nullable=False, comment="Names the file in masters/."),
        sa.Column(
            "patient_digest", sa.String(16), nullable=False, comment="Keyed digest of the patient; never an identifier."
        ),
        sa.Column("added_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_labelled_image")),
        sa.UniqueConstraint(
            "master_digest", "patient_digest", name=op.f("uq_labelled_image_master_digest_patient_digest")
        ),
        comment="Pictures that carry labels, one row a picture and patient; append-only.",
    )


def _data_set_image() -> None:
    op.create_table(
        "data_set_image",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("data_set_id", sa.Integer(), nullable=False),
        sa.Column("labelled_image_id", sa.Integer(), nullable=False),
        sa.Column(
            "key", sa.String(300), nullable=False, comment="Split, class and file, the same wherever the data set lies."
        ),
        sa.Column("file_sha256", sa.String(64), nullable=False),
        sa.Column("published_split", sa.String(32), nullable=True),
        sa.Column("use", sa.String(32), nullable=False, comment="By a keyed hash of the patient; see docs/data.md."),
        sa.CheckConstraint(
            "published_split IN ('TRAIN', 'VAL', 'TEST')", name=op.f("ck_data_set_image_published_split")
        ),
        sa.CheckConstraint(
            "use IN ('FIT', 'WATCH', 'VALIDATION', 'TEST', 'RESERVED', 'DROPPED')",
            name=op.f("ck_data_set_image_use"),
        ),
        sa.ForeignKeyConstraint(["data_set_id"], ["data_set.id"], name=op.f("fk_data_set_image_data_set_id_data_set")),
        sa.ForeignKeyConstraint(
            ["labelled_image_id"],
            ["labelled_image.id"],
            name=op.f("fk_data_set_image_labelled_image_id_labelled_image"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_data_set_image")),
        sa.UniqueConstraint("data_set_id", "key", name=op.f("uq_data_set_image_data_set_id_key")),
        comment="Files of imported data sets; append-only.",
    )
    op.create_index("ix_data_set_image_labelled_image_id", "data_set_image", ["labelled_image_id"], unique=False)


def _label() -> None:
    op.create_table(
        "label",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("labelled_image_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("label", sa.String(32), nullable=False),
        sa.Column("subgroup", sa.String(64), nullable=True, comment="Such as bacterial or viral."),
        sa.Column("origin", sa.String(32), nullable=False),
        sa.Column("data_set_id", sa.Integer(), nullable=True, comment="IMPORTED: the data set."),
        sa.Column("made_at", _MOMENT, nullable=False),
        sa.CheckConstraint("label IN ('NORMAL', 'PNEUMONIA')", name=op.f("ck_label_label")),
        sa.CheckConstraint("origin IN ('IMPORTED', 'VERDICT')", name=op.f("ck_label_origin")),
        sa.CheckConstraint("origin <> 'IMPORTED' OR data_set_id IS NOT NULL", name=op.f("ck_label_imported_from")),
        sa.ForeignKeyConstraint(["data_set_id"], ["data_set.id"], name=op.f("fk_label_data_set_id_data_set")),
        sa.ForeignKeyConstraint(
            ["labelled_image_id"], ["labelled_image.id"], name=op.f("fk_label_labelled_image_id_labelled_image")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label")),
        sa.UniqueConstraint("labelled_image_id", "version", name=op.f("uq_label_labelled_image_id_version")),
        comment="Labels of images; the highest version is in force; append-only.",
    )
    op.create_index("ix_label_data_set_id", "label", ["data_set_id"], unique=False)
