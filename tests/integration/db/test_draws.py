from __future__ import annotations

from sqlalchemy.orm import Session, sessionmaker

from db.consensus import Finding
from db.draws import Draw, draws
from db.vocabulary import FlagKind, Outcome, VerdictKind
from tests.factories.rows import FlagFactory, StudyFactory, StudyRevisionFactory, VerdictFactory, ago, rows_in

SUSPECTED, NOT = Outcome.SUSPECTED, Outcome.NOT_SUSPECTED
ILL, WELL = VerdictKind.PNEUMONIA, VerdictKind.NO_PNEUMONIA


def test_what_was_drawn_and_what_was_read_of_it_blind(sessions: sessionmaker[Session]) -> None:
    def drawn(
        *said: tuple[int, str, VerdictKind, bool], outcomes: tuple[Outcome, ...] = (NOT,), settled: float = 200
    ) -> None:
        study = StudyFactory(patient_id="P1" if said else None, revision=len(outcomes))
        FlagFactory(study_id=study.id, kind=FlagKind.AUDIT, draw_probability=0.02, study_revision=1)
        revisions = [
            StudyRevisionFactory(study=study, revision=number, outcome=outcome, settled_at=ago(settled))
            for number, outcome in enumerate(outcomes, 1)
        ]
        for number, (revision, reader, kind, visible) in enumerate(said):
            VerdictFactory(
                study_revision=revisions[revision - 1],
                reader=reader,
                verdict=kind,
                model_visible=visible,
                read_at=ago(100 - number),
            )

    with sessions.begin() as session, rows_in(session):
        FlagFactory(study=StudyFactory())
        drawn(settled=900)
        drawn((1, "a", ILL, False))
        drawn((1, "a", ILL, True), outcomes=(SUSPECTED,))
        # who changes his mind once he sees the outcome said what he said
        drawn((1, "a", WELL, False), (1, "a", ILL, True))
        # a reader could not tell, another could; a third saw the outcome
        drawn((1, "a", VerdictKind.INDETERMINATE, False), (1, "b", ILL, False), (1, "c", WELL, True))
        # read blind on the second revision, and on the third later
        drawn((2, "a", ILL, False), (3, "a", WELL, False), outcomes=(NOT, SUSPECTED, NOT))
        drawn((1, "a", ILL, False), (1, "b", WELL, False))
    with sessions() as session:
        found = draws(session)
        recent = draws(session, since=ago(500))
        early = draws(session, until=ago(500))
    same = "\\P1"
    assert [(one.patient, one.finding, one.drawn_outcome, one.read_outcome, one.seen) for one in found[1:]] == [
        (same, Finding.PNEUMONIA, NOT, NOT, False),
        (same, None, SUSPECTED, None, True),
        (same, Finding.NO_PNEUMONIA, NOT, NOT, False),
        (same, Finding.PNEUMONIA, NOT, NOT, False),
        (same, Finding.PNEUMONIA, NOT, SUSPECTED, False),
        (same, Finding.DISPUTED, NOT, NOT, False),
    ]
    assert found[0] == Draw(found[0].patient, 0.02, NOT, None, None, seen=False)
    assert found[0].patient.startswith("study ")
    assert (early, recent) == (found[:1], found[1:])
