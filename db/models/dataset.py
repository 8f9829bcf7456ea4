"""What models are trained on: imported data sets, their images, and the labels of images. All append-only."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, Text, Words, vocabulary_check
from db.vocabulary import DataLayout, ImageClass, LabelOrigin, PublishedSplit, Use


class DataSet(Base):
    """One import of a data set; what changed in it since the last is another version."""

    __tablename__ = "data_set"
    __table_args__ = (
        UniqueConstraint("digest"),
        UniqueConstraint("name", "version"),
        vocabulary_check("layout", DataLayout),
        {"comment": "Imported data sets, one row a version; append-only."},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(Text(255))
    version: Mapped[int] = mapped_column(comment="Counts the imports of this name; the newest is in force.")
    digest: Mapped[str] = mapped_column(Text(64), comment="Over key, label, patient, subgroup, split and bytes of all.")
    layout: Mapped[DataLayout] = mapped_column(Words(DataLayout))
    origin: Mapped[str] = mapped_column(Text(500), comment="Where it came from, and under which licence.")
    images: Mapped[int]
    imported_at: Mapped[datetime]


class LabelledImage(Base):
    """One picture of one patient, wherever it came from; its pixels are its master."""

    __tablename__ = "labelled_image"
    __table_args__ = (
        UniqueConstraint("master_digest", "patient_digest"),
        {"comment": "Pictures that carry labels, one row a picture and patient; append-only."},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    master_digest: Mapped[str] = mapped_column(Text(64), comment="Names the file in masters/.")
    patient_digest: Mapped[str] = mapped_column(Text(16), comment="Keyed digest of the patient; never an identifier.")
    added_at: Mapped[datetime]


class DataSetImage(Base):
    """One file of a data set: which picture it is and where it was put."""

    __tablename__ = "data_set_image"
    __table_args__ = (
        UniqueConstraint("data_set_id", "key"),
        vocabulary_check("published_split", PublishedSplit),
        vocabulary_check("use", Use),
        Index("ix_data_set_image_labelled_image_id", "labelled_image_id"),
        {"comment": "Files of imported data sets; append-only."},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    data_set_id: Mapped[int] = mapped_column(ForeignKey("data_set.id"))
    labelled_image_id: Mapped[int] = mapped_column(ForeignKey("labelled_image.id"))
    key: Mapped[str] = mapped_column(Text(300), comment="Split, class and file, the same wherever the data set lies.")
    file_sha256: Mapped[str] = mapped_column(Text(64))
    published_split: Mapped[PublishedSplit | None] = mapped_column(Words(PublishedSplit))
    use: Mapped[Use] = mapped_column(Words(Use), comment="By a keyed hash of the patient; see docs/data.md.")


class Label(Base):
    """What an image is said to be; the highest version is in force, unless that one withdraws the label."""

    __tablename__ = "label"
    __table_args__ = (
        UniqueConstraint("labelled_image_id", "version"),
        vocabulary_check("label", ImageClass),
        vocabulary_check("origin", LabelOrigin),
        CheckConstraint("origin <> 'IMPORTED' OR data_set_id IS NOT NULL", name="imported_from"),
        Index("ix_label_data_set_id", "data_set_id"),
        {"comment": "Labels of images; the highest version is in force; append-only, held by a trigger."},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    labelled_image_id: Mapped[int] = mapped_column(ForeignKey("labelled_image.id"))
    version: Mapped[int]
    label: Mapped[ImageClass] = mapped_column(Words(ImageClass))
    subgroup: Mapped[str | None] = mapped_column(Text(64), comment="Such as bacterial or viral.")
    origin: Mapped[LabelOrigin] = mapped_column(Words(LabelOrigin))
    data_set_id: Mapped[int | None] = mapped_column(ForeignKey("data_set.id"), comment="IMPORTED: the data set.")
    made_at: Mapped[datetime]
    withdrawn: Mapped[bool] = mapped_column(
        default=False, server_default=false(), comment="The verdicts no longer say it; no label is in force."
    )


class LabelVerdict(Base):
    """One verdict that a label of origin VERDICT was made from."""

    __tablename__ = "label_verdict"
    __table_args__ = (
        UniqueConstraint("label_id", "verdict_id"),
        Index("ix_label_verdict_verdict_id", "verdict_id"),
        {"comment": "Which verdicts a label was made from; append-only, held by a trigger."},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    label_id: Mapped[int] = mapped_column(ForeignKey("label.id"))
    verdict_id: Mapped[int] = mapped_column(ForeignKey("verdict.id"))
