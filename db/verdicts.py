"""Verdicts of readers: entering them once, and listing them. There is no way to change one.

A verdict belongs to a settled revision of a study. Until a study has settled
its images may still be coming, and a verdict would stand for some that its
reader never saw.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session, aliased

from core.errors import LungwatchError
from db.answering import note_answers
from db.base import database_now
from db.chunks import in_chunks
from db.inserting import insert
from db.models.study import Study, StudyRevision
from db.models.verdict import Verdict
from db.verdict_text import AHEAD
from db.vocabulary import VerdictKind, VerdictOrigin


class NoSuchStudy(LungwatchError):
    """No study, several studies, or no settled revision of it is meant."""


@dataclass(frozen=True, slots=True)
class Settled:
    """One settled revision of a study."""

    revision_id: int
    revision: int
    settled_at: datetime


@dataclass(frozen=True, slots=True)
class Candidate:
    """A study that a verdict may be about.

    Attributes
    ----------
    revision : int
        The present one.
    settled : tuple of Settled
        By revision; the present one is missing from it while the study has not settled.
    """

    study_id: int
    study_uid: str
    accession_number: str | None
    revision: int
    settled: tuple[Settled, ...]

    def read_at(self, when: datetime) -> Settled | None:
        """Return the revision that a reader saw then: the newest that had settled, else the first.

        One that settled within minutes of it counts as later, because clocks differ: rather is it read again.
        """
        before = [one for one in self.settled if one.settled_at <= when - AHEAD]
        return before[-1] if before else next(iter(self.settled), None)

    def of_revision(self, revision: int) -> Settled | None:
        """Return a revision by its number, None if it has not settled."""
        return next((one for one in self.settled if one.revision == revision), None)


@dataclass(frozen=True, slots=True)
class NewVerdict:
    """A verdict to enter; see the columns of `db.models.verdict`. Texts as `db.verdict_text` returns them."""

    revision_id: int
    reader: str
    read_at: datetime
    verdict: VerdictKind
    model_visible: bool
    comment: str | None
    origin: VerdictOrigin
    entered_by: str
    source_sha256: str | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of what is said of which study by whom and when; not of how it came here."""
        when = self.read_at.astimezone(UTC).isoformat(timespec="microseconds")
        parts = (str(self.revision_id), self.reader, when, self.verdict, str(self.model_visible), self.comment or "")
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Recorded:
    """What entering did: verdicts that are new, and those that were there."""

    entered: int
    known: int


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """A verdict as people read it; `stands` unless a later one of its reader on the same revision replaced it."""

    verdict_id: int
    study_uid: str
    accession_number: str | None
    revision: int
    reader: str
    read_at: datetime
    verdict: VerdictKind
    model_visible: bool
    comment: str | None
    origin: VerdictOrigin
    entered_by: str
    recorded_at: datetime
    stands: bool


def candidates(
    session: Session, study_uids: Iterable[str] = (), accession_numbers: Iterable[str] = ()
) -> list[Candidate]:
    """Return the studies that have one of these UIDs or accession numbers, by study number."""
    wanted = [
        *(Study.study_uid.in_(chunk) for chunk in in_chunks(sorted(set(study_uids)))),
        *(Study.accession_number.in_(chunk) for chunk in in_chunks(sorted(set(accession_numbers)))),
    ]
    studies: dict[int, Study] = {}
    settled: dict[int, dict[int, Settled]] = {}
    for condition in wanted:
        rows = session.execute(
            select(Study, StudyRevision)
            .outerjoin(StudyRevision, StudyRevision.study_id == Study.id)
            .where(condition)
            .order_by(Study.id, StudyRevision.revision)
        )
        for study, revision in rows:
            studies[study.id] = study
            if revision is not None:
                found = Settled(revision.id, revision.revision, revision.settled_at)
                settled.setdefault(study.id, {})[revision.revision] = found
    return [
        Candidate(one.id, one.study_uid, one.accession_number, one.revision, tuple(settled.get(one.id, {}).values()))
        for _, one in sorted(studies.items())
    ]


def named(session: Session, term: str, revision: int | None = None, read_at: datetime | None = None) -> Settled:
    """Return the revision of the one study that a person names, by default its present one.

    Parameters
    ----------
    term : str
        A Study Instance UID or an accession number.
    revision : int, optional
        The one that is meant.
    read_at : datetime, optional
        When it was read, if that was not now: else the one that was seen then is meant.

    Raises
    ------
    NoSuchStudy
        If there is none, there are several, or the revision has not settled.
    """
    found = candidates(session, [term], [term])
    if not found:
        raise NoSuchStudy("no study has this accession number or study UID; see: lungwatch results")
    if len(found) > 1:
        raise NoSuchStudy(f"{len(found)} studies have this accession number; name the study by its UID")
    study = found[0]
    if revision is None and read_at is not None:
        settled = study.read_at(read_at)
    else:
        settled = study.of_revision(study.revision if revision is None else revision)
    if settled is not None:
        return settled
    if revision is not None and revision != study.revision:
        raise NoSuchStudy(f"the study has no revision {revision}; its present one is {study.revision}")
    raise NoSuchStudy(
        f"revision {study.revision} of the study has not settled: images may still be coming, and a verdict would be "
        "taken to cover them; try again in a minute (lungwatch status says what holds up settling)"
    )


