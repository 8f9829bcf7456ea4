"""What retention removed, and when it ran. Removed files of receipts are noted with the receipt."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import BigInteger, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, Text


class RemovedMaster(Base):
    """A master image that retention removed; it may be back, where the same image came again."""

    __tablename__ = "removed_master"
    __table_args__ = (
        # what a run decided to remove and did not say that it had
        Index(
            "ix_removed_master_removing",
            "digest",
            sqlite_where=text("removed_at IS NULL"),
            postgresql_where=text("removed_at IS NULL"),
        ),
        {"comment": "Master images that retention removed, the last time for each."},
    )

    digest: Mapped[str] = mapped_column(Text(64), primary_key=True, comment="SHA-256 that named the master file.")
    policy: Mapped[str] = mapped_column(Text(64), comment="The policy that it is removed by.")
    decided_at: Mapped[datetime] = mapped_column(comment="Before the file goes.")
    removed_at: Mapped[datetime | None] = mapped_column(comment="When the file was gone.")
    restored_at: Mapped[datetime | None] = mapped_column(comment="When the same image came again and was kept.")


class RetentionRun(Base):
    """The timed run of one day: whoever inserts its row does it, everybody else finds it taken."""

    __tablename__ = "retention_run"
    __table_args__ = (
        UniqueConstraint("due_on"),
        {"comment": "Daily runs of retention, claimed by whoever comes first."},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    due_on: Mapped[date] = mapped_column(comment="The day it was due, UTC; one run a day.")
    token: Mapped[str] = mapped_column(Text(32), comment="Who holds it.")
    lease_until: Mapped[datetime] = mapped_column(comment="By the database's clock.")
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    stored_files: Mapped[int | None] = mapped_column(comment="Stored files removed.")
    stored_bytes: Mapped[int | None] = mapped_column(BigInteger)
    masters: Mapped[int | None] = mapped_column(comment="Master images removed.")
    master_bytes: Mapped[int | None] = mapped_column(BigInteger)
