"""The registry of models, which one is champion, and which one each process serves."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, Text, Words, vocabulary_check
from db.vocabulary import ChangeKind, ModelOrigin, ProcessKind


class ModelVersion(Base):
    """A bundle we know: its digest here is what its files are verified against before any parser opens them."""

    __tablename__ = "model_version"
    __table_args__ = (
        UniqueConstraint("name", "version"),
        UniqueConstraint("bundle_digest"),
        vocabulary_check("origin", ModelOrigin),
        {"comment": "Bundles we know; their digest here is what files are verified against."},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text(64))
    version: Mapped[str] = mapped_column(Text(64))
    origin: Mapped[ModelOrigin] = mapped_column(Words(ModelOrigin))
    bundle_digest: Mapped[str] = mapped_column(Text(64), comment="SHA-256 of manifest.json, which lists every file's.")
    location: Mapped[str] = mapped_column(Text(255), comment="Directory below the bundles directory, or 'starter'.")
    architecture: Mapped[str] = mapped_column(Text(64))
    preprocess_digest: Mapped[str] = mapped_column(Text(64))
    threshold: Mapped[float]
    manifest: Mapped[dict[str, Any]] = mapped_column(comment="manifest.json as data, for queries.")
    registered_at: Mapped[datetime]


class Champion(Base):
    """The model in service: one row, replaced by compare-and-swap on the fencing token."""

    __tablename__ = "champion"
    __table_args__ = (
        CheckConstraint("id = 1", name="single"),
        {"comment": "The model in service: one row."},
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, default=1)
    model_version_id: Mapped[int] = mapped_column(ForeignKey("model_version.id"))
    fencing_token: Mapped[int] = mapped_column(default=1, comment="Counts up with each change.")
    since: Mapped[datetime]
    anchor_id: Mapped[int | None] = mapped_column(
        ForeignKey("model_version.id"), comment="The best model there ever was; none: the champion."
    )


class ChampionChange(Base):
    """One change of the champion or its anchor: what, by whom, why."""

    __tablename__ = "champion_change"
    __table_args__ = (
        UniqueConstraint("fencing_token"),
        vocabulary_check("kind", ChangeKind),
        {"comment": "Changes of the champion; append-only, held by a trigger."},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[ChangeKind] = mapped_column(Words(ChangeKind))
    old_model_version_id: Mapped[int | None] = mapped_column(ForeignKey("model_version.id"))
    new_model_version_id: Mapped[int] = mapped_column(ForeignKey("model_version.id"))
    fencing_token: Mapped[int] = mapped_column(comment="The champion's after the change.")
    anchor_id: Mapped[int | None] = mapped_column(ForeignKey("model_version.id"), comment="The anchor after it.")
    nightly_run_id: Mapped[int | None] = mapped_column(ForeignKey("nightly_run.id"), comment="None: by a person.")
    actor: Mapped[str] = mapped_column(Text(64))
    reason: Mapped[str] = mapped_column(Text(2000))
    changed_at: Mapped[datetime]


class Heartbeat(Base):
    """The last sign of life of a process."""

    __tablename__ = "heartbeat"
    __table_args__ = (
        UniqueConstraint("process"),
        vocabulary_check("kind", ProcessKind),
        {"comment": "The last sign of life of each process."},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    process: Mapped[str] = mapped_column(Text(64), comment="Random name of one run of one process.")
    kind: Mapped[ProcessKind] = mapped_column(Words(ProcessKind))
    host: Mapped[str] = mapped_column(Text(255))
    pid: Mapped[int]
    listener: Mapped[str | None] = mapped_column(Text(32), comment="REGISTRAR: whose spool it registers.")
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    stopped_at: Mapped[datetime | None] = mapped_column(comment="Set by an orderly stop.")
    horizon: Mapped[datetime | None] = mapped_column(
        comment="REGISTRAR: everything received before this is registered."
    )
    model_version_id: Mapped[int | None] = mapped_column(
        ForeignKey("model_version.id"), comment="WORKER: the model it serves."
    )
    problem: Mapped[str | None] = mapped_column(Text(200), comment="Why it cannot work now, for a person.")
    figures: Mapped[dict[str, Any] | None] = mapped_column(
        JSON(none_as_null=True), comment="WORKER: what it did lately."
    )
