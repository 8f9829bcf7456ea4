"""What readers said of studies. Append-only: triggers of the database refuse to change or delete a row."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, Text, Words, vocabulary_check
from db.vocabulary import VerdictKind, VerdictOrigin


class Verdict(Base):
    """One reading of a settled study revision; which verdicts stand is worked out (`db.consensus`), never stored."""

    __tablename__ = "verdict"
    __table_args__ = (
        UniqueConstraint("digest"),
        vocabulary_check("verdict", VerdictKind),
        vocabulary_check("origin", VerdictOrigin),
        CheckConstraint("origin <> 'FILE' OR source_sha256 IS NOT NULL", name="from_file"),
        Index("ix_verdict_study_revision_id", "study_revision_id", "reader", "read_at"),
        {"comment": "What readers said of study revisions; append-only, held by a trigger."},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    study_revision_id: Mapped[int] = mapped_column(ForeignKey("study_revision.id"))
    reader: Mapped[str] = mapped_column(Text(64), comment="Lower case: one reader has one spelling.")
    read_at: Mapped[datetime] = mapped_column(comment="Of two verdicts of a reader on a revision the later stands.")
    verdict: Mapped[VerdictKind] = mapped_column(Words(VerdictKind))
    model_visible: Mapped[bool] = mapped_column(comment="Whether the reader could see what the model said.")
    comment: Mapped[str | None] = mapped_column(Text(500))
    origin: Mapped[VerdictOrigin] = mapped_column(Words(VerdictOrigin))
    source_sha256: Mapped[str | None] = mapped_column(Text(64), comment="FILE: digest of the file it was in.")
    entered_by: Mapped[str] = mapped_column(Text(64), comment="Account that entered it, not always the reader's.")
    recorded_at: Mapped[datetime] = mapped_column(comment="By the database's clock.")
    digest: Mapped[str] = mapped_column(Text(64), comment="SHA-256 of what it says: the same is entered once.")
