"""Verdicts: entered once, never changed, found by study; on both databases."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine, delete, func, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from db.base import make_sessions
from db.consensus import Finding
from db.judged import disagreements, judged
from db.models.dataset import Label, LabelVerdict
from db.models.verdict import Verdict
from db.verdict_import import Line, Misfit, match
from db.verdicts import NewVerdict, NoSuchStudy, Recorded, named, record, verdicts
from db.vocabulary import ImageClass, LabelOrigin, VerdictKind, VerdictOrigin
from tests.factories.rows import StudyFactory, StudyRevisionFactory, VerdictFactory, ago, digest, rows_in


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with make_sessions(engine).begin() as session, rows_in(session):
        yield session


def new(revision_id: int, **values: object) -> NewVerdict:
    said = NewVerdict(
        revision_id=revision_id,
        reader="reader a",
        read_at=ago(10),
        verdict=VerdictKind.PNEUMONIA,
        model_visible=True,
        comment=None,
        origin=VerdictOrigin.COMMAND,
        entered_by="somebody",
    )
    return replace(said, **values)


def line(number: int, **values: object) -> Line:
    said = Line(number, "", "", "reader a", ago(10), VerdictKind.PNEUMONIA, True, None, None)
    return replace(said, **values)


def test_the_database_refuses_to_change_or_delete_what_was_said(engine: Engine) -> None:
    sessions = make_sessions(engine)
    with sessions.begin() as session, rows_in(session):
        verdict = VerdictFactory()
        image = session.execute(
            text(
                "INSERT INTO labelled_image (master_digest, patient_digest, added_at) "
                "VALUES ('m', 'p', CURRENT_TIMESTAMP) RETURNING id"
            )
        ).scalar_one()
        label = Label(
            labelled_image_id=image, version=1, label=ImageClass.NORMAL, origin=LabelOrigin.VERDICT, made_at=ago(0)
        )
        session.add(label)
        session.flush()
        session.add(LabelVerdict(label_id=label.id, verdict_id=verdict.id))
    changes = [
        update(Verdict).values(verdict=VerdictKind.NO_PNEUMONIA),
        update(Verdict).values(comment="x"),
        delete(Verdict),
        update(Label).values(label=ImageClass.PNEUMONIA),
        delete(Label),
        delete(LabelVerdict),
        # what the verdict is about stays, too
        text("DELETE FROM study_revision"),
    ]
    if engine.dialect.name == "postgresql":
        changes += [text("TRUNCATE verdict CASCADE"), text("TRUNCATE label CASCADE"), text("TRUNCATE label_verdict")]
    for change in changes:
        with pytest.raises(DBAPIError), sessions.begin() as session:
            session.execute(change)
    with sessions() as session:
        assert session.scalars(select(Verdict.verdict)).all() == [VerdictKind.PNEUMONIA]
        assert session.scalar(select(func.count()).select_from(LabelVerdict)) == 1


def test_the_same_verdict_is_entered_once_and_each_other_is_a_row(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session, rows_in(session):
        first, second = StudyRevisionFactory().id, StudyRevisionFactory().id
    said = new(first)
    others = [
        replace(said, revision_id=second),
        replace(said, reader="reader b"),
        replace(said, read_at=said.read_at + timedelta(microseconds=1)),
        replace(said, verdict=VerdictKind.UNREADABLE),
        replace(said, model_visible=False),
        replace(said, comment="left"),
    ]
    with sessions.begin() as session:
        assert record(session, [said, *others], dry_run=True) == Recorded(7, 0)
        assert record(session, [said, *others]) == Recorded(7, 0)
    with sessions.begin() as session:
        # another way of coming here does not make it another verdict
        again = replace(said, origin=VerdictOrigin.FILE, source_sha256=digest("file"), entered_by="another")
        assert record(session, [again, *others]) == Recorded(0, 7)
        assert session.scalar(select(func.count()).select_from(Verdict)) == 7


def test_many_who_enter_the_same_at_once_enter_it_once(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session, rows_in(session):
        said = new(StudyRevisionFactory().id)
    together = threading.Barrier(4)

    def enter() -> None:
        together.wait()
        with sessions.begin() as session:
            record(session, [said])

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(enter) for _ in range(4)]:
            future.result()
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(Verdict)) == 1


def test_a_verdict_is_on_the_settled_revision_of_one_study(session: Session) -> None:
    study = StudyFactory(study_uid="1.2.3", accession_number="A1", revision=3)
    for revision in (1, 2):
        StudyRevisionFactory(study=study, revision=revision)
    for _ in range(2):
        StudyFactory(accession_number="TWIN")
    assert named(session, "A1", 2).revision == 2
    assert named(session, "1.2.3", 1).revision == 1
    for term, revision, said in (
        ("A1", None, "revision 3 of the study has not settled"),
        ("A1", 4, "has no revision 4; its present one is 3"),
        ("TWIN", None, "2 studies have this accession number"),
        ("A2", None, "no study has this"),
    ):
        with pytest.raises(NoSuchStudy, match=said):
            named(session, term, revision)
    StudyRevisionFactory(study=study, revision=3)
    assert named(session, "1.2.3").revision == 3


def test_verdicts_are_listed_with_whether_they_stand(session: Session) -> None:
    revision = StudyRevisionFactory(study=StudyFactory(accession_number="A1"))
    replaced = VerdictFactory(study_revision=revision, read_at=ago(20))
    corrected = VerdictFactory(study_revision=revision, read_at=ago(10))
    stands = VerdictFactory(study_revision=revision, read_at=corrected.read_at)
    early = VerdictFactory(study_revision=revision, read_at=ago(30))
    other = VerdictFactory(study_revision=revision, reader="reader b", read_at=ago(40), comment="ü")
    elsewhere = VerdictFactory(read_at=ago(50))
    rows = verdicts(session)
    assert [(row.verdict_id, row.stands) for row in rows] == [
        (elsewhere.id, True),
        (other.id, True),
        (early.id, False),
        (stands.id, True),
        (corrected.id, False),
        (replaced.id, False),
    ]
    assert (rows[1].comment, rows[1].accession_number, rows[1].read_at) == ("ü", "A1", other.read_at)
    assert [row.verdict_id for row in verdicts(session, reader="reader b")] == [other.id]
    assert [row.verdict_id for row in verdicts(session, term="A1", since=ago(25), limit=2)] == [stands.id, corrected.id]
    assert [row.verdict_id for row in verdicts(session, term="A1", since=ago(25), after_id=corrected.id)] == [
        replaced.id
    ]


def test_the_newest_revision_that_was_read_counts_and_readers_may_disagree(session: Session) -> None:
    study = StudyFactory(revision=3)
    revisions = [StudyRevisionFactory(study=study, revision=number) for number in (1, 2, 3)]
    # in dispute, then read again by one of them; the newest revision nobody has read
    VerdictFactory(study_revision=revisions[0], reader="a", verdict=VerdictKind.PNEUMONIA)
    VerdictFactory(study_revision=revisions[0], reader="b", verdict=VerdictKind.NO_PNEUMONIA)
    assert [one.consensus.finding for one in disagreements(session)] == [Finding.DISPUTED]
    VerdictFactory(study_revision=revisions[1], reader="b", verdict=VerdictKind.NO_PNEUMONIA)
    outvoted = StudyRevisionFactory()
    for reader, kind in (("a", "PNEUMONIA"), ("b", "PNEUMONIA"), ("c", "OTHER_ABNORMAL")):
        VerdictFactory(study_revision=outvoted, reader=reader, verdict=VerdictKind(kind))
    agreed = StudyRevisionFactory()
    for reader, kind in (("a", "NO_PNEUMONIA"), ("b", "OTHER_ABNORMAL"), ("c", "INDETERMINATE")):
        VerdictFactory(study_revision=agreed, reader=reader, verdict=VerdictKind(kind))
    found = {one.study_id: (one.revision, one.consensus.finding) for one in judged(session)}
    assert found == {
        study.id: (2, Finding.NO_PNEUMONIA),
        outvoted.study_id: (1, Finding.PNEUMONIA),
        agreed.study_id: (1, Finding.NO_PNEUMONIA),
    }
    assert [one.study_id for one in disagreements(session)] == [outvoted.study_id]
    assert disagreements(session, unresolved=True) == []


def test_lines_of_a_table_find_their_studies_or_are_named(session: Session) -> None:
    study = StudyFactory(study_uid="1.2.3", accession_number="A1", revision=3)
    first, second = (
        StudyRevisionFactory(study=study, revision=revision, settled_at=ago(seconds))
        for revision, seconds in ((1, 1000), (2, 400))
    )
    StudyFactory(accession_number="COMING")
    for _ in range(2):
        StudyRevisionFactory(study=StudyFactory(accession_number="TWIN"))
    when = ago(500)
    lines = [
        line(2, study_uid="1.2.3", read_at=ago(2000)),
        line(3, accession_number="A1", read_at=when),
        line(4, accession_number="A1", study_uid="1.2.3", read_at=ago(50)),
        line(5, study_uid="1.2.3", revision=1),
        line(6, study_uid="1.2.3", revision=3),
        line(7, study_uid="1.2.3", revision=9),
        line(8, study_uid="1.2.9"),
        line(9, accession_number="NONE"),
        line(10, accession_number="COMING"),
        line(11, accession_number="TWIN"),
        line(12, study_uid="1.2.3", accession_number="A2"),
        line(13, study_uid="1.2.3", read_at=when),
        line(14, study_uid="1.2.3", read_at=when, verdict=VerdictKind.UNREADABLE),
        line(15, study_uid="1.2.3", read_at=when, reader="reader b"),
    ]
    found = match(session, lines, digest("file"), "somebody")
    # what was read before the first revision settled was read of that one; in between, of the earlier
    ids = [first.id, first.id, second.id, first.id, first.id]
    assert [one.revision_id for one in found.verdicts] == ids
    assert {(one.origin, one.source_sha256) for one in found.verdicts} == {(VerdictOrigin.FILE, digest("file"))}
    assert [(problem.line, problem.kind) for problem in found.problems] == [
        (6, Misfit.NOT_SETTLED),
        (7, Misfit.BAD_VALUE),
        (8, Misfit.UNKNOWN_STUDY),
        (9, Misfit.UNKNOWN_STUDY),
        (10, Misfit.NOT_SETTLED),
        (11, Misfit.AMBIGUOUS),
        (12, Misfit.CONTRADICTION),
        (13, Misfit.DUPLICATE),
        (14, Misfit.CONTRADICTION),
    ]
    said = " ".join(problem.detail for problem in found.problems)
    assert not any(secret in said for secret in ("1.2.3", "1.2.9", "A1", "TWIN", "NONE", "COMING"))
