"""What the nightly job keeps: snapshots, runs, examinations, changes of the champion, and what is scored besides.

Compatible with the release still running: it knows none of the new tables, and of the new columns one may be
empty and the other has a default.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

from db.migrations.one_way import downgrade  # noqa: F401 - Alembic looks for it here

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# `db.views.digest()` of the views this schema serves
VIEWS = "21e9c0e1fcafb30e544da41f2c4362a12e82a3f7187cc87c2609d5a2deb7a68c"

_MOMENT: Final = sa.DateTime(timezone=True)
# a later migration that makes one of these anew on SQLite takes its triggers away, and must put them back
_APPEND_ONLY: Final = (
    "patient_side",
    "test_set",
    "test_set_image",
    "snapshot",
    "evaluation",
    "drift_reference",
    "champion_change",
    "shadow_prediction",
)


def upgrade() -> None:
    """Add the tables, the column and the triggers."""
    _patient_side()
    _test_set()
    _test_set_image()
    _snapshot()
    _nightly_run()
    _evaluation()
    _drift_reference()
    _champion_change()
    _shadow_prediction()
    _rescoring()
    _anchor()
    _beside()
    _refuse_changes()


def _patient_side() -> None:
    op.create_table(
        "patient_side",
        sa.Column("patient_digest", sa.String(16), nullable=False, comment="As in labelled_image."),
        sa.Column("side", sa.String(32), nullable=False),
        sa.Column("placed_at", _MOMENT, nullable=False),
        sa.CheckConstraint("side IN ('FIT', 'WATCH', 'VALIDATION', 'HELD_OUT')", name=op.f("ck_patient_side_side")),
        sa.PrimaryKeyConstraint("patient_digest", name=op.f("pk_patient_side")),
        comment="On which side each patient is, for good; append-only, held by a trigger.",
    )


def _test_set() -> None:
    op.create_table(
        "test_set",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False, comment="Counts the versions; the newest is in force."),
        sa.Column(
            "digest", sa.String(64), nullable=False, comment="SHA-256 over version, picture, patient, label and share."
        ),
        sa.Column("frozen_at", _MOMENT, nullable=False),
        sa.Column("actor", sa.String(64), nullable=False, comment="Account that asked for it."),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_test_set")),
        sa.UniqueConstraint("digest", name=op.f("uq_test_set_digest")),
        sa.UniqueConstraint("version", name=op.f("uq_test_set_version")),
        comment="Versions of the frozen test set; append-only, held by a trigger.",
    )


def _test_set_image() -> None:
    op.create_table(
        "test_set_image",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("test_set_id", sa.Integer(), nullable=False),
        sa.Column("labelled_image_id", sa.Integer(), nullable=False),
        sa.Column("label_id", sa.Integer(), nullable=False, comment="The version of the label that is frozen."),
        sa.Column("share", sa.String(32), nullable=False, comment="SEALED: opened once a quarter at most."),
        sa.CheckConstraint("share IN ('TEST', 'SEALED')", name=op.f("ck_test_set_image_share")),
        sa.ForeignKeyConstraint(["label_id"], ["label.id"], name=op.f("fk_test_set_image_label_id_label")),
        sa.ForeignKeyConstraint(
            ["labelled_image_id"],
            ["labelled_image.id"],
            name=op.f("fk_test_set_image_labelled_image_id_labelled_image"),
        ),
        sa.ForeignKeyConstraint(["test_set_id"], ["test_set.id"], name=op.f("fk_test_set_image_test_set_id_test_set")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_test_set_image")),
        sa.UniqueConstraint(
            "test_set_id", "labelled_image_id", name=op.f("uq_test_set_image_test_set_id_labelled_image_id")
        ),
        comment="Pictures of each version of the frozen test set; append-only, held by a trigger.",
    )


def _snapshot() -> None:
    op.create_table(
        "snapshot",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False, comment="SHA-256 of the manifest, which is named by it."),
        sa.Column("test_set_id", sa.Integer(), nullable=True),
        sa.Column("images", sa.Integer(), nullable=False, comment="Listed with pixels."),
        sa.Column("patients", sa.Integer(), nullable=False),
        sa.Column(
            "pixels_gone", sa.Integer(), nullable=False, comment="Listed as lost: labelled, and the master was removed."
        ),
        sa.Column("counts", sa.JSON(), nullable=False, comment="Images by side and label."),
        sa.Column("taken_at", _MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["test_set_id"], ["test_set.id"], name=op.f("fk_snapshot_test_set_id_test_set")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_snapshot")),
        sa.UniqueConstraint("digest", name=op.f("uq_snapshot_digest")),
        comment="Frozen selections of pictures and labels; append-only, held by a trigger.",
    )


def _nightly_run() -> None:
    op.create_table(
        "nightly_run",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("night", sa.Date(), nullable=False, comment="Local date of the night."),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(32), nullable=True, comment="What the night does; chosen once."),
        sa.Column("step", sa.String(32), nullable=False, comment="Under way, or the last one."),
        sa.Column("progress", sa.String(200), nullable=True, comment="How far the step has come, for a person."),
        sa.Column("seconds", sa.JSON(), nullable=False, comment="What each step took, in all attempts."),
        sa.Column("token", sa.String(32), nullable=False, comment="Who holds it; another with each claim."),
        sa.Column("attempts", sa.Integer(), nullable=False, comment="How often it was claimed."),
        sa.Column("lease_until", _MOMENT, nullable=False, comment="By the database's clock."),
        sa.Column("started_at", _MOMENT, nullable=False),
        sa.Column("finished_at", _MOMENT, nullable=True),
        sa.Column("snapshot_id", sa.Integer(), nullable=True),
        sa.Column("work", sa.String(64), nullable=True, comment="Folder of the fit; several nights may share it."),
        sa.Column("new_labels", sa.Integer(), nullable=True, comment="To learn from, since the last challenger."),
        sa.Column("plan", sa.String(500), nullable=True, comment="Why the night does this and no more."),
        sa.Column("champion_id", sa.Integer(), nullable=True, comment="Whom it was held against."),
        sa.Column(
            "champion_token", sa.Integer(), nullable=True, comment="The fencing token that a promotion must find."
        ),
        sa.Column("anchor_id", sa.Integer(), nullable=True, comment="The best there was then."),
        sa.Column("challenger_id", sa.Integer(), nullable=True),
        sa.Column("decision", sa.JSON(), nullable=True, comment="The gate's, whole."),
        sa.Column("drift", sa.JSON(), nullable=True, comment="What was measured of it."),
        sa.Column("reason", sa.String(2000), nullable=True, comment="Why it ended as it did, for a person."),
        sa.Column("report", sa.String(255), nullable=True, comment="Folder of the report below the data directory."),
        sa.CheckConstraint("kind IN ('EVALUATE', 'FINE_TUNE', 'FROM_SCRATCH')", name=op.f("ck_nightly_run_kind")),
        sa.CheckConstraint("state = 'RUNNING' OR finished_at IS NOT NULL", name=op.f("ck_nightly_run_ended")),
        sa.CheckConstraint(
            "state IN ('RUNNING', 'EVALUATED', 'KEPT', 'SHADOWED', 'PROMOTED', 'CONTINUES', 'FAILED')",
            name=op.f("ck_nightly_run_state"),
        ),
        sa.CheckConstraint(
            "step IN ('SNAPSHOT', 'TRAIN', 'EXAMINE', 'DRIFT', 'DECIDE', 'PROMOTE', 'REPORT')",
            name=op.f("ck_nightly_run_step"),
        ),
        sa.ForeignKeyConstraint(
            ["anchor_id"], ["model_version.id"], name=op.f("fk_nightly_run_anchor_id_model_version")
        ),
        sa.ForeignKeyConstraint(
            ["challenger_id"], ["model_version.id"], name=op.f("fk_nightly_run_challenger_id_model_version")
        ),
        sa.ForeignKeyConstraint(
            ["champion_id"], ["model_version.id"], name=op.f("fk_nightly_run_champion_id_model_version")
        ),
        sa.ForeignKeyConstraint(["snapshot_id"], ["snapshot.id"], name=op.f("fk_nightly_run_snapshot_id_snapshot")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nightly_run")),
        sa.UniqueConstraint("night", name=op.f("uq_nightly_run_night")),
        comment="Runs of the nightly job, one a date.",
    )


def _evaluation() -> None:
    op.create_table(
        "evaluation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("nightly_run_id", sa.Integer(), nullable=True, comment="None: by a person."),
        sa.Column("model_version_id", sa.Integer(), nullable=False),
        sa.Column("examined_on", sa.String(32), nullable=False),
        sa.Column("test_set_id", sa.Integer(), nullable=True),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("patients", sa.Integer(), nullable=False),
        sa.Column("figures", sa.JSON(), nullable=False, comment="By name, with intervals."),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(500), nullable=True),
        sa.Column("made_at", _MOMENT, nullable=False),
        sa.CheckConstraint("examined_on IN ('TEST', 'RECENT', 'SEALED')", name=op.f("ck_evaluation_examined_on")),
        sa.ForeignKeyConstraint(
            ["model_version_id"], ["model_version.id"], name=op.f("fk_evaluation_model_version_id_model_version")
        ),
        sa.ForeignKeyConstraint(
            ["nightly_run_id"], ["nightly_run.id"], name=op.f("fk_evaluation_nightly_run_id_nightly_run")
        ),
        sa.ForeignKeyConstraint(["test_set_id"], ["test_set.id"], name=op.f("fk_evaluation_test_set_id_test_set")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evaluation")),
        sa.UniqueConstraint(
            "nightly_run_id",
            "model_version_id",
            "examined_on",
            name=op.f("uq_evaluation_nightly_run_id_model_version_id_examined_on"),
        ),
        comment="Figures of models on sets of pictures; append-only, held by a trigger.",
    )
    op.create_index("ix_evaluation_model_version_id", "evaluation", ["model_version_id"], unique=False)


def _drift_reference() -> None:
    op.create_table(
        "drift_reference",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("first", sa.Date(), nullable=False),
        sa.Column("last", sa.Date(), nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("chosen_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_drift_reference")),
        comment="Periods that drift is measured against; append-only, held by a trigger.",
    )


def _champion_change() -> None:
    op.create_table(
        "champion_change",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("old_model_version_id", sa.Integer(), nullable=True),
        sa.Column("new_model_version_id", sa.Integer(), nullable=False),
        sa.Column("fencing_token", sa.Integer(), nullable=False, comment="The champion's after the change."),
        sa.Column("anchor_id", sa.Integer(), nullable=True, comment="The anchor after it."),
        sa.Column("nightly_run_id", sa.Integer(), nullable=True, comment="None: by a person."),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(2000), nullable=False),
        sa.Column("changed_at", _MOMENT, nullable=False),
        sa.CheckConstraint(
            "kind IN ('INSTALLED', 'PROMOTED', 'ROLLED_BACK', 'ANCHORED')", name=op.f("ck_champion_change_kind")
        ),
        sa.ForeignKeyConstraint(
            ["anchor_id"], ["model_version.id"], name=op.f("fk_champion_change_anchor_id_model_version")
        ),
        sa.ForeignKeyConstraint(
            ["new_model_version_id"],
            ["model_version.id"],
            name=op.f("fk_champion_change_new_model_version_id_model_version"),
        ),
        sa.ForeignKeyConstraint(
            ["nightly_run_id"], ["nightly_run.id"], name=op.f("fk_champion_change_nightly_run_id_nightly_run")
        ),
        sa.ForeignKeyConstraint(
            ["old_model_version_id"],
            ["model_version.id"],
            name=op.f("fk_champion_change_old_model_version_id_model_version"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_champion_change")),
        sa.UniqueConstraint("fencing_token", name=op.f("uq_champion_change_fencing_token")),
        comment="Changes of the champion; append-only, held by a trigger.",
    )
    # the history of a ledger that is upgraded begins with whoever is champion then
    op.execute(
        "INSERT INTO champion_change (kind, new_model_version_id, fencing_token, anchor_id, actor, reason, changed_at) "
        "SELECT 'INSTALLED', model_version_id, fencing_token, model_version_id, 'lungwatch', "
        "'champion when the ledger was upgraded to keep a history', since FROM champion"
    )


def _shadow_prediction() -> None:
    op.create_table(
        "shadow_prediction",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model_version_id", sa.Integer(), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("image_revision", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(32), nullable=False),
        sa.Column("score", sa.Double(), nullable=True, comment="Empty if not finite."),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.CheckConstraint(
            "outcome IN ('SUSPECTED', 'NOT_SUSPECTED', 'NO_RESULT', 'OUT_OF_SCOPE', 'PENDING')",
            name=op.f("ck_shadow_prediction_outcome"),
        ),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_shadow_prediction_image_id_image")),
        sa.ForeignKeyConstraint(
            ["model_version_id"], ["model_version.id"], name=op.f("fk_shadow_prediction_model_version_id_model_version")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shadow_prediction")),
        sa.UniqueConstraint(
            "model_version_id",
            "image_id",
            "image_revision",
            name=op.f("uq_shadow_prediction_model_version_id_image_id_image_revision"),
        ),
        comment="What challengers in the shadow said of live images; shown to nobody.",
    )


def _rescoring() -> None:
    op.create_table(
        "rescoring",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("model_version_id", sa.Integer(), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("reason", sa.String(32), nullable=True, comment="Coded: why it was not scored again."),
        sa.Column("token", sa.String(32), nullable=True, comment="Who holds it."),
        sa.Column("lease_until", _MOMENT, nullable=True, comment="By the database's clock."),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("queued_at", _MOMENT, nullable=False),
        sa.Column("finished_at", _MOMENT, nullable=True),
        sa.CheckConstraint(
            "reason IN ('SUPERSEDED', 'REVIEWED', 'NOT_IN_FORCE', 'SCORED', 'PIXELS_GONE', 'GAVE_UP')",
            name=op.f("ck_rescoring_reason"),
        ),
        sa.CheckConstraint("state IN ('WAITING', 'DONE', 'SKIPPED')", name=op.f("ck_rescoring_state")),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_rescoring_image_id_image")),
        sa.ForeignKeyConstraint(
            ["model_version_id"], ["model_version.id"], name=op.f("fk_rescoring_model_version_id_model_version")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rescoring")),
        sa.UniqueConstraint("model_version_id", "image_id", name=op.f("uq_rescoring_model_version_id_image_id")),
        comment="Images that a new champion looks at again.",
    )
    op.create_index(
        "ix_rescoring_waiting",
        "rescoring",
        ["model_version_id", "attempts", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'WAITING'"),
        postgresql_where=sa.text("state = 'WAITING'"),
    )


def _anchor() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.add_column(
            "champion",
            sa.Column(
                "anchor_id", sa.Integer(), nullable=True, comment="The best model there ever was; none: the champion."
            ),
        )
        op.create_foreign_key("fk_champion_anchor_id_model_version", "champion", "model_version", ["anchor_id"], ["id"])
    else:
        # SQLite adds no constraint to a table, but a column with one
        op.execute(
            "ALTER TABLE champion ADD COLUMN anchor_id INTEGER "
            "CONSTRAINT fk_champion_anchor_id_model_version REFERENCES model_version (id)"
        )


def _beside() -> None:
    op.add_column(
        "prediction",
        sa.Column(
            "beside",
            sa.Boolean(),
            server_default=sa.false(),
            nullable=False,
            comment="Said by re-scoring, and not in force: an earlier one, which it does not outdo, is what shows.",
        ),
    )


def _refuse_changes() -> None:
    postgresql = op.get_bind().dialect.name == "postgresql"
    for table in _APPEND_ONLY:
        if postgresql:
            op.execute(
                f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION lungwatch_append_only()"
            )
            continue
        for change in ("update", "delete"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{change} BEFORE {change.upper()} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
