"""What a model said of an image, with everything needed to say it again."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, ForeignKey, Index, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, Text, Words, vocabulary_check
from db.vocabulary import Outcome


class Prediction(Base):
    """One effective result per (image, revision, model, preprocessing); never updated."""

    __tablename__ = "prediction"
    __table_args__ = (
        UniqueConstraint("image_id", "image_revision", "model_version_id", "preprocess_digest"),
        vocabulary_check("outcome", Outcome),
        Index("ix_prediction_model_version_id", "model_version_id"),
        {"comment": "What a model said of an image; never updated."},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id"))
    image_revision: Mapped[int]
    model_version_id: Mapped[int] = mapped_column(ForeignKey("model_version.id"))
    preprocess_digest: Mapped[str] = mapped_column(Text(64), comment="Digest of the bundle's PreprocessSpec.")
    master_digest: Mapped[str] = mapped_column(Text(64))
    input_digest: Mapped[str] = mapped_column(Text(64))
    outcome: Mapped[Outcome] = mapped_column(Words(Outcome))
    reason: Mapped[str | None] = mapped_column(Text(64), comment="Coded reason of NO_RESULT.")
    score: Mapped[float | None] = mapped_column(
        comment="The model's own output for pneumonia, 0 to 1; empty if not finite."
    )
    probability: Mapped[float | None] = mapped_column(comment="Calibrated, at `prevalence`.")
    prevalence: Mapped[float | None] = mapped_column(comment="Prevalence the probability is for.")
    prevalence_offset: Mapped[float | None] = mapped_column(comment="Log-odds added for the site's prevalence.")
    threshold: Mapped[float] = mapped_column(comment="On `score`.")
    probability_threshold: Mapped[float | None] = mapped_column(
        comment="The same threshold on the scale of `probability`, so that the two can be compared."
    )
    unfamiliarity: Mapped[float | None] = mapped_column(
        comment="How unlike the training data the input is; empty if not finite, or if the bundle measures none."
    )
    unfamiliarity_threshold: Mapped[float | None] = mapped_column(
        comment="On `unfamiliarity`; empty if the bundle measures none."
    )
    heat: Mapped[list[list[float]] | None] = mapped_column(
        JSON(none_as_null=True), comment="The model's class activation map, for heatmaps; rows of places."
    )
    beside: Mapped[bool] = mapped_column(
        default=False,
        server_default=false(),
        comment="Said by re-scoring, and not in force: an earlier one, which it does not outdo, is what shows.",
    )
    runtime: Mapped[str] = mapped_column(Text(32))
    code_version: Mapped[str] = mapped_column(Text(32))
    created_at: Mapped[datetime]
