"""What was acknowledged: one row for every instance we answered 0x0000 to."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, Text, Words, vocabulary_check
from db.vocabulary import ReceiptState


class Receipt(Base):
    """One acknowledged instance and what became of it.

    A receipt is PENDING from registration until a worker disposes of it, with
    a reason, in one conditional update that names the lease token. `study_id`
    and `image_id` stay empty where no header could be read.
    """

    __tablename__ = "receipt"
    __table_args__ = (
        UniqueConstraint("entry"),
        UniqueConstraint("listener", "incarnation", "sequence"),
        vocabulary_check("state", ReceiptState),
        # the claim's order, over the few rows that wait
        Index(
            "ix_receipt_claim",
            "urgency",
            "id",
            sqlite_where=text("state = 'PENDING'"),
            postgresql_where=text("state = 'PENDING'"),
        ),
        # files that a worker died before moving
        Index(
            "ix_receipt_unstored",
            "id",
            sqlite_where=text("stored_at IS NULL AND state <> 'PENDING'"),
            postgresql_where=text("stored_at IS NULL AND state <> 'PENDING'"),
        ),
        # what may hold up settling, and what is overdue
        Index(
            "ix_receipt_waiting",
            "received_at",
            "id",
            sqlite_where=text("state = 'PENDING'"),
            postgresql_where=text("state = 'PENDING'"),
        ),
        Index(
            "ix_receipt_due",
            "due_at",
            sqlite_where=text("state = 'PENDING'"),
            postgresql_where=text("state = 'PENDING'"),
        ),
        Index("ix_receipt_sha256", "sha256"),
        # what storage commitment asks for
        Index("ix_receipt_sop_instance_uid", "sop_instance_uid"),
        Index("ix_receipt_study_id", "study_id"),
        Index("ix_receipt_image_id", "image_id"),
        # put back by a person, so that a study waits for it
        Index(
            "ix_receipt_put_back",
            "study_id",
            sqlite_where=text("state = 'PENDING' AND study_id IS NOT NULL"),
            postgresql_where=text("state = 'PENDING' AND study_id IS NOT NULL"),
        ),
        Index(
            "ix_receipt_quarantined",
            "id",
            "reason",
            sqlite_where=text("state = 'QUARANTINED'"),
            postgresql_where=text("state = 'QUARANTINED'"),
        ),
        # unreadable ones that stand in the reader's list by themselves
        Index(
            "ix_receipt_unreadable",
            "received_at",
            "id",
            sqlite_where=text("state = 'QUARANTINED' AND study_id IS NULL"),
            postgresql_where=text("state = 'QUARANTINED' AND study_id IS NULL"),
        ),
        # what retention has not removed, by age
        Index(
            "ix_receipt_kept",
            "finished_at",
            "id",
            sqlite_where=text("finished_at IS NOT NULL AND removed_at IS NULL"),
            postgresql_where=text("finished_at IS NOT NULL AND removed_at IS NULL"),
        ),
        # files that a retention run decided to remove and did not say that it had
        Index(
            "ix_receipt_removing",
            "id",
            sqlite_where=text("removal_policy IS NOT NULL AND removed_at IS NULL"),
            postgresql_where=text("removal_policy IS NOT NULL AND removed_at IS NULL"),
        ),
        {"comment": "One row for every instance acknowledged with 0x0000, and what became of it."},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    entry: Mapped[str] = mapped_column(Text(128), comment="The spool's entry name, without suffix.")
    listener: Mapped[str] = mapped_column(Text(32))
    incarnation: Mapped[str] = mapped_column(Text(20))
    sequence: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(Text(64), comment="Digest of the Part 10 file.")
    size: Mapped[int] = mapped_column(BigInteger, comment="Bytes of the Part 10 file.")
    peer: Mapped[str | None] = mapped_column(Text(16), comment="Sending AE title, made printable.")
    sop_class_uid: Mapped[str | None] = mapped_column(Text(64), comment="(0002,0002), which the listener compared.")
    sop_instance_uid: Mapped[str | None] = mapped_column(Text(64), comment="(0002,0003), likewise.")
    received_at: Mapped[datetime] = mapped_column(comment="When the file became durable.")
    registered_at: Mapped[datetime]
    due_at: Mapped[datetime] = mapped_column(comment="From then on a PENDING receipt is overdue.")
    urgency: Mapped[int] = mapped_column(comment="URGENCY_RANK; smaller is claimed sooner.")

    state: Mapped[ReceiptState] = mapped_column(Words(ReceiptState), default=ReceiptState.PENDING)
    reason: Mapped[str | None] = mapped_column(Text(64), comment="Coded reason of a terminal state.")
    detail: Mapped[str | None] = mapped_column(Text(500), comment="One sentence, free of identifiers.")
    attempts: Mapped[int] = mapped_column(default=0, comment="Starts, committed before a byte is parsed.")
    lease_token: Mapped[str | None] = mapped_column(Text(32))
    lease_until: Mapped[datetime | None] = mapped_column(comment="By the database's clock.")
    finished_at: Mapped[datetime | None]
    stored_at: Mapped[datetime | None] = mapped_column(comment="When the file moved from the spool to stored/.")

    removal_policy: Mapped[str | None] = mapped_column(
        Text(64), comment="The policy that its file is removed by; set before the file goes."
    )
    removed_at: Mapped[datetime | None] = mapped_column(comment="When its file was gone.")

    study_id: Mapped[int | None] = mapped_column(ForeignKey("study.id"))
    image_id: Mapped[int | None] = mapped_column(ForeignKey("image.id"))


class ReceiptRetry(Base):
    """One time a person put a quarantined receipt back to work, and what had been wrong with it."""

    __tablename__ = "receipt_retry"
    __table_args__ = (
        Index("ix_receipt_retry_receipt_id", "receipt_id"),
        {"comment": "Each time a person put a quarantined receipt back; append-only."},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    receipt_id: Mapped[int] = mapped_column(ForeignKey("receipt.id"))
    reason: Mapped[str | None] = mapped_column(Text(64), comment="Why it had been quarantined.")
    detail: Mapped[str | None] = mapped_column(Text(500))
    attempts: Mapped[int] = mapped_column(comment="Starts it had had.")
    quarantined_at: Mapped[datetime | None]
    retried_at: Mapped[datetime]
