"""What a model says of images besides the result in force: in the shadow, or again after a promotion."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, Text, Words, vocabulary_check
from db.vocabulary import Outcome, RescoringState, Unscored


class ShadowPrediction(Base):
    """What a challenger in the shadow said of a live image; never shown, never flagged."""

    __tablename__ = "shadow_prediction"
    __table_args__ = (
        UniqueConstraint("model_version_id", "image_id", "image_revision"),
        vocabulary_check("outcome", Outcome),
        {"comment": "What challengers in the shadow said of live images; shown to nobody."},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    model_version_id: Mapped[int] = mapped_column(ForeignKey("model_version.id"))
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"))
    image_revision: Mapped[int]
    outcome: Mapped[Outcome] = mapped_column(Words(Outcome))
    score: Mapped[float | None] = mapped_column(comment="Empty if not finite.")
    created_at: Mapped[datetime]


class Rescoring(Base):
    """An image that a new champion is to look at again, when nothing newly received waits."""

    __tablename__ = "rescoring"
    __table_args__ = (
        UniqueConstraint("model_version_id", "image_id"),
        vocabulary_check("state", RescoringState),
        vocabulary_check("reason", Unscored),
        Index(
            "ix_rescoring_waiting",
            "model_version_id",
            "attempts",
            "id",
            sqlite_where=text("state = 'WAITING'"),
            postgresql_where=text("state = 'WAITING'"),
        ),
        {"comment": "Images that a new champion looks at again."},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    model_version_id: Mapped[int] = mapped_column(ForeignKey("model_version.id"))
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"))
    state: Mapped[RescoringState] = mapped_column(Words(RescoringState))
    reason: Mapped[Unscored | None] = mapped_column(Words(Unscored), comment="Coded: why it was not scored again.")
    token: Mapped[str | None] = mapped_column(Text(32), comment="Who holds it.")
    lease_until: Mapped[datetime | None] = mapped_column(comment="By the database's clock.")
    attempts: Mapped[int] = mapped_column(default=0)
    queued_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
