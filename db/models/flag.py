"""Why a study waits for a reader."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, Words, vocabulary_check
from db.vocabulary import FlagKind


class Flag(Base):
    """A flag on a study, about one image or the whole; cleared, never deleted."""

    __tablename__ = "flag"
    __table_args__ = (
        UniqueConstraint("study_id", "image_id", "kind", "study_revision"),
        vocabulary_check("kind", FlagKind),
        Index(
            "ix_flag_open",
            "study_id",
            "priority",
            sqlite_where=text("cleared_at IS NULL"),
            postgresql_where=text("cleared_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"))
    image_id: Mapped[int | None] = mapped_column(ForeignKey("image.id"))
    study_revision: Mapped[int]
    kind: Mapped[FlagKind] = mapped_column(Words(FlagKind))
    priority: Mapped[int] = mapped_column(doc="FLAG_PRIORITY when raised; smaller is sooner.")
    reason: Mapped[str | None] = mapped_column(String(64))
    draw_probability: Mapped[float | None] = mapped_column(doc="AUDIT only: the chance this study had of being drawn.")
    raised_at: Mapped[datetime]
    cleared_at: Mapped[datetime | None]
