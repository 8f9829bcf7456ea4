"""What we were asked to vouch for: one row for every storage commitment request we answered 0x0000 to."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.base import Base, Text, Words, vocabulary_check
from db.vocabulary import CommitmentState, Unreported


class Commitment(Base):
    """One request for storage commitment and what became of it.

    What it asks for stays in its spooled file, which goes once the request is
    no longer PENDING.
    """

    __tablename__ = "commitment"
    __table_args__ = (
        UniqueConstraint("entry"),
        vocabulary_check("state", CommitmentState),
        vocabulary_check("reason", Unreported),
        Index(
            "ix_commitment_next_at",
            "next_at",
            sqlite_where=text("state = 'PENDING'"),
            postgresql_where=text("state = 'PENDING'"),
        ),
        {"comment": "One row for every storage commitment request acknowledged with 0x0000, and what became of it."},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    entry: Mapped[str] = mapped_column(Text(128), comment="The spool's entry name, without suffix.")
    listener: Mapped[str] = mapped_column(Text(32))
    size: Mapped[int] = mapped_column(BigInteger, comment="Bytes of the Part 10 file.")
    peer: Mapped[str | None] = mapped_column(Text(16), comment="Requesting AE title, made printable.")
    received_at: Mapped[datetime] = mapped_column(comment="When the file became durable.")
    registered_at: Mapped[datetime]

    state: Mapped[CommitmentState] = mapped_column(Words(CommitmentState), default=CommitmentState.PENDING)
    reason: Mapped[Unreported | None] = mapped_column(Words(Unreported), comment="Why the last try did not report it.")
    detail: Mapped[str | None] = mapped_column(Text(500), comment="One sentence, free of identifiers.")
    attempts: Mapped[int] = mapped_column(default=0, comment="Tries to report, committed before connecting.")
    next_at: Mapped[datetime] = mapped_column(comment="Not looked at before; by the database's clock.")
    lease_token: Mapped[str | None] = mapped_column(Text(32))
    lease_until: Mapped[datetime | None] = mapped_column(comment="By the database's clock.")
    committed: Mapped[int | None] = mapped_column(comment="REPORTED: instances that we vouched for.")
    failed: Mapped[int | None] = mapped_column(comment="REPORTED: instances that we did not.")
    finished_at: Mapped[datetime | None]
