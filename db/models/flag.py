"""Why a study waits for a reader."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, Text, Words, vocabulary_check
from db.vocabulary import FlagKind


class Flag(Base):
    """A flag on a study, about one image or the whole; cleared, never deleted."""

    __tablename__ = "flag"
    __table_args__ = (
        vocabulary_check("kind", FlagKind),
        # two indexes, because NULLs are distinct in a plain unique constraint
        Index(
            "uq_flag_image",
            "image_id",
            "kind",
            "study_revision",
            unique=True,
            sqlite_where=text("image_id IS NOT NULL"),
            postgresql_where=text("image_id IS NOT NULL"),
        ),
        Index(
            "uq_flag_study",
            "study_id",
            "kind",
            "study_revision",
            unique=True,
            sqlite_where=text("image_id IS NULL"),
            postgresql_where=text("image_id IS NULL"),
        ),
        Index("ix_flag_study_id", "study_id"),
        Index(
            "ix_flag_open",
            "study_id",
            "priority",
            sqlite_where=text("cleared_at IS NULL"),
            postgresql_where=text("cleared_at IS NULL"),
        ),
        # the reader's list, in its order
        Index(
            "ix_flag_waiting",
            "priority",
            "received_at",
            "study_id",
            sqlite_where=text("cleared_at IS NULL AND answered_at IS NULL"),
            postgresql_where=text("cleared_at IS NULL AND answered_at IS NULL"),
        ),
        {"comment": "Why a study waits for a reader; cleared, never deleted."},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"))
    image_id: Mapped[int | None] = mapped_column(ForeignKey("image.id"))
    study_revision: Mapped[int]
    kind: Mapped[FlagKind] = mapped_column(Words(FlagKind))
    priority: Mapped[int] = mapped_column(
        comment="Smaller is sooner: FLAG_PRIORITY of its kind; AUDIT has one that does not tell."
    )
    reason: Mapped[str | None] = mapped_column(Text(64))
    draw_probability: Mapped[float | None] = mapped_column(
        comment="AUDIT only: the chance this study had of being drawn."
    )
    raised_at: Mapped[datetime]
    # one raised without it stands first of its priority: rather too early than unseen
    received_at: Mapped[datetime] = mapped_column(
        server_default=text("'1970-01-01 00:00:00.000000'"),
        comment="Of its study, when it was raised or last settled; orders the reader's list.",
    )
    cleared_at: Mapped[datetime | None]
    answered_at: Mapped[datetime | None] = mapped_column(
        comment="Since when a verdict on the present revision answers it; set from the verdicts (db/answering.py)."
    )
