"""The first tables.

Hand-checked after autogeneration. Types are written out, so that a later
change of `db.base` does not change what this made.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

from db.migrations.one_way import downgrade  # noqa: F401 - Alembic looks for it here

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# `db.views.digest()` of the views this schema serves
VIEWS = "db3a62d39b824dc6a72cb2168e886f4498345de1d737ede9b76338cf37a4b78e"

_MOMENT: Final = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create every table."""
    _model_version()
    _study()
    _champion()
    _heartbeat()
    _image()
    _study_revision()
    _flag()
    _prediction()
    _receipt()
    _receipt_retry()


def _model_version() -> None:
    op.create_table(
        "model_version",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("origin", sa.String(32), nullable=False),
        sa.Column(
            "bundle_digest",
            sa.String(64),
            nullable=False,
            comment="SHA-256 of manifest.json, which lists every file's.",
        ),
        sa.Column(
            "location", sa.String(255), nullable=False, comment="Directory below the bundles directory, or 'starter'."
        ),
        sa.Column("architecture", sa.String(64), nullable=False),
        sa.Column("preprocess_digest", sa.String(64), nullable=False),
        sa.Column("threshold", sa.Double(), nullable=False),
        sa.Column("manifest", sa.JSON(), nullable=False, comment="manifest.json as data, for queries."),
        sa.Column("registered_at", _MOMENT, nullable=False),
        sa.CheckConstraint("origin IN ('STARTER', 'TRAINED')", name=op.f("ck_model_version_origin")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_version")),
        sa.UniqueConstraint("bundle_digest", name=op.f("uq_model_version_bundle_digest")),
        sa.UniqueConstraint("name", "version", name=op.f("uq_model_version_name_version")),
        comment="Bundles we know; their digest here is what files are verified against.",
    )


def _study() -> None:
    op.create_table(
        "study",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_uid", sa.String(64), nullable=False, comment="(0020,000D) Study Instance UID."),
        sa.Column("accession_number", sa.String(64), nullable=True, comment="(0008,0050)."),
        sa.Column("patient_id", sa.String(64), nullable=True, comment="(0010,0020)."),
        sa.Column("issuer_of_patient_id", sa.String(64), nullable=True, comment="(0010,0021)."),
        sa.Column("patient_name", sa.String(324), nullable=True, comment="(0010,0010), only if a setting says so."),
        sa.Column("study_date", sa.Date(), nullable=True, comment="(0008,0020)."),
        sa.Column("revision", sa.Integer(), nullable=False, comment="Counts up when an image arrives after settling."),
        sa.Column("outcome", sa.String(32), nullable=False),
        sa.Column("first_received_at", _MOMENT, nullable=False),
        sa.Column("last_received_at", _MOMENT, nullable=False),
        sa.Column("settled_at", _MOMENT, nullable=True, comment="When the present revision settled."),
        sa.CheckConstraint(
            "outcome IN ('SUSPECTED', 'NOT_SUSPECTED', 'NO_RESULT', 'OUT_OF_SCOPE', 'PENDING')",
            name=op.f("ck_study_outcome"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_study")),
        sa.UniqueConstraint("study_uid", name=op.f("uq_study_study_uid")),
        comment="One study as far as seen; provisional until settled.",
    )
    op.create_index("ix_study_accession_number", "study", ["accession_number"], unique=False)
    op.create_index("ix_study_first_received_at", "study", ["first_received_at"], unique=False)
    op.create_index("ix_study_patient_id", "study", ["patient_id"], unique=False)
    op.create_index(
        "ix_study_unsettled",
        "study",
        ["last_received_at"],
        unique=False,
        sqlite_where=sa.text("settled_at IS NULL"),
        postgresql_where=sa.text("settled_at IS NULL"),
    )


def _champion() -> None:
    op.create_table(
        "champion",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("model_version_id", sa.Integer(), nullable=False),
        sa.Column("fencing_token", sa.Integer(), nullable=False, comment="Counts up with each change."),
        sa.Column("since", _MOMENT, nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_champion_single")),
        sa.ForeignKeyConstraint(
            ["model_version_id"], ["model_version.id"], name=op.f("fk_champion_model_version_id_model_version")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_champion")),
        comment="The model in service: one row.",
    )


def _heartbeat() -> None:
    op.create_table(
        "heartbeat",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("process", sa.String(64), nullable=False, comment="Random name of one run of one process."),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("listener", sa.String(32), nullable=True, comment="REGISTRAR: whose spool it registers."),
        sa.Column("started_at", _MOMENT, nullable=False),
        sa.Column("seen_at", _MOMENT, nullable=False),
        sa.Column("stopped_at", _MOMENT, nullable=True, comment="Set by an orderly stop."),
        sa.Column(
            "horizon", _MOMENT, nullable=True, comment="REGISTRAR: everything received before this is registered."
        ),
        sa.Column("model_version_id", sa.Integer(), nullable=True, comment="WORKER: the model it serves."),
        sa.Column("problem", sa.String(200), nullable=True, comment="Why it cannot work now, for a person."),
        sa.CheckConstraint("kind IN ('LISTENER', 'REGISTRAR', 'WORKER', 'BEAT')", name=op.f("ck_heartbeat_kind")),
        sa.ForeignKeyConstraint(
            ["model_version_id"], ["model_version.id"], name=op.f("fk_heartbeat_model_version_id_model_version")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_heartbeat")),
        sa.UniqueConstraint("process", name=op.f("uq_heartbeat_process")),
        comment="The last sign of life of each process.",
    )


def _image() -> None:
    op.create_table(
        "image",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("sop_instance_uid", sa.String(64), nullable=False, comment="(0008,0018)."),
        sa.Column("sop_class_uid", sa.String(64), nullable=False, comment="(0008,0016)."),
        sa.Column("series_uid", sa.String(64), nullable=True, comment="(0020,000E)."),
        sa.Column("transfer_syntax_uid", sa.String(64), nullable=False, comment="(0002,0010) as received."),
        sa.Column("revision", sa.Integer(), nullable=False, comment="Counts up with each header revision."),
        sa.Column("receipt_sha256", sa.String(64), nullable=False, comment="Digest of the file in force."),
        sa.Column(
            "dataset_sha256",
            sa.String(64),
            nullable=True,
            comment="SHA-256 of the data set in force, without the file meta that names the sender.",
        ),
        sa.Column("outcome", sa.String(32), nullable=False),
        sa.Column("reason", sa.String(64), nullable=True, comment="Coded reason of NO_RESULT or OUT_OF_SCOPE."),
        sa.Column("annotations", sa.JSON(), nullable=False, comment="Coded remarks, such as UNKNOWN_AGE."),
        sa.Column("modality", sa.String(16), nullable=True, comment="(0008,0060)."),
        sa.Column("body_part", sa.String(64), nullable=True, comment="(0018,0015)."),
        sa.Column("view", sa.String(16), nullable=True, comment="AP, PA, LATERAL … as the scope rules read it."),
        sa.Column(
            "patient_age_days", sa.Integer(), nullable=True, comment="From PatientAge, else birth and study date."
        ),
        sa.Column("patient_sex", sa.String(16), nullable=True, comment="(0010,0040)."),
        sa.Column("manufacturer", sa.String(64), nullable=True, comment="(0008,0070)."),
        sa.Column("rows", sa.Integer(), nullable=True, comment="(0028,0010)."),
        sa.Column("columns", sa.Integer(), nullable=True, comment="(0028,0011)."),
        sa.Column(
            "pixels_digest", sa.String(64), nullable=True, comment="SHA-256 of decoded pixels and grayscale pipeline."
        ),
        sa.Column("master_digest", sa.String(64), nullable=True, comment="SHA-256 that names the master file."),
        sa.Column("input_digest", sa.String(64), nullable=True, comment="SHA-256 of the model input last classified."),
        sa.CheckConstraint(
            "outcome IN ('SUSPECTED', 'NOT_SUSPECTED', 'NO_RESULT', 'OUT_OF_SCOPE', 'PENDING')",
            name=op.f("ck_image_outcome"),
        ),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_image_study_id_study")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image")),
        sa.UniqueConstraint("sop_instance_uid", name=op.f("uq_image_sop_instance_uid")),
        comment="One SOP instance; the receipt in force gave its pixels.",
    )
    op.create_index("ix_image_dataset_sha256", "image", ["dataset_sha256"], unique=False)
    op.create_index("ix_image_master_digest", "image", ["master_digest"], unique=False)
    op.create_index("ix_image_study_id", "image", ["study_id"], unique=False)


def _study_revision() -> None:
    op.create_table(
        "study_revision",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(32), nullable=False),
        sa.Column("settled_at", _MOMENT, nullable=False),
        sa.Column("images", sa.Integer(), nullable=False, comment="Images the revision rests on."),
        sa.CheckConstraint(
            "outcome IN ('SUSPECTED', 'NOT_SUSPECTED', 'NO_RESULT', 'OUT_OF_SCOPE', 'PENDING')",
            name=op.f("ck_study_revision_outcome"),
        ),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_study_revision_study_id_study")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_study_revision")),
        sa.UniqueConstraint("study_id", "revision", name=op.f("uq_study_revision_study_id_revision")),
        comment="Settled states of studies.",
    )


def _flag() -> None:
    op.create_table(
        "flag",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=True),
        sa.Column("study_revision", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column(
            "priority",
            sa.Integer(),
            nullable=False,
            comment="Smaller is sooner: FLAG_PRIORITY of its kind; AUDIT has one that does not tell.",
        ),
        sa.Column("reason", sa.String(64), nullable=True),
        sa.Column(
            "draw_probability",
            sa.Double(),
            nullable=True,
            comment="AUDIT only: the chance this study had of being drawn.",
        ),
        sa.Column("raised_at", _MOMENT, nullable=False),
        sa.Column("cleared_at", _MOMENT, nullable=True),
        sa.CheckConstraint(
            "kind IN ('SUSPECTED', 'UNCERTAIN', 'UNFAMILIAR', 'POOR_IMAGE', 'CONFLICT', 'NO_RESULT', "
            "'OVERDUE', 'AUDIT')",
            name=op.f("ck_flag_kind"),
        ),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_flag_image_id_image")),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_flag_study_id_study")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flag")),
        comment="Why a study waits for a reader; cleared, never deleted.",
    )
    op.create_index(
        "ix_flag_open",
        "flag",
        ["study_id", "priority"],
        unique=False,
        sqlite_where=sa.text("cleared_at IS NULL"),
        postgresql_where=sa.text("cleared_at IS NULL"),
    )
    op.create_index("ix_flag_study_id", "flag", ["study_id"], unique=False)
    op.create_index(
        "uq_flag_image",
        "flag",
        ["image_id", "kind", "study_revision"],
        unique=True,
        sqlite_where=sa.text("image_id IS NOT NULL"),
        postgresql_where=sa.text("image_id IS NOT NULL"),
    )
    op.create_index(
        "uq_flag_study",
        "flag",
        ["study_id", "kind", "study_revision"],
        unique=True,
        sqlite_where=sa.text("image_id IS NULL"),
        postgresql_where=sa.text("image_id IS NULL"),
    )


