"""Labels follow verdicts as versions, whatever happens to the verdicts; on both databases."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from db.datasets import Entry, NewDataSet, current
from db.datasets import record as import_data
from db.label_evidence import evidence
from db.labels import Changes, Wanted, labels, plan, record
from db.models.dataset import Label
from db.selection import labelled
from db.vocabulary import DataLayout, FlagKind, ImageClass, LabelOrigin, Outcome, Use, VerdictKind
from tests.factories.rows import (
    FlagFactory,
    ImageFactory,
    PredictionFactory,
    StudyFactory,
    StudyRevisionFactory,
    VerdictFactory,
    ago,
    digest,
    rows_in,
)
from training.labels.derive import derive

ILL, WELL = ImageClass.PNEUMONIA, ImageClass.NORMAL


def follow(sessions: sessionmaker[Session]) -> Changes:
    """Derive and enter, and see that both the plan and a second time are right."""
    with sessions.begin() as session:
        wanted = derive(evidence(session), lambda patient: digest(patient)[:16]).wanted
        foreseen = plan(session, wanted)
        done = record(session, wanted)
    assert foreseen == done
    with sessions.begin() as session:
        assert record(session, wanted) == Changes(unchanged=len(wanted))
    return done


def in_force(sessions: sessionmaker[Session]) -> list[tuple[object, ...]]:
    with sessions() as session:
        found = [(row.version, row.label, row.subgroup, row.origin, row.verdict_ids) for row in labels(session)]
        # and training selects from the same
        selected = [(row.version, row.label, row.subgroup, row.origin) for row in labelled(session, 100)]
    assert sorted(map(str, selected)) == sorted(str(row[:4]) for row in found)
    return found


def test_labels_follow_the_verdicts_and_remember_them(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session, rows_in(session):
        study = StudyFactory()
        image = ImageFactory(study=study, outcome=Outcome.SUSPECTED, master_digest=digest("picture"))
        PredictionFactory(image=image, master_digest=digest("picture"), created_at=ago(250))
        revision = StudyRevisionFactory(study=study)
        first = VerdictFactory(study_revision=revision).id
    assert follow(sessions) == Changes(first=1)
    assert in_force(sessions) == [(1, ILL, None, LabelOrigin.VERDICT, (first,))]

    def say(kind: VerdictKind, reader: str, seconds_ago: float) -> int:
        with sessions.begin() as session, rows_in(session):
            return VerdictFactory(
                study_revision_id=revision.id,
                study_revision=None,
                verdict=kind,
                reader=reader,
                read_at=ago(seconds_ago),
            ).id

    second = say(VerdictKind.PNEUMONIA, "reader b", 9)
    assert follow(sessions) == Changes(rebased=1)
    third = say(VerdictKind.OTHER_ABNORMAL, "reader a", 8)
    assert follow(sessions) == Changes(withdrawn=1)
    assert in_force(sessions) == []
    fourth = say(VerdictKind.OTHER_ABNORMAL, "reader b", 7)
    assert follow(sessions) == Changes(first=1)
    assert in_force(sessions) == [(4, WELL, "other_abnormal", LabelOrigin.VERDICT, (third, fourth))]
    fifth, sixth = say(VerdictKind.PNEUMONIA, "reader a", 6), say(VerdictKind.PNEUMONIA, "reader b", 5)
    assert follow(sessions) == Changes(changed=1)
    assert in_force(sessions) == [(5, ILL, None, LabelOrigin.VERDICT, (fifth, sixth))]
    assert first < second
    with sessions() as session:
        rows = session.execute(select(Label.version, Label.label, Label.withdrawn).order_by(Label.version)).all()
    assert [tuple(row) for row in rows] == [
        (1, ILL, False),
        (2, ILL, False),
        (3, ILL, True),
        (4, WELL, False),
        (5, ILL, False),
    ]


def test_an_imported_label_is_in_force_again_when_verdicts_no_longer_speak(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session, rows_in(session):
        study = StudyFactory(patient_id="P", issuer_of_patient_id=None)
        image = ImageFactory(study=study, master_digest=digest("picture"))
        PredictionFactory(image=image, master_digest=digest("picture"), created_at=ago(250))
        revision = StudyRevisionFactory(study=study)
        VerdictFactory(study_revision=revision)
        entry = Entry("NORMAL/1", digest("file"), digest("picture"), digest("\\P")[:16], WELL, "plain", None, Use.FIT)
        import_data(session, NewDataSet("site", digest("site"), DataLayout.TABLE, "ours"), [entry])
    assert follow(sessions) == Changes(changed=1)
    assert in_force(sessions)[0][:2] == (2, ILL)
    with sessions.begin() as session, rows_in(session):
        VerdictFactory(study_revision_id=revision.id, study_revision=None, verdict=VerdictKind.UNREADABLE)
    assert follow(sessions) == Changes(withdrawn=1)
    assert in_force(sessions) == [(3, WELL, "plain", LabelOrigin.IMPORTED, ())]
    with sessions() as session:
        assert [(row.label, row.subgroup) for row in current(session)] == [(WELL, "plain")]
        assert labels(session)[0].data_set == "site 1"


def test_a_withdrawn_label_is_none_to_an_import(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session, rows_in(session):
        study = StudyFactory(patient_id="P", issuer_of_patient_id=None)
        image = ImageFactory(study=study, master_digest=digest("picture"))
        PredictionFactory(image=image, master_digest=digest("picture"), created_at=ago(250))
        revision = StudyRevisionFactory(study=study)
        VerdictFactory(study_revision=revision)
    follow(sessions)
    with sessions.begin() as session, rows_in(session):
        VerdictFactory(study_revision_id=revision.id, study_revision=None, verdict=VerdictKind.INDETERMINATE)
    assert follow(sessions) == Changes(withdrawn=1)
    with sessions.begin() as session:
        entry = Entry("x/1", digest("file"), digest("picture"), digest("\\P")[:16], ILL, None, None, Use.FIT)
        done = import_data(session, NewDataSet("site", digest("site"), DataLayout.TABLE, "ours"), [entry])
        assert (done.new_images, done.new_labels, done.changed) == (0, 1, ())
    assert in_force(sessions) == [(3, ILL, None, LabelOrigin.IMPORTED, ())]


def test_a_page_of_labels_does_not_end_where_some_were_withdrawn(sessions: sessionmaker[Session]) -> None:
    def wanted(number: int) -> Wanted:
        return Wanted(digest(number), digest("P")[:16], ILL, None, frozenset({verdict_id}))

    with sessions.begin() as session, rows_in(session):
        verdict_id = VerdictFactory().id
        record(session, [wanted(number) for number in range(6)])
    with sessions.begin() as session:
        record(session, [wanted(0), wanted(5)])
    with sessions() as session:
        (first,) = labelled(session, 1)
        (last,) = labelled(session, 1, first.labelled_image_id)
        assert (first.master_digest, last.master_digest) == (digest(0), digest(5))
        assert labelled(session, 1, last.labelled_image_id) == []


def test_only_pictures_that_the_readers_saw_are_labelled(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session, rows_in(session):
        study = StudyFactory(revision=2)
        for name, outcome, seconds_ago in (
            ("seen", Outcome.NOT_SUSPECTED, 250),
            ("unfamiliar", Outcome.NO_RESULT, 250),
            ("came later", Outcome.SUSPECTED, 50),
            ("taken out of scope", Outcome.OUT_OF_SCOPE, 250),
        ):
            image = ImageFactory(study=study, outcome=outcome, master_digest=digest(name))
            PredictionFactory(image=image, master_digest=digest(name), created_at=ago(seconds_ago))
        # the pixels that were judged are no longer those in force; and a picture scored again was seen before
        replaced = ImageFactory(study=study, outcome=Outcome.SUSPECTED, master_digest=digest("new"), revision=2)
        PredictionFactory(image=replaced, master_digest=digest("old"), created_at=ago(250))
        PredictionFactory(image=replaced, image_revision=2, master_digest=digest("new"), created_at=ago(50))
        VerdictFactory(study_revision=StudyRevisionFactory(study=study, revision=1, settled_at=ago(200)))
        conflict = FlagFactory(study=study, kind=FlagKind.CONFLICT, study_revision=1, raised_at=ago(3))
        FlagFactory(study=study, kind=FlagKind.CONFLICT, study_revision=2, raised_at=ago(1), cleared_at=ago(0))
        ImageFactory(master_digest=digest("never read"))
    with sessions() as session:
        (found,) = evidence(session)
    assert set(found.pictures) == {digest("seen"), digest("unfamiliar")}
    assert found.conflict_at == conflict.raised_at
    assert found.judged.revision == 1
