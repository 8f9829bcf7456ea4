"""What a delivery becomes, on both databases: promises 4, 5 and 8."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session, sessionmaker

from core.settings import Settings
from core.spool import Entry, stored_path
from db import queries
from db.base import make_sessions
from db.models.flag import Flag
from db.models.receipt import Receipt
from db.models.study import Study
from db.quarantine import retry
from db.queries import ResultRow
from db.vocabulary import FlagKind, Outcome, ReceiptState
from tests.factories import dicom_objects as objects
from tests.integration import bad_readers
from tests.integration.worker_kit import Bench, always, bench, deliver
from tests.waiting import wait_until
from worker.lanes import Lanes
from worker.settle import settle_due

POISON = bad_readers.MARK.decode()


@pytest.fixture(scope="module")
def lanes() -> Iterator[Lanes]:
    """One helper for the whole module: starting it costs more than a test."""
    lanes = Lanes(Settings(_env_file=None, helper_processes=1))
    yield lanes
    lanes.close()


@pytest.fixture
def worker(ledger_settings: Settings, sessions: sessionmaker[Session], lanes: Lanes) -> Bench:
    return Bench(ledger_settings, sessions, None, lanes)


def results(worker: Bench, *, flagged: bool = False) -> list[ResultRow]:
    with worker.sessions() as session:
        return queries.results(session, flagged=flagged, limit=None)


def settle_undrawn(worker: Bench) -> None:
    """Settle without drawing any study for audit, so that no flag stands by chance."""
    nobody = worker.settings.model_copy(update={"audit_share": 0.0, "audit_flagged_share": 0.0})
    settle_due(nobody, worker.sessions)


def same_uids(dataset: Dataset, other: Dataset) -> Dataset:
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = other.SOPInstanceUID
    dataset.StudyInstanceUID = other.StudyInstanceUID
    return dataset


def test_a_radiograph_is_classified_flagged_and_its_file_stored(worker: Bench) -> None:
    receipt_id = worker.deliver(objects.phantom())
    assert worker.run() == 1
    receipt = worker.receipt(receipt_id)
    assert (receipt.state, receipt.attempts, receipt.reason) == (ReceiptState.CLASSIFIED, 1, None)
    assert receipt.stored_at is not None
    (image,) = worker.images()
    assert (image.outcome, image.revision, image.view) == (Outcome.SUSPECTED, 1, "AP")
    assert (receipt.study_id, receipt.image_id) == (worker.study().id, image.id)
    (prediction,) = worker.predictions()
    assert prediction.score == pytest.approx(0.9)
    assert prediction.input_digest == image.input_digest
    assert prediction.probability == pytest.approx(0.9)
    assert worker.study().outcome is Outcome.SUSPECTED
    assert worker.open_flags() == [("SUSPECTED", None)]
    data = worker.settings.data_dir.resolve()
    assert not list((data / "spool").rglob("*.dcm"))
    assert [path.parent.name for path in (data / "stored").rglob("*.dcm")] == [receipt.sha256[:2]]


def test_row_11_the_same_bytes_from_another_peer_are_a_duplicate_without_work(worker: Bench) -> None:
    dataset = objects.phantom()
    worker.deliver(dataset, peer="PACS")
    worker.run()
    again = worker.deliver(dataset, peer="MODALITY7")
    worker.run()
    assert worker.receipt(again).state is ReceiptState.DUPLICATE
    assert worker.receipt(again).stored_at is not None
    assert worker.receipt(again).study_id == worker.study().id
    assert worker.runtime.images == 1
    assert len(worker.predictions()) == 1


def test_row_11_duplicates_of_one_batch_give_one_result(worker: Bench) -> None:
    dataset = objects.phantom()
    receipts = [worker.deliver(dataset, peer=f"PACS{number}") for number in range(8)]
    worker.run()
    states = [worker.receipt(receipt).state for receipt in receipts]
    assert sorted(states) == [ReceiptState.CLASSIFIED] + [ReceiptState.DUPLICATE] * 7
    assert len(worker.predictions()) == 1
    assert len(worker.images()) == 1


def test_row_12_a_corrected_header_keeps_the_score(worker: Bench) -> None:
    dataset = objects.phantom()
    worker.deliver(dataset)
    worker.run()
    dataset.AccessionNumber = "CORRECTED"
    revised = worker.deliver(dataset)
    worker.run()
    assert worker.receipt(revised).state is ReceiptState.HEADER_REVISION
    assert worker.runtime.images == 1
    assert worker.study().accession_number == "CORRECTED"
    (image,) = worker.images()
    assert (image.revision, image.outcome) == (2, Outcome.SUSPECTED)
    first, second = worker.predictions()
    assert (first.image_revision, second.image_revision) == (1, 2)
    assert first.score == second.score
    assert worker.open_flags() == [("SUSPECTED", None)]


def test_row_12_another_lossless_syntax_is_a_header_revision(worker: Bench) -> None:
    dataset = objects.phantom("same-picture")
    worker.deliver(dataset)
    worker.run()
    again = worker.deliver(objects.phantom("same-picture", syntax=uid.JPEGLosslessSV1))
    worker.run()
    assert worker.receipt(again).state is ReceiptState.HEADER_REVISION
    assert worker.images()[0].transfer_syntax_uid == uid.JPEGLosslessSV1
    assert worker.runtime.images == 1


def large(name: str, picture: NDArray[np.uint16], syntax: uid.UID, **plan: object) -> Dataset:
    """An image that is decoded at reduced resolution where its syntax allows."""
    return objects.phantom(name, picture=picture, syntax=syntax, **plan)


def test_images_decoded_at_reduced_resolution_are_compared_in_full(worker: Bench) -> None:
    picture = objects.gradient(1000, 1300)
    worker.deliver(large("one", picture, uid.HTJ2KLossless))
    worker.run()
    assert worker.images()[0].pixels_digest is None
    corrected = large("one", picture, uid.HTJ2KLossless)
    corrected.AccessionNumber = "CORRECTED"
    receipts = [worker.deliver(corrected), worker.deliver(large("one", picture, uid.RLELossless))]
    worker.run()
    assert [worker.receipt(receipt).state for receipt in receipts] == [ReceiptState.HEADER_REVISION] * 2
    assert worker.images()[0].pixels_digest is not None
    assert worker.runtime.images == 1
    assert len(worker.images()) == 1


def test_a_difference_that_a_smaller_image_does_not_show_is_a_conflict(worker: Bench) -> None:
    picture = objects.gradient(1000, 1300)
    first = large("fine", picture, uid.HTJ2KLossless)
    worker.deliver(first)
    worker.run()
    master = worker.images()[0].master_digest
    other = picture.copy()
    # in the finest levels alone: what their filters leave of it is rounded away
    other[501, 501] += 1
    second = worker.deliver(large("fine", other, uid.HTJ2KLossless))
    worker.run()
    assert worker.receipt(second).state is ReceiptState.CONFLICT
    assert worker.images()[0].master_digest == master
    assert ("CONFLICT", "PIXELS") in worker.open_flags()


def test_where_the_first_file_is_gone_the_masters_decide(worker: Bench) -> None:
    picture = objects.gradient(1000, 1300)
    worker.deliver(large("gone", picture, uid.HTJ2KLossless))
    worker.run()
    for path in (worker.settings.data_dir.resolve() / "stored").rglob("*.dcm"):
        path.unlink()
    corrected = large("gone", picture, uid.HTJ2KLossless)
    corrected.AccessionNumber = "CORRECTED"
    same, other = worker.deliver(corrected), worker.deliver(large("gone", picture + np.uint16(1), uid.HTJ2KLossless))
    worker.run()
    assert worker.receipt(same).state is ReceiptState.HEADER_REVISION
    assert worker.receipt(other).state is ReceiptState.CONFLICT


@contextmanager
def one_delivered(settings: Settings, engine: Engine, fault: str, mark: str) -> Iterator[Bench]:
    """A worker whose helpers fail as named in a full decode, and a first image, decoded at reduced resolution."""
    small = settings.model_copy(update={"helper_seconds": 2.0, "maximum_attempts": 2})
    with bench(small, make_sessions(engine), reader=f"tests.integration.bad_readers:{fault}") as worker:
        first = large("full", objects.gradient(1000, 1300), uid.HTJ2KLossless)
        first.AccessionNumber = mark
        worker.deliver(first)
        worker.run()
        assert worker.images()[0].pixels_digest is None
        yield worker


def deliver_again(worker: Bench, accession: str) -> int:
    """Deliver the same pixels under another header; run once, and once more as if the pause were over."""
    again = large("full", objects.gradient(1000, 1300), uid.HTJ2KLossless)
    again.AccessionNumber = accession
    receipt_id = worker.deliver(again)
    worker.run_once()
    receipt = worker.receipt(receipt_id)
    assert (receipt.state, receipt.attempts, worker.images()[0].revision) == (ReceiptState.PENDING, 1, 1)
    with worker.sessions.begin() as session:
        session.execute(update(Receipt).where(Receipt.id == receipt_id).values(lease_until=None))
    worker.run_once()
    return receipt_id


def test_a_first_file_that_cannot_be_decoded_today_is_waited_for(
    sqlite_settings: Settings, sqlite_engine: Engine
) -> None:
    with one_delivered(sqlite_settings, sqlite_engine, "full_hangs_once", POISON) as worker:
        again = deliver_again(worker, "CORRECTED")
        assert worker.receipt(again).state is ReceiptState.HEADER_REVISION
        assert worker.images()[0].pixels_digest is not None


def test_a_first_file_that_never_can_be_decoded_again_jams_nothing_and_a_person_is_told(
    sqlite_settings: Settings, sqlite_engine: Engine
) -> None:
    with one_delivered(sqlite_settings, sqlite_engine, "full_killed", POISON) as worker:
        again = deliver_again(worker, "CORRECTED")
        receipt = worker.receipt(again)
        assert (receipt.state, receipt.reason) == (ReceiptState.CONFLICT, "PIXELS")
        assert "CRASHED" in (receipt.detail or "")
        assert ("CONFLICT", "PIXELS") in worker.open_flags()
        assert (worker.images()[0].revision, worker.study().accession_number) == (1, POISON)


def test_damage_that_only_a_full_decode_shows_leaves_the_first_in_force(
    sqlite_settings: Settings, sqlite_engine: Engine
) -> None:
    with one_delivered(sqlite_settings, sqlite_engine, "full_rejected", "FIRST") as worker:
        again = large("full", objects.gradient(1000, 1300), uid.HTJ2KLossless)
        again.AccessionNumber = POISON
        receipt_id = worker.deliver(again)
        worker.run()
        receipt = worker.receipt(receipt_id)
        assert (receipt.state, receipt.reason) == (ReceiptState.QUARANTINED, "DECODE_FAILED")
        assert ("CONFLICT", "UNREADABLE:DECODE_FAILED") in worker.open_flags()
        (image,) = worker.images()
        assert (image.outcome, image.revision, image.pixels_digest) == (Outcome.SUSPECTED, 1, None)
        assert worker.study().accession_number == "FIRST"


def test_a_corrected_body_part_takes_the_image_out_of_scope(worker: Bench) -> None:
    worker.deliver(objects.phantom("hand"))
    worker.run()
    revised = worker.deliver(objects.phantom("hand", body_part="HAND"))
    worker.run()
    receipt = worker.receipt(revised)
    assert (receipt.state, receipt.reason) == (ReceiptState.HEADER_REVISION, "BODY_PART")
    (image,) = worker.images()
    assert (image.outcome, image.reason) == (Outcome.OUT_OF_SCOPE, "BODY_PART")
    assert worker.open_flags() == [("CONFLICT", "SCOPE")]
    assert worker.study().outcome is Outcome.OUT_OF_SCOPE
    other = worker.deliver(objects.phantom("hand", picture=objects.gradient(seed=3)))
    worker.run()
    assert (worker.receipt(other).state, worker.receipt(other).reason) == (ReceiptState.CONFLICT, "PIXELS")
    back = worker.deliver(objects.phantom("hand", derivation="again"))
    worker.run()
    assert worker.receipt(back).state is ReceiptState.CLASSIFIED
    assert (worker.images()[0].revision, worker.images()[0].outcome) == (3, Outcome.SUSPECTED)
    assert worker.open_flags() == [("SUSPECTED", None), ("CONFLICT", "SCOPE")]


@pytest.mark.parametrize("score", [0.9, 0.47])
def test_a_corrected_age_never_takes_an_image_out_of_the_readers_list(worker: Bench, score: float) -> None:
    worker.runtime.predict_with = always(score)
    dataset = objects.phantom()
    worker.deliver(dataset)
    worker.run()
    assert len(worker.open_flags()) == 1
    dataset.PatientAge = "070Y"
    worker.deliver(dataset)
    worker.run()
    assert worker.images()[0].outcome is Outcome.OUT_OF_SCOPE
    assert worker.open_flags() == [("CONFLICT", "SCOPE")]
    (row,) = results(worker, flagged=True)
    assert (row.outcome, row.reason) == (Outcome.OUT_OF_SCOPE, "AGE")


def test_what_nobody_waits_for_goes_out_of_scope_quietly(worker: Bench) -> None:
    worker.runtime.predict_with = always(0.1)
    dataset = objects.phantom()
    worker.deliver(dataset)
    worker.run()
    dataset.PatientAge = "070Y"
    worker.deliver(dataset)
    worker.run()
    assert worker.images()[0].outcome is Outcome.OUT_OF_SCOPE
    assert worker.open_flags() == []


def test_row_12_other_pixels_conflict_and_the_first_stays(worker: Bench) -> None:
    dataset = objects.phantom("conflict")
    worker.deliver(dataset)
    worker.run()
    other = worker.deliver(objects.phantom("conflict", picture=objects.gradient(seed=7)))
    worker.run()
    receipt = worker.receipt(other)
    assert (receipt.state, receipt.reason) == (ReceiptState.CONFLICT, "PIXELS")
    assert receipt.stored_at is not None
    (image,) = worker.images()
    assert (image.revision, image.outcome) == (1, Outcome.SUSPECTED)
    assert worker.open_flags() == [("SUSPECTED", None), ("CONFLICT", "PIXELS")]
    assert len(worker.predictions()) == 1


def test_row_12_another_object_out_of_scope_cannot_take_a_result_away(worker: Bench) -> None:
    worker.deliver(objects.phantom("stolen"))
    worker.run()
    thief = worker.deliver(objects.phantom("stolen", picture=objects.gradient(seed=9), body_part="HAND"))
    worker.run()
    assert worker.receipt(thief).state is ReceiptState.CONFLICT
    assert worker.images()[0].outcome is Outcome.SUSPECTED
    assert ("CONFLICT", "PIXELS") in worker.open_flags()


def test_an_unreadable_later_version_leaves_the_first_in_force(worker: Bench) -> None:
    worker.deliver(objects.phantom("spoilt"))
    worker.run()
    later = worker.deliver(objects.truncated_file(seed="spoilt"))
    worker.run()
    receipt = worker.receipt(later)
    assert receipt.state is ReceiptState.QUARANTINED
    assert worker.images()[0].outcome is Outcome.SUSPECTED
    assert worker.images()[0].revision == 1


def test_an_undecodable_later_version_is_told_and_leaves_the_study_as_it_was(worker: Bench) -> None:
    worker.deliver(objects.phantom("spoilt"))
    worker.run()
    later = worker.deliver(objects.broken_code_stream(seed="spoilt"))
    worker.run()
    assert worker.receipt(later).state is ReceiptState.QUARANTINED
    assert worker.images()[0].outcome is Outcome.SUSPECTED
    assert worker.study().outcome is Outcome.SUSPECTED
    assert ("CONFLICT", "UNREADABLE:DECODE_FAILED") in worker.open_flags()


def test_a_broken_image_has_no_result_and_a_good_one_replaces_it(worker: Bench) -> None:
    broken = worker.deliver(objects.broken_code_stream(seed="broken"))
    worker.run()
    receipt = worker.receipt(broken)
    assert receipt.state is ReceiptState.QUARANTINED
    assert receipt.stored_at is not None
    (image,) = worker.images()
    assert (image.outcome, image.reason) == (Outcome.NO_RESULT, receipt.reason)
    assert worker.study().outcome is Outcome.NO_RESULT
    assert worker.open_flags() == [("NO_RESULT", receipt.reason)]
    good = worker.deliver(objects.phantom("broken"))
    worker.run()
    assert worker.receipt(good).state is ReceiptState.CLASSIFIED
    (image,) = worker.images()
    assert (image.outcome, image.reason, image.revision) == (Outcome.SUSPECTED, None, 2)
    assert worker.study().outcome is Outcome.SUSPECTED
    assert worker.open_flags() == [("SUSPECTED", None)]


def test_another_object_makes_no_good_for_an_unreadable_image(worker: Bench) -> None:
    broken = objects.broken_code_stream(seed="report")
    worker.deliver(broken)
    worker.run()
    report = worker.deliver(same_uids(objects.structured_report(), broken))
    worker.run()
    assert (worker.receipt(report).state, worker.receipt(report).reason) == (ReceiptState.CONFLICT, "SOP_CLASS")
    assert worker.images()[0].outcome is Outcome.NO_RESULT
    assert results(worker)[0].outcome is Outcome.NO_RESULT
    assert worker.open_flags() == [("NO_RESULT", "DECODE_FAILED"), ("CONFLICT", "SOP_CLASS")]


def test_an_object_that_came_first_makes_no_good_for_an_unreadable_image(worker: Bench) -> None:
    broken = objects.broken_code_stream(seed="report")
    worker.deliver(same_uids(objects.structured_report(), broken))
    worker.deliver(broken)
    worker.run()
    assert results(worker)[0].outcome is Outcome.NO_RESULT
    assert worker.open_flags() == [("NO_RESULT", "DECODE_FAILED")]
    worker.deliver(objects.phantom("report"))
    worker.run()
    assert results(worker)[0].outcome is Outcome.SUSPECTED


def test_an_unreadable_image_that_comes_again_out_of_scope_stays_in_the_readers_list(worker: Bench) -> None:
    worker.deliver(objects.broken_code_stream(seed="lateral"))
    worker.run()
    again = worker.deliver(objects.lateral(seed="lateral"))
    worker.run()
    assert worker.receipt(again).state is ReceiptState.OUT_OF_SCOPE
    assert worker.open_flags() == [("CONFLICT", "SCOPE")]
    (row,) = results(worker, flagged=True)
    assert row.outcome is Outcome.OUT_OF_SCOPE


def test_other_pixels_do_not_replace_an_image_that_was_decoded_without_result(worker: Bench) -> None:
    worker.runtime.predict_with = always(np.nan)
    worker.deliver(objects.phantom("nan"))
    worker.run()
    worker.runtime.predict_with = always(0.1)
    unreadable = worker.deliver(objects.broken_code_stream(seed="nan"))
    other = worker.deliver(objects.phantom("nan", picture=objects.gradient(seed=4)))
    worker.run()
    assert worker.receipt(unreadable).state is ReceiptState.QUARANTINED
    assert (worker.receipt(other).state, worker.receipt(other).reason) == (ReceiptState.CONFLICT, "PIXELS")
    (image,) = worker.images()
    assert (image.outcome, image.reason, image.revision) == (Outcome.NO_RESULT, "NOT_FINITE", 1)
    assert results(worker)[0].outcome is Outcome.NO_RESULT
    same = worker.deliver(objects.phantom("nan", derivation="again"))
    worker.run()
    assert worker.receipt(same).state is ReceiptState.CLASSIFIED
    assert worker.images()[0].outcome is Outcome.NOT_SUSPECTED


def test_what_is_no_dicom_is_quarantined_without_a_study(worker: Bench) -> None:
    receipt_id = worker.deliver(b"this is no DICOM file at all" * 10)
    empty = worker.deliver(b"")
    worker.run()
    assert worker.receipt(receipt_id).state is ReceiptState.QUARANTINED
    assert worker.receipt(receipt_id).study_id is None
    assert worker.receipt(empty).state is ReceiptState.QUARANTINED
    assert worker.images() == []


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (objects.lateral, "VIEW"),
        (objects.hand, "BODY_PART"),
        (objects.structured_report, "NOT_AN_IMAGE"),
        (objects.colour, "COLOUR"),
        (objects.multi_frame, "MULTI_FRAME"),
        (objects.for_processing, "FOR_PROCESSING"),
    ],
)
def test_out_of_scope_says_why(worker: Bench, make: Callable[[], Dataset], reason: str) -> None:
    receipt_id = worker.deliver(make())
    worker.run()
    receipt = worker.receipt(receipt_id)
    assert (receipt.state, receipt.reason) == (ReceiptState.OUT_OF_SCOPE, reason)
    assert worker.images()[0].outcome is Outcome.OUT_OF_SCOPE
    assert worker.study().outcome is Outcome.OUT_OF_SCOPE
    assert worker.runtime.images == 0


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
    mine = next(row for row in results(worker) if row.study_uid == real.StudyInstanceUID)
    assert (mine.outcome, mine.probability, mine.patient_id) == (Outcome.NO_RESULT, None, real.PatientID)
    assert (mine.revision, mine.settled_at) == (2, None)
    assert worker.receipt(receipt).study_id == mine.study_id
    assert mine.study_uid in {row.study_uid for row in results(worker, flagged=True)}
    settle_due(worker.settings, worker.sessions)
    with worker.sessions.begin() as session:
        study = session.get_one(Study, mine.study_id)
        assert (study.outcome, study.settled_at is None) == (Outcome.NO_RESULT, False)
    # told once: the same again changes nothing, and so opens no revision
    second.DerivationDescription = "again"
    worker.deliver(second)
    worker.run()
    mine = next(row for row in results(worker) if row.study_uid == real.StudyInstanceUID)
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
    settle_undrawn(worker)
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


def test_a_person_may_put_a_receipt_back(worker: Bench) -> None:
    broken = worker.deliver(objects.broken_code_stream())
    worker.run()
    with worker.sessions.begin() as session:
        retry(session, broken)
    assert worker.run() == 1
    assert worker.receipt(broken).state is ReceiptState.QUARANTINED
    assert worker.images()[0].revision == 2


def test_a_receipt_put_back_before_its_file_moved_is_no_duplicate_of_itself(
    worker: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as context:
        # as a worker does that dies between the two
        context.setattr("worker.pipeline.store", lambda *_: False)
        broken = worker.deliver(objects.without_pixels())
        worker.run()
    assert worker.receipt(broken).stored_at is None
    with worker.sessions.begin() as session:
        retry(session, broken)
    worker.run()
    assert (worker.receipt(broken).state, worker.receipt(broken).reason) == (ReceiptState.QUARANTINED, "NO_PIXEL_DATA")
    assert worker.images()[0].revision == 2


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([np.nan], "NOT_FINITE"),
        ([np.inf], "NOT_FINITE"),
        ([1.5], "OUT_OF_RANGE"),
        ([[0.1, 0.9]], "INFERENCE_FAILED"),
        ([], "INFERENCE_FAILED"),
    ],
)
def test_row_30_what_is_no_score_is_no_result(worker: Bench, values: list[object], reason: str) -> None:
    worker.runtime.predict_with = lambda _: np.array(values, np.float32)
    receipt_id = worker.deliver(objects.phantom())
    worker.run()
    assert worker.receipt(receipt_id).state is ReceiptState.CLASSIFIED
    (image,) = worker.images()
    assert (image.outcome, image.reason) == (Outcome.NO_RESULT, reason)
    assert worker.open_flags() == [("NO_RESULT", reason)]
    (prediction,) = worker.predictions()
    assert (prediction.outcome, prediction.score, prediction.probability) == (Outcome.NO_RESULT, None, None)


def test_one_bad_input_does_not_fail_its_neighbours(worker: Bench) -> None:
    known: set[bytes] = set()

    def learn(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        known.update(one.tobytes() for one in inputs)
        return np.full(len(inputs), 0.1, np.float32)

    def predict(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        if any(one.tobytes() not in known for one in inputs):
            message = "the runtime fails on this one"
            raise RuntimeError(message)
        return np.full(len(inputs), 0.1, np.float32)

    worker.runtime.predict_with = learn
    good = [worker.deliver(objects.phantom())]
    worker.run()
    worker.runtime.predict_with = predict
    poison = worker.deliver(objects.phantom(picture=objects.gradient(seed=5)))
    good += [worker.deliver(objects.phantom()) for _ in range(3)]
    # once: on a busy machine the poison may be due again before its neighbours are done
    worker.run_once()
    assert (worker.receipt(poison).state, worker.receipt(poison).attempts) == (ReceiptState.PENDING, 1)
    assert {worker.receipt(receipt).state for receipt in good} == {ReceiptState.CLASSIFIED}


def test_a_file_that_vanished_or_changed_is_quarantined_with_its_reason(worker: Bench) -> None:
    gone, changed = worker.deliver(objects.phantom()), worker.deliver(objects.phantom())
    new = worker.settings.data_dir / "spool" / "listener" / "new"
    for path in new.iterdir():
        if worker.receipt(gone).sha256 in path.name:
            path.unlink()
        elif worker.receipt(changed).sha256 in path.name:
            path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    worker.run()
    assert (worker.receipt(gone).state, worker.receipt(gone).reason) == (ReceiptState.QUARANTINED, "MISSING_FILE")
    assert worker.receipt(changed).reason == "DIGEST_MISMATCH"
    assert worker.images() == []


def test_row_31_two_workers_on_one_ledger_dispose_of_each_receipt_once(
    ledger_settings: Settings, sessions: sessionmaker[Session]
) -> None:
    dataset = objects.phantom()
    receipts = [deliver(ledger_settings, sessions, dataset, peer=f"P{number}") for number in range(4)]
    receipts += [deliver(ledger_settings, sessions, objects.phantom()) for _ in range(6)]
    small = ledger_settings.model_copy(update={"batch_size": 2})
    with bench(small, sessions, always(0.1)) as one, bench(small, sessions, always(0.1)) as two:
        threads = [threading.Thread(target=worker.run) for worker in (one, two)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # on a busy machine something may have been put off until neither looked any more
        wait_until(
            lambda: not one.run() and all(one.receipt(each).state is not ReceiptState.PENDING for each in receipts),
            30,
            "nothing is pending",
        )
        states = [one.receipt(receipt).state for receipt in receipts]
        assert sorted(states) == [ReceiptState.CLASSIFIED] * 7 + [ReceiptState.DUPLICATE] * 3
        assert len(one.predictions()) == 7
        assert not list((small.data_dir / "spool").rglob("*.dcm"))
        entries = [Entry.parse(one.receipt(receipt).entry) for receipt in receipts]
        assert all(stored_path(small.data_dir, entry).exists() for entry in entries)


def test_nul_in_text_reaches_both_databases_alike(worker: Bench) -> None:
    # PostgreSQL refuses NUL where SQLite takes it: poison in production alone
    receipt = worker.deliver(objects.with_nul_in_text(seed="nul"))
    worker.run()
    assert worker.receipt(receipt).state is ReceiptState.CLASSIFIED
    study = worker.study()
    assert (study.accession_number, study.outcome) == ("AB", Outcome.SUSPECTED)


def test_an_unknown_character_set_is_no_obstacle_and_is_said(worker: Bench) -> None:
    receipt = worker.deliver(objects.unknown_character_set_file(seed="characters"))
    worker.run()
    assert worker.receipt(receipt).state is ReceiptState.CLASSIFIED
    assert "UNKNOWN_CHARACTER_SET" in worker.images()[0].annotations
    (row,) = results(worker)
    assert "UNKNOWN_CHARACTER_SET" in row.annotations