def record(session: Session, verdicts: Sequence[NewVerdict], *, dry_run: bool = False) -> Recorded:
    """Enter verdicts; the caller commits, all or nothing. What was entered before is not entered again.

    Parameters
    ----------
    dry_run : bool
        Only count.
    """
    new = {one.digest: one for one in verdicts}
    known: set[str] = set()
    for chunk in in_chunks(new):
        known.update(session.scalars(select(Verdict.digest).where(Verdict.digest.in_(chunk))))
    now = session.scalars(select(database_now())).one()
    rows: list[dict[str, Any]] = [
        {
            "study_revision_id": one.revision_id,
            "reader": one.reader,
            "read_at": one.read_at,
            "verdict": one.verdict,
            "model_visible": one.model_visible,
            "comment": one.comment,
            "origin": one.origin,
            "source_sha256": one.source_sha256,
            "entered_by": one.entered_by,
            "recorded_at": now,
            "digest": digest,
        }
        for digest, one in new.items()
        if digest not in known
    ]
    if rows and not dry_run:
        studies = _locked_studies(session, {one.revision_id for one in new.values()})
        # somebody else may have entered the same meanwhile
        session.execute(insert(session, Verdict).on_conflict_do_nothing(index_elements=["digest"]), rows)
        for some in in_chunks(studies):
            note_answers(session, some)
    return Recorded(entered=len(rows), known=len(verdicts) - len(rows))


def _locked_studies(session: Session, revision_ids: Iterable[int]) -> list[int]:
    """Lock the studies of revisions: whoever raises a flag or begins a revision holds that lock."""
    studies: set[int] = set()
    for chunk in in_chunks(sorted(revision_ids)):
        studies.update(session.scalars(select(StudyRevision.study_id).where(StudyRevision.id.in_(chunk))))
    # in one order, lest two imports wait for each other
    for chunk in in_chunks(sorted(studies)):
        session.execute(select(Study.id).where(Study.id.in_(chunk)).order_by(Study.id).with_for_update())
    return sorted(studies)


def verdicts(
    session: Session,
    *,
    term: str | None = None,
    reader: str | None = None,
    since: datetime | None = None,
    limit: int | None = 100,
    after_id: int | None = None,
) -> list[VerdictRow]:
    """Return verdicts, those entered last first.

    Parameters
    ----------
    term : str, optional
        Only those on studies with this UID or accession number.
    reader : str, optional
        Only this reader's, as `db.verdict_text.reader_name` spells it.
    since : datetime, optional
        Only those read at or after this.
    limit : int or None
        Rows a page; None for all.
    after_id : int, optional
        `verdict_id` of the last row of the page before.
    """
    query = (
        select(Verdict, StudyRevision.revision, Study.study_uid, Study.accession_number, ~_replaced())
        .join(StudyRevision, StudyRevision.id == Verdict.study_revision_id)
        .join(Study, Study.id == StudyRevision.study_id)
        .order_by(Verdict.id.desc())
        .limit(limit)
    )
    if term is not None:
        query = query.where(or_(Study.study_uid == term, Study.accession_number == term))
    if reader is not None:
        query = query.where(Verdict.reader == reader)
    if since is not None:
        query = query.where(Verdict.read_at >= since)
    if after_id is not None:
        query = query.where(Verdict.id < after_id)
    return [
        VerdictRow(
            verdict_id=one.id,
            study_uid=study_uid,
            accession_number=accession_number,
            revision=revision,
            reader=one.reader,
            read_at=one.read_at,
            verdict=one.verdict,
            model_visible=one.model_visible,
            comment=one.comment,
            origin=one.origin,
            entered_by=one.entered_by,
            recorded_at=one.recorded_at,
            stands=bool(stands),
        )
        for one, revision, study_uid, accession_number, stands in session.execute(query)
    ]


def _replaced() -> ColumnElement[bool]:
    """Select verdicts that a later one of their reader replaced: `db.consensus.standing`, in SQL."""
    later = aliased(Verdict)
    return (
        select(later.id)
        .where(
            later.study_revision_id == Verdict.study_revision_id,
            later.reader == Verdict.reader,
            or_(later.read_at > Verdict.read_at, and_(later.read_at == Verdict.read_at, later.id > Verdict.id)),
        )
        .exists()
    )
