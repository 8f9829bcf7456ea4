"""Studies, their revisions, and their images."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, Text, Words, vocabulary_check
from db.vocabulary import Outcome


class Study(Base):
    """One study as far as we have seen it; its outcome is provisional until settled."""

    __tablename__ = "study"
    __table_args__ = (
        UniqueConstraint("study_uid"),
        vocabulary_check("outcome", Outcome),
        Index("ix_study_accession_number", "accession_number"),
        Index("ix_study_patient_id", "patient_id"),
        Index("ix_study_newest", "first_received_at", "id"),
        Index("ix_study_last_received_at", "last_received_at"),
        Index(
            "ix_study_unsettled",
            "last_received_at",
            sqlite_where=text("settled_at IS NULL"),
            postgresql_where=text("settled_at IS NULL"),
        ),
        {"comment": "One study as far as seen; provisional until settled."},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    study_uid: Mapped[str] = mapped_column(Text(64), comment="(0020,000D) Study Instance UID.")
    accession_number: Mapped[str | None] = mapped_column(Text(64), comment="(0008,0050).")
    patient_id: Mapped[str | None] = mapped_column(Text(64), comment="(0010,0020).")
    issuer_of_patient_id: Mapped[str | None] = mapped_column(Text(64), comment="(0010,0021).")
    patient_name: Mapped[str | None] = mapped_column(Text(324), comment="(0010,0010), only if a setting says so.")
    study_date: Mapped[date | None] = mapped_column(comment="(0008,0020).")
    revision: Mapped[int] = mapped_column(default=1, comment="Counts up when an image arrives after settling.")
    outcome: Mapped[Outcome] = mapped_column(Words(Outcome), default=Outcome.PENDING)
    first_received_at: Mapped[datetime]
    last_received_at: Mapped[datetime]
    settled_at: Mapped[datetime | None] = mapped_column(comment="When the present revision settled.")


class StudyRevision(Base):
    """One settled state of a study: verdicts and deliveries name the revision they were made on."""

    __tablename__ = "study_revision"
    __table_args__ = (
        UniqueConstraint("study_id", "revision"),
        vocabulary_check("outcome", Outcome),
        {"comment": "Settled states of studies."},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"))
    revision: Mapped[int]
    outcome: Mapped[Outcome] = mapped_column(Words(Outcome))
    settled_at: Mapped[datetime]
    images: Mapped[int] = mapped_column(comment="Images the revision rests on.")


class Image(Base):
    """One SOP instance; the receipt in force gave its pixels."""

    __tablename__ = "image"
    __table_args__ = (
        UniqueConstraint("sop_instance_uid"),
        vocabulary_check("outcome", Outcome),
        Index("ix_image_study_id", "study_id"),
        Index("ix_image_master_digest", "master_digest"),
        Index("ix_image_dataset_sha256", "dataset_sha256"),
        {"comment": "One SOP instance; the receipt in force gave its pixels."},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"))
    sop_instance_uid: Mapped[str] = mapped_column(Text(64), comment="(0008,0018).")
    sop_class_uid: Mapped[str] = mapped_column(Text(64), comment="(0008,0016).")
    series_uid: Mapped[str | None] = mapped_column(Text(64), comment="(0020,000E).")
    transfer_syntax_uid: Mapped[str] = mapped_column(Text(64), comment="(0002,0010) as received.")
    revision: Mapped[int] = mapped_column(default=1, comment="Counts up with each header revision.")
    receipt_sha256: Mapped[str] = mapped_column(Text(64), comment="Digest of the file in force.")
    dataset_sha256: Mapped[str | None] = mapped_column(
        Text(64), comment="SHA-256 of the data set in force, without the file meta that names the sender."
    )
    outcome: Mapped[Outcome] = mapped_column(Words(Outcome), default=Outcome.PENDING)
    reason: Mapped[str | None] = mapped_column(Text(64), comment="Coded reason of NO_RESULT or OUT_OF_SCOPE.")
    annotations: Mapped[list[str]] = mapped_column(default=list, comment="Coded remarks, such as UNKNOWN_AGE.")

    modality: Mapped[str | None] = mapped_column(Text(16), comment="(0008,0060).")
    body_part: Mapped[str | None] = mapped_column(Text(64), comment="(0018,0015).")
    view: Mapped[str | None] = mapped_column(Text(16), comment="AP, PA, LATERAL … as the scope rules read it.")
    patient_age_days: Mapped[int | None] = mapped_column(comment="From PatientAge, else birth and study date.")
    patient_sex: Mapped[str | None] = mapped_column(Text(16), comment="(0010,0040).")
    manufacturer: Mapped[str | None] = mapped_column(Text(64), comment="(0008,0070).")
    rows: Mapped[int | None] = mapped_column(comment="(0028,0010).")
    columns: Mapped[int | None] = mapped_column(comment="(0028,0011).")

    pixels_digest: Mapped[str | None] = mapped_column(
        Text(64), comment="SHA-256 of decoded pixels and grayscale pipeline."
    )
    master_digest: Mapped[str | None] = mapped_column(Text(64), comment="SHA-256 that names the master file.")
    input_digest: Mapped[str | None] = mapped_column(Text(64), comment="SHA-256 of the model input last classified.")
