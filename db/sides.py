"""On which side each patient is: noted once, and what stands is never changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.base import database_now
from db.chunks import in_chunks
from db.inserting import insert
from db.models.learning import PatientSide
from db.vocabulary import Side


def sides(session: Session, patient_digests: Iterable[str]) -> dict[str, Side]:
    """Return the sides of those among these patients that were placed."""
    found: dict[str, Side] = {}
    for digests in in_chunks(patient_digests):
        rows = session.execute(
            select(PatientSide.patient_digest, PatientSide.side).where(PatientSide.patient_digest.in_(digests))
        )
        found |= {digest: side for digest, side in rows}  # noqa: C416 - rows are not pairs to mypy
    return found


def place(session: Session, wanted: Mapping[str, Side]) -> dict[str, Side]:
    """Note patients and return where they are: as wanted, unless somebody placed them before.

    Safe to repeat, and from several processes at once: the first one's word stands.
    """
    # in one order, so that two processes do not wait for each other crosswise
    for digests in in_chunks(sorted(wanted)):
        rows = [{"patient_digest": one, "side": wanted[one], "placed_at": database_now()} for one in digests]
        session.execute(insert(session, PatientSide).values(rows).on_conflict_do_nothing())
    return sides(session, sorted(wanted))