def _prediction() -> None:
    op.create_table(
        "prediction",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("image_revision", sa.Integer(), nullable=False),
        sa.Column("model_version_id", sa.Integer(), nullable=False),
        sa.Column("preprocess_digest", sa.String(64), nullable=False, comment="Digest of the bundle's PreprocessSpec."),
        sa.Column("master_digest", sa.String(64), nullable=False),
        sa.Column("input_digest", sa.String(64), nullable=False),
        sa.Column("outcome", sa.String(32), nullable=False),
        sa.Column("reason", sa.String(64), nullable=True, comment="Coded reason of NO_RESULT."),
        sa.Column(
            "score",
            sa.Double(),
            nullable=True,
            comment="The model's own output for pneumonia, 0 to 1; empty if not finite.",
        ),
        sa.Column("probability", sa.Double(), nullable=True, comment="Calibrated, at `prevalence`."),
        sa.Column("prevalence", sa.Double(), nullable=True, comment="Prevalence the probability is for."),
        sa.Column("prevalence_offset", sa.Double(), nullable=True, comment="Log-odds added for the site's prevalence."),
        sa.Column("threshold", sa.Double(), nullable=False, comment="On `score`."),
        sa.Column(
            "probability_threshold",
            sa.Double(),
            nullable=True,
            comment="The same threshold on the scale of `probability`, so that the two can be compared.",
        ),
        sa.Column("runtime", sa.String(32), nullable=False),
        sa.Column("code_version", sa.String(32), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.CheckConstraint(
            "outcome IN ('SUSPECTED', 'NOT_SUSPECTED', 'NO_RESULT', 'OUT_OF_SCOPE', 'PENDING')",
            name=op.f("ck_prediction_outcome"),
        ),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_prediction_image_id_image")),
        sa.ForeignKeyConstraint(
            ["model_version_id"], ["model_version.id"], name=op.f("fk_prediction_model_version_id_model_version")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prediction")),
        sa.UniqueConstraint(
            "image_id",
            "image_revision",
            "model_version_id",
            "preprocess_digest",
            name=op.f("uq_prediction_image_id_image_revision_model_version_id_preprocess_digest"),
        ),
        comment="What a model said of an image; never updated.",
    )
    op.create_index("ix_prediction_model_version_id", "prediction", ["model_version_id"], unique=False)


def _receipt() -> None:
    op.create_table(
        "receipt",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("entry", sa.String(128), nullable=False, comment="The spool's entry name, without suffix."),
        sa.Column("listener", sa.String(32), nullable=False),
        sa.Column("incarnation", sa.String(20), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False, comment="Digest of the Part 10 file."),
        sa.Column("size", sa.BigInteger(), nullable=False, comment="Bytes of the Part 10 file."),
        sa.Column("peer", sa.String(16), nullable=True, comment="Sending AE title, made printable."),
        sa.Column("received_at", _MOMENT, nullable=False, comment="When the file became durable."),
        sa.Column("registered_at", _MOMENT, nullable=False),
        sa.Column("due_at", _MOMENT, nullable=False, comment="From then on a PENDING receipt is overdue."),
        sa.Column("urgency", sa.Integer(), nullable=False, comment="URGENCY_RANK; smaller is claimed sooner."),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("reason", sa.String(64), nullable=True, comment="Coded reason of a terminal state."),
        sa.Column("detail", sa.String(500), nullable=True, comment="One sentence, free of identifiers."),
        sa.Column("attempts", sa.Integer(), nullable=False, comment="Starts, committed before a byte is parsed."),
        sa.Column("lease_token", sa.String(32), nullable=True),
        sa.Column("lease_until", _MOMENT, nullable=True, comment="By the database's clock."),
        sa.Column("finished_at", _MOMENT, nullable=True),
        sa.Column("stored_at", _MOMENT, nullable=True, comment="When the file moved from the spool to stored/."),
        sa.Column("study_id", sa.Integer(), nullable=True),
        sa.Column("image_id", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "state IN ('PENDING', 'CLASSIFIED', 'OUT_OF_SCOPE', 'DUPLICATE', 'HEADER_REVISION', "
            "'CONFLICT', 'QUARANTINED')",
            name=op.f("ck_receipt_state"),
        ),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_receipt_image_id_image")),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_receipt_study_id_study")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_receipt")),
        sa.UniqueConstraint("entry", name=op.f("uq_receipt_entry")),
        sa.UniqueConstraint(
            "listener", "incarnation", "sequence", name=op.f("uq_receipt_listener_incarnation_sequence")
        ),
        comment="One row for every instance acknowledged with 0x0000, and what became of it.",
    )
    op.create_index(
        "ix_receipt_claim",
        "receipt",
        ["urgency", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'PENDING'"),
        postgresql_where=sa.text("state = 'PENDING'"),
    )
    op.create_index(
        "ix_receipt_due",
        "receipt",
        ["due_at"],
        unique=False,
        sqlite_where=sa.text("state = 'PENDING'"),
        postgresql_where=sa.text("state = 'PENDING'"),
    )
    op.create_index("ix_receipt_image_id", "receipt", ["image_id"], unique=False)
    op.create_index("ix_receipt_sha256", "receipt", ["sha256"], unique=False)
    op.create_index("ix_receipt_state_reason", "receipt", ["state", "reason"], unique=False)
    op.create_index("ix_receipt_study_id", "receipt", ["study_id"], unique=False)
    op.create_index(
        "ix_receipt_unstored",
        "receipt",
        ["id"],
        unique=False,
        sqlite_where=sa.text("stored_at IS NULL AND state <> 'PENDING'"),
        postgresql_where=sa.text("stored_at IS NULL AND state <> 'PENDING'"),
    )
    op.create_index(
        "ix_receipt_waiting",
        "receipt",
        ["received_at"],
        unique=False,
        sqlite_where=sa.text("state = 'PENDING'"),
        postgresql_where=sa.text("state = 'PENDING'"),
    )


def _receipt_retry() -> None:
    op.create_table(
        "receipt_retry",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("receipt_id", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(64), nullable=True, comment="Why it had been quarantined."),
        sa.Column("detail", sa.String(500), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False, comment="Starts it had had."),
        sa.Column("quarantined_at", _MOMENT, nullable=True),
        sa.Column("retried_at", _MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["receipt_id"], ["receipt.id"], name=op.f("fk_receipt_retry_receipt_id_receipt")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_receipt_retry")),
        comment="Each time a person put a quarantined receipt back; append-only.",
    )
    op.create_index("ix_receipt_retry_receipt_id", "receipt_retry", ["receipt_id"], unique=False)
