"""Matching a table of verdicts to studies: everything that does not fit is named, with its line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy.orm import Session

from db.verdicts import Candidate, NewVerdict, Settled, candidates
from db.vocabulary import VerdictKind, VerdictOrigin


class Misfit(StrEnum):
    """What is wrong with a line."""

    BAD_LINE = "BAD_LINE"
    BAD_READER = "BAD_READER"
    BAD_TIME = "BAD_TIME"
    BAD_VERDICT = "BAD_VERDICT"
    BAD_COMMENT = "BAD_COMMENT"
    BAD_VALUE = "BAD_VALUE"
    UNKNOWN_STUDY = "UNKNOWN_STUDY"
    """No such study came here; a table from elsewhere may well have some."""
    NOT_SETTLED = "NOT_SETTLED"
    """The study, or the revision asked for, is not complete yet."""
    AMBIGUOUS = "AMBIGUOUS"
    CONTRADICTION = "CONTRADICTION"
    DUPLICATE = "DUPLICATE"


# what is not for us yet, or never: may be left out on request. Everything else is a mistake in the table.
LEAVABLE: Final = frozenset({Misfit.UNKNOWN_STUDY, Misfit.NOT_SETTLED})


@dataclass(frozen=True, slots=True)
class Problem:
    """A line that does not fit; `detail` quotes nothing of it."""

    line: int
    kind: Misfit
    detail: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a table, in itself sound.

    Attributes
    ----------
    number : int
        Of the line in the file, from 1.
    study_uid, accession_number : str
        Empty where it does not say; one of them is not.
    revision : int or None
        Where the table says it.
    """

    number: int
    study_uid: str
    accession_number: str
    reader: str
    read_at: datetime
    verdict: VerdictKind
    model_visible: bool
    comment: str | None
    revision: int | None


@dataclass(frozen=True, slots=True)
class Matched:
    """What would be entered, and what does not fit."""

    verdicts: tuple[NewVerdict, ...]
    problems: tuple[Problem, ...]


class _NoMatch(Exception):
    def __init__(self, kind: Misfit, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


def match(session: Session, lines: Sequence[Line], source_sha256: str, entered_by: str) -> Matched:
    """Find the study revision of every line; changes nothing.

    Where the table does not name the revision, it is the newest that had
    settled when the study was read, else the first.
    """
    found = candidates(
        session,
        (line.study_uid for line in lines if line.study_uid),
        (line.accession_number for line in lines if line.accession_number),
    )
    by_uid = {one.study_uid: one for one in found}
    by_accession: dict[str, list[Candidate]] = {}
    for one in found:
        if one.accession_number is not None:
            by_accession.setdefault(one.accession_number, []).append(one)
    new: list[NewVerdict] = []
    problems: list[Problem] = []
    seen: dict[tuple[int, str, datetime], tuple[int, NewVerdict]] = {}
    for line in lines:
        try:
            study = _study(line, by_uid, by_accession)
            verdict = _verdict(line, _revision(line, study), source_sha256, entered_by)
            number, first = seen.setdefault((study.study_id, line.reader, line.read_at), (line.number, verdict))
            if number != line.number:
                raise _repeated(number, same=first == verdict)
        except _NoMatch as problem:
            problems.append(Problem(line.number, problem.kind, problem.detail))
        else:
            new.append(verdict)
    return Matched(tuple(new), tuple(problems))


def _study(line: Line, by_uid: dict[str, Candidate], by_accession: dict[str, list[Candidate]]) -> Candidate:
    if line.study_uid:
        study = by_uid.get(line.study_uid)
        if study is None:
            raise _NoMatch(Misfit.UNKNOWN_STUDY, "no study with this study_uid is in the ledger")
        if line.accession_number and line.accession_number != study.accession_number:
            detail = "the study with this study_uid has another accession number in the ledger"
            raise _NoMatch(Misfit.CONTRADICTION, detail)
        return study
    known = by_accession.get(line.accession_number, [])
    if not known:
        raise _NoMatch(Misfit.UNKNOWN_STUDY, "no study with this accession_number is in the ledger")
    if len(known) > 1:
        raise _NoMatch(Misfit.AMBIGUOUS, f"{len(known)} studies have this accession_number; give the study_uid")
    return known[0]


def _revision(line: Line, study: Candidate) -> Settled:
    settled = study.read_at(line.read_at) if line.revision is None else study.of_revision(line.revision)
    if settled is not None and line.revision is not None and settled.revision > 1 and line.read_at < settled.settled_at:
        raise _NoMatch(Misfit.CONTRADICTION, f"revision {line.revision} was not complete when it was read")
    if settled is not None:
        return settled
    if line.revision is not None and line.revision != study.revision:
        raise _NoMatch(Misfit.BAD_VALUE, f"the study has no revision {line.revision}; the present is {study.revision}")
    raise _NoMatch(Misfit.NOT_SETTLED, "the study has not settled: images may still be coming; import it later")


def _verdict(line: Line, settled: Settled, source_sha256: str, entered_by: str) -> NewVerdict:
    return NewVerdict(
        revision_id=settled.revision_id,
        reader=line.reader,
        read_at=line.read_at,
        verdict=line.verdict,
        model_visible=line.model_visible,
        comment=line.comment,
        origin=VerdictOrigin.FILE,
        entered_by=entered_by,
        source_sha256=source_sha256,
    )


def _repeated(number: int, *, same: bool) -> _NoMatch:
    if same:
        return _NoMatch(Misfit.DUPLICATE, f"says the same as line {number}; leave one")
    return _NoMatch(
        Misfit.CONTRADICTION, f"one reader says something else of the same study at the same time in line {number}"
    )
