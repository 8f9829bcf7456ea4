"""The nightly job: sides of patients, frozen tests, snapshots, runs, examinations, and what drift is measured by."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, Text, Words, vocabulary_check
from db.vocabulary import ExaminedOn, NightKind, NightState, NightStep, Share, Side


class PatientSide(Base):
    """Where a patient belongs for good, noted when a snapshot first meets one."""

    __tablename__ = "patient_side"
    __table_args__ = (
        vocabulary_check("side", Side),
        {"comment": "On which side each patient is, for good; append-only, held by a trigger."},
    )

    patient_digest: Mapped[str] = mapped_column(Text(16), primary_key=True, comment="As in labelled_image.")
    side: Mapped[Side] = mapped_column(Words(Side))
    placed_at: Mapped[datetime]


class TestSet(Base):
    """One version of the frozen test set; made by an explicit command and by nothing else."""

    __tablename__ = "test_set"
    __table_args__ = (
        UniqueConstraint("version"),
        UniqueConstraint("digest"),
        {"comment": "Versions of the frozen test set; append-only, held by a trigger."},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(comment="Counts the versions; the newest is in force.")
    digest: Mapped[str] = mapped_column(Text(64), comment="SHA-256 over version, picture, patient, label and share.")
    frozen_at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(Text(64), comment="Account that asked for it.")
    reason: Mapped[str] = mapped_column(Text(500))


class TestSetImage(Base):
    """One picture of a version of the frozen test set, with the label it is judged by."""

    __tablename__ = "test_set_image"
    __table_args__ = (
        UniqueConstraint("test_set_id", "labelled_image_id"),
        vocabulary_check("share", Share),
        {"comment": "Pictures of each version of the frozen test set; append-only, held by a trigger."},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    test_set_id: Mapped[int] = mapped_column(ForeignKey("test_set.id"))
    labelled_image_id: Mapped[int] = mapped_column(ForeignKey("labelled_image.id"))
    label_id: Mapped[int] = mapped_column(ForeignKey("label.id"), comment="The version of the label that is frozen.")
    share: Mapped[Share] = mapped_column(Words(Share), comment="SEALED: opened once a quarter at most.")


class Snapshot(Base):
    """What one training may use, frozen: the manifest lists every picture with label and side."""

    __tablename__ = "snapshot"
    __table_args__ = (
        UniqueConstraint("digest"),
        {"comment": "Frozen selections of pictures and labels; append-only, held by a trigger."},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(Text(64), comment="SHA-256 of the manifest, which is named by it.")
    test_set_id: Mapped[int | None] = mapped_column(ForeignKey("test_set.id"))
    images: Mapped[int] = mapped_column(comment="Listed with pixels.")
    patients: Mapped[int]
    pixels_gone: Mapped[int] = mapped_column(comment="Listed as lost: labelled, and the master was removed.")
    counts: Mapped[dict[str, Any]] = mapped_column(comment="Images by side and label.")
    taken_at: Mapped[datetime]


class NightlyRun(Base):
    """The run of one night: whoever inserts its row holds it, until the lease ends."""

    __tablename__ = "nightly_run"
    __table_args__ = (
        UniqueConstraint("night"),
        vocabulary_check("kind", NightKind),
        vocabulary_check("state", NightState),
        vocabulary_check("step", NightStep),
        CheckConstraint("state = 'RUNNING' OR finished_at IS NOT NULL", name="ended"),
        {"comment": "Runs of the nightly job, one a date."},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    night: Mapped[date] = mapped_column(comment="Local date of the night.")
    state: Mapped[NightState] = mapped_column(Words(NightState))
    kind: Mapped[NightKind | None] = mapped_column(Words(NightKind), comment="What the night does; chosen once.")
    step: Mapped[NightStep] = mapped_column(Words(NightStep), comment="Under way, or the last one.")
    progress: Mapped[str | None] = mapped_column(Text(200), comment="How far the step has come, for a person.")
    seconds: Mapped[dict[str, Any]] = mapped_column(default=dict, comment="What each step took, in all attempts.")
    token: Mapped[str] = mapped_column(Text(32), comment="Who holds it; another with each claim.")
    attempts: Mapped[int] = mapped_column(default=1, comment="How often it was claimed.")
    lease_until: Mapped[datetime] = mapped_column(comment="By the database's clock.")
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    snapshot_id: Mapped[int | None] = mapped_column(ForeignKey("snapshot.id"))
    work: Mapped[str | None] = mapped_column(Text(64), comment="Folder of the fit; several nights may share it.")
    new_labels: Mapped[int | None] = mapped_column(comment="To learn from, since the last challenger.")
    plan: Mapped[str | None] = mapped_column(Text(500), comment="Why the night does this and no more.")
    champion_id: Mapped[int | None] = mapped_column(ForeignKey("model_version.id"), comment="Whom it was held against.")
    champion_token: Mapped[int | None] = mapped_column(comment="The fencing token that a promotion must find.")
    anchor_id: Mapped[int | None] = mapped_column(ForeignKey("model_version.id"), comment="The best there was then.")
    challenger_id: Mapped[int | None] = mapped_column(ForeignKey("model_version.id"))
    decision: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True), comment="The gate's, whole.")
    drift: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True), comment="What was measured of it.")
    reason: Mapped[str | None] = mapped_column(Text(2000), comment="Why it ended as it did, for a person.")
    report: Mapped[str | None] = mapped_column(Text(255), comment="Folder of the report below the data directory.")


class Evaluation(Base):
    """One model's figures on one set of pictures."""

    __tablename__ = "evaluation"
    __table_args__ = (
        UniqueConstraint("nightly_run_id", "model_version_id", "examined_on"),
        vocabulary_check("examined_on", ExaminedOn),
        Index("ix_evaluation_model_version_id", "model_version_id"),
        {"comment": "Figures of models on sets of pictures; append-only, held by a trigger."},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    nightly_run_id: Mapped[int | None] = mapped_column(ForeignKey("nightly_run.id"), comment="None: by a person.")
    model_version_id: Mapped[int] = mapped_column(ForeignKey("model_version.id"))
    examined_on: Mapped[ExaminedOn] = mapped_column(Words(ExaminedOn))
    test_set_id: Mapped[int | None] = mapped_column(ForeignKey("test_set.id"))
    images: Mapped[int]
    patients: Mapped[int]
    figures: Mapped[dict[str, Any]] = mapped_column(comment="By name, with intervals.")
    actor: Mapped[str] = mapped_column(Text(64))
    reason: Mapped[str | None] = mapped_column(Text(500))
    made_at: Mapped[datetime]


class DriftReference(Base):
    """The weeks that later ones are held against; the newest row is in force."""

    __tablename__ = "drift_reference"
    __table_args__ = ({"comment": "Periods that drift is measured against; append-only, held by a trigger."},)

    id: Mapped[int] = mapped_column(primary_key=True)
    first: Mapped[date]
    last: Mapped[date]
    actor: Mapped[str] = mapped_column(Text(64))
    reason: Mapped[str] = mapped_column(Text(500))
    chosen_at: Mapped[datetime]
