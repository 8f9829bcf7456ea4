"""Deliveries that meet in a study, and studies that share an instance, on both databases."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydicom import uid
from pydicom.dataset import Dataset
from sqlalchemy import select

from db.models.flag import Flag
from db.models.study import Study
from db.vocabulary import FlagKind, Outcome, ReceiptState
from tests.factories import dicom_objects as objects
from tests.integration.worker_kit import Bench, always
from worker.settle import settle_due


def test_one_instance_in_two_studies_is_told_in_both(worker: Bench) -> None:
    dataset = objects.phantom("moved")
    worker.deliver(dataset)
    worker.run()
    dataset.StudyInstanceUID = uid.UID("1.2.3.4.5")
    moved = worker.deliver(dataset)
    worker.run()
    assert (worker.receipt(moved).state, worker.receipt(moved).reason) == (ReceiptState.CONFLICT, "STUDY")
    assert [flag for flag in worker.open_flags() if flag[0] == "CONFLICT"] == [("CONFLICT", "STUDY")] * 2


@pytest.mark.parametrize("make", [objects.phantom, objects.broken_code_stream])
def test_a_study_whose_image_is_in_force_elsewhere_has_no_result(worker: Bench, make: Callable[..., Dataset]) -> None:
    worker.runtime.predict_with = always(0.1)
    real = objects.phantom()
    worker.deliver(real)
    worker.run()
    settle_due(worker.settings, worker.sessions)
    second = make(seed="occupied", study_uid=real.StudyInstanceUID)
    occupant = objects.phantom("occupied", view="LL")
    occupant.PatientID = "SOMEBODY-ELSE"
    worker.deliver(occupant)
    worker.run()
    receipt = worker.deliver(second)
    worker.run()
    mine = next(row for row in worker.results() if row.study_uid == real.StudyInstanceUID)
    assert (mine.outcome, mine.probability, mine.patient_id) == (Outcome.NO_RESULT, None, real.PatientID)
    assert (mine.revision, mine.settled_at) == (2, None)
    assert worker.receipt(receipt).study_id == mine.study_id
    assert mine.study_uid in {row.study_uid for row in worker.results(flagged=True)}
    settle_due(worker.settings, worker.sessions)
    with worker.sessions.begin() as session:
        study = session.get_one(Study, mine.study_id)
        assert (study.outcome, study.settled_at is None) == (Outcome.NO_RESULT, False)
    # told once: the same again changes nothing, and so opens no revision
    second.DerivationDescription = "again"
    worker.deliver(second)
    worker.run()
    mine = next(row for row in worker.results() if row.study_uid == real.StudyInstanceUID)
    assert (mine.revision, mine.settled_at is None) == (2, False)


def test_what_is_not_taken_changes_neither_the_identity_nor_the_times_of_a_study(worker: Bench) -> None:
    first = objects.phantom("identity")
    first.PatientID, first.AccessionNumber = "", ""
    worker.deliver(first)
    worker.run()
    settle_due(worker.settings, worker.sessions)
    before = worker.study()
    for other in (
        objects.phantom("identity", picture=objects.gradient(seed=6)),
        objects.broken_code_stream(seed="identity"),
    ):
        other.PatientID, other.AccessionNumber = "SOMEBODY-ELSE", "ANOTHER"
        worker.deliver(other)
    worker.run()
    after = worker.study()
    assert (after.patient_id, after.accession_number) == (None, None)
    assert (after.last_received_at, after.settled_at) == (before.last_received_at, before.settled_at)
    assert ("CONFLICT", "PIXELS") in worker.open_flags()


@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize(("keyword", "value"), [("PatientID", "ANOTHER"), ("IssuerOfPatientID", "ELSEWHERE")])
def test_a_revision_that_names_another_patient_is_told(worker: Bench, images: int, keyword: str, value: str) -> None:
    worker.runtime.predict_with = always(0.1)
    study_uid = objects.phantom().StudyInstanceUID
    datasets = [objects.phantom(study_uid=study_uid) for _ in range(images)]
    for dataset in datasets:
        dataset.IssuerOfPatientID = "HERE"
        worker.deliver(dataset)
    worker.run()
    worker.settle_undrawn()
    assert worker.open_flags() == []
    setattr(datasets[0], keyword, value)
    revised = worker.deliver(datasets[0])
    worker.run()
    assert worker.receipt(revised).state is ReceiptState.HEADER_REVISION
    assert value in {worker.study().patient_id, worker.study().issuer_of_patient_id}
    assert worker.study().revision == 2
    assert worker.open_flags() == [("CONFLICT", "PATIENT")]


def test_an_unreadable_image_replaced_under_another_patients_name_is_told(worker: Bench) -> None:
    worker.deliver(objects.broken_code_stream(seed="renamed"))
    worker.run()
    good = objects.phantom("renamed")
    good.PatientID = "ANOTHER"
    worker.deliver(good)
    worker.run()
    assert ("CONFLICT", "PATIENT") in worker.open_flags()


def test_another_patients_image_completes_nothing(worker: Bench) -> None:
    first = objects.phantom()
    first.AccessionNumber = ""
    worker.deliver(first)
    second = objects.phantom(study_uid=first.StudyInstanceUID)
    second.PatientID, second.IssuerOfPatientID, second.AccessionNumber = "SOMEBODY-ELSE", "ELSEWHERE", "ANOTHER"
    worker.deliver(second)
    worker.run()
    study = worker.study()
    assert (study.patient_id, study.issuer_of_patient_id, study.accession_number) == (first.PatientID, None, None)
    assert ("CONFLICT", "PATIENT") in worker.open_flags()


def test_two_patients_in_one_study_are_told(worker: Bench) -> None:
    first = objects.phantom("patients")
    worker.deliver(first)
    second = objects.phantom(study_uid=first.StudyInstanceUID)
    second.PatientID = "SOMEBODY-ELSE"
    worker.deliver(second)
    worker.run()
    assert worker.study().patient_id == first.PatientID
    assert ("CONFLICT", "PATIENT") in worker.open_flags()


def test_a_late_image_opens_a_revision(worker: Bench) -> None:
    first = objects.phantom()
    worker.deliver(first)
    worker.run()
    assert settle_due(worker.settings, worker.sessions) == 1
    assert settle_due(worker.settings, worker.sessions) == 0
    assert (worker.study().revision, worker.study().settled_at is None) == (1, False)
    worker.deliver(objects.phantom(study_uid=first.StudyInstanceUID))
    worker.run()
    assert (worker.study().revision, worker.study().settled_at) == (2, None)
    assert settle_due(worker.settings, worker.sessions) == 1


def test_the_audit_draws_flagged_and_unflagged_studies_and_records_the_chance(worker: Bench) -> None:
    everyone = worker.settings.model_copy(update={"audit_share": 1.0, "audit_flagged_share": 1.0})
    worker.deliver(objects.phantom())
    worker.run()
    settle_due(everyone, worker.sessions)
    assert worker.open_flags() == [("SUSPECTED", None), ("AUDIT", None)]
    with worker.sessions.begin() as session:
        drawn = session.scalars(select(Flag).where(Flag.kind == FlagKind.AUDIT)).one()
        assert (drawn.draw_probability, drawn.image_id) == (1.0, None)
    nobody = worker.settings.model_copy(update={"audit_share": 0.0, "audit_flagged_share": 0.0})
    worker.deliver(objects.lateral())
    worker.run()
    settle_due(nobody, worker.sessions)
    assert len(worker.open_flags()) == 2
