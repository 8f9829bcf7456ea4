from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from core.errors import TransientFailure
from db.datasets import Change, Entry, NewDataSet, Plan, current, find, masters_of, plan, record
from db.models.dataset import DataSet, DataSetImage, Label, LabelledImage
from db.vocabulary import DataLayout, ImageClass, PublishedSplit, Use
from tests.factories.rows import digest

Sessions = sessionmaker[Session]
TABLES = (DataSet, LabelledImage, DataSetImage, Label)

FIRST = NewDataSet("site", digest("first"), DataLayout.PUBLISHED, "our hospital")
SECOND = replace(FIRST, digest=digest("second"))


def entry(number: int, label: ImageClass = ImageClass.NORMAL, patient: int | None = None) -> Entry:
    return Entry(
        key=f"train/{label}/{number}",
        file_sha256=digest(f"file {number}"),
        master_digest=digest(f"master {number}"),
        patient_digest=digest(f"patient {number if patient is None else patient}")[:16],
        label=label,
        subgroup=None,
        published_split=PublishedSplit.TRAIN,
        use=Use.FIT,
    )


ENTRIES = [entry(number) for number in range(1000)]


def enter(sessions: Sessions, new: NewDataSet, entries: list[Entry]) -> Plan:
    with sessions() as session:
        foreseen = plan(session, new, entries)
    with sessions.begin() as session:
        done = record(session, new, entries)
    assert foreseen == done
    return done


def counts(sessions: Sessions) -> list[int]:
    with sessions() as session:
        return [session.scalar(select(func.count()).select_from(table)) or 0 for table in TABLES]


def test_importing_twice_changes_nothing(sessions: Sessions) -> None:
    assert enter(sessions, FIRST, ENTRIES) == Plan(None, 1, new_images=1000, new_labels=1000)
    assert counts(sessions) == [1, 1000, 1000, 1000]
    with sessions.begin() as session:
        again = record(session, replace(FIRST, name="renamed"), ENTRIES)
    assert again.imported_before is not None
    assert (again.version, again.new_images, again.changed) == (1, 0, ())
    assert counts(sessions) == [1, 1000, 1000, 1000]


def test_a_changed_label_is_a_new_version(sessions: Sessions) -> None:
    enter(sessions, FIRST, [entry(1), entry(2)])
    ill = replace(entry(2, ImageClass.PNEUMONIA), subgroup="viral")
    done = enter(sessions, SECOND, [entry(1), ill, entry(3)])
    change = Change("train/PNEUMONIA/2", ImageClass.NORMAL, None, ImageClass.PNEUMONIA, "viral")
    assert done == Plan(None, 2, new_images=1, new_labels=1, changed=(change,))
    with sessions() as session:
        said = session.execute(
            select(Label.version, Label.label, Label.data_set_id)
            .join(LabelledImage, Label.labelled_image_id == LabelledImage.id)
            .where(LabelledImage.master_digest == ill.master_digest)
            .order_by(Label.version)
        ).all()
        assert [tuple(row) for row in said] == [(1, ImageClass.NORMAL, 1), (2, ImageClass.PNEUMONIA, 2)]
        now = current(session)
    # what is no longer in the data set is no longer in force, and what is carries its last label
    assert [(row.key, row.label, row.subgroup) for row in now] == [
        ("train/NORMAL/1", ImageClass.NORMAL, None),
        ("train/NORMAL/3", ImageClass.NORMAL, None),
        ("train/PNEUMONIA/2", ImageClass.PNEUMONIA, "viral"),
    ]


def test_one_picture_of_two_patients_and_twice_of_one(sessions: Sessions) -> None:
    twin = replace(entry(1), key="train/NORMAL/1b")
    other = replace(entry(1, patient=9), key="train/NORMAL/9", use=Use.DROPPED)
    assert enter(sessions, FIRST, [entry(1), twin, other]) == Plan(None, 1, new_images=2, new_labels=2)
    assert counts(sessions) == [1, 2, 3, 2]
    with sessions() as session:
        assert len(current(session)) == 3
        found = find(session, FIRST.digest)
        assert found is not None
        assert (found.images, found.layout, found.origin) == (3, DataLayout.PUBLISHED, "our hospital")
        assert set(masters_of(session, found.id).values()) == {entry(1).master_digest}


def test_nothing_is_left_of_an_import_that_fails(sessions: Sessions) -> None:
    with pytest.raises(TransientFailure), sessions.begin() as session:
        record(session, FIRST, [entry(1), entry(1)])
    assert counts(sessions) == [0, 0, 0, 0]


def test_an_imported_label_names_its_data_set(sessions: Sessions) -> None:
    enter(sessions, FIRST, [entry(1)])
    with pytest.raises(IntegrityError), sessions.begin() as session:
        session.execute(
            insert(Label).values(
                labelled_image_id=1, version=2, label="NORMAL", origin="IMPORTED", made_at=func.current_timestamp()
            )
        )
