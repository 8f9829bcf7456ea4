"""Studies with what their readers said together: for the list of disagreements, and for labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from db.consensus import Consensus, Finding, Reading, consensus
from db.models.study import Study, StudyRevision
from db.models.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Judged:
    """A study on its newest revision that has verdicts.

    Attributes
    ----------
    revision, settled_at : int, datetime
        Of that revision; the study's present one may be newer.
    """

    study_id: int
    study_uid: str
    accession_number: str | None
    patient_id: str | None
    issuer_of_patient_id: str | None
    revision: int
    settled_at: datetime
    consensus: Consensus


def judged(session: Session, *, several_readers: bool = False) -> Iterator[Judged]:
    """Give every study that has a verdict, by study number.

    Parameters
    ----------
    several_readers : bool
        Only those of which several readers said something.
    """
    newer, newer_verdict = aliased(StudyRevision), aliased(Verdict)
    replaced = (
        select(newer_verdict.id)
        .join(newer, newer.id == newer_verdict.study_revision_id)
        .where(newer.study_id == StudyRevision.study_id, newer.revision > StudyRevision.revision)
        .exists()
    )
    query = (
        select(Study, StudyRevision, Verdict)
        .join(StudyRevision, StudyRevision.study_id == Study.id)
        .join(Verdict, Verdict.study_revision_id == StudyRevision.id)
        .where(~replaced)
        .order_by(Study.id, Verdict.id)
    )
    if several_readers:
        by_several = select(Verdict.study_revision_id).group_by(Verdict.study_revision_id)
        query = query.where(StudyRevision.id.in_(by_several.having(func.count(Verdict.reader.distinct()) > 1)))
    for (study, revision), rows in groupby(session.execute(query), key=lambda row: (row[0], row[1])):
        readings = [reading(row[2]) for row in rows]
        yield Judged(
            study_id=study.id,
            study_uid=study.study_uid,
            accession_number=study.accession_number,
            patient_id=study.patient_id,
            issuer_of_patient_id=study.issuer_of_patient_id,
            revision=revision.revision,
            settled_at=revision.settled_at,
            consensus=consensus(readings),
        )


def disagreements(session: Session, *, unresolved: bool = False) -> list[Judged]:
    """Return studies on which readers say different things of pneumonia, by study number.

    Parameters
    ----------
    unresolved : bool
        Only those on which no answer has more than half of the readers.
    """
    from_several = judged(session, several_readers=True)
    return [
        one
        for one in from_several
        if not one.consensus.unanimous and (one.consensus.finding is Finding.DISPUTED or not unresolved)
    ]


def reading(verdict: Verdict) -> Reading:
    """Return a row of the ledger as the consensus rule takes it."""
    return Reading(verdict.id, verdict.reader, verdict.read_at, verdict.verdict, verdict.model_visible)
