"""What another delivery of an instance becomes, on both databases: promises 4, 5 and 8."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import uid

from db.quarantine import retry
from db.vocabulary import Outcome, ReceiptState
from tests.factories import dicom_objects as objects
from tests.integration.worker_kit import Bench, always


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
    (row,) = worker.results(flagged=True)
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
    report = worker.deliver(objects.same_uids(objects.structured_report(), broken))
    worker.run()
    assert (worker.receipt(report).state, worker.receipt(report).reason) == (ReceiptState.CONFLICT, "SOP_CLASS")
    assert worker.images()[0].outcome is Outcome.NO_RESULT
    assert worker.results()[0].outcome is Outcome.NO_RESULT
    assert worker.open_flags() == [("NO_RESULT", "DECODE_FAILED"), ("CONFLICT", "SOP_CLASS")]


def test_an_object_that_came_first_makes_no_good_for_an_unreadable_image(worker: Bench) -> None:
    broken = objects.broken_code_stream(seed="report")
    worker.deliver(objects.same_uids(objects.structured_report(), broken))
    worker.deliver(broken)
    worker.run()
    assert worker.results()[0].outcome is Outcome.NO_RESULT
    assert worker.open_flags() == [("NO_RESULT", "DECODE_FAILED")]
    worker.deliver(objects.phantom("report"))
    worker.run()
    assert worker.results()[0].outcome is Outcome.SUSPECTED


def test_an_unreadable_image_that_comes_again_out_of_scope_stays_in_the_readers_list(worker: Bench) -> None:
    worker.deliver(objects.broken_code_stream(seed="lateral"))
    worker.run()
    again = worker.deliver(objects.lateral(seed="lateral"))
    worker.run()
    assert worker.receipt(again).state is ReceiptState.OUT_OF_SCOPE
    assert worker.open_flags() == [("CONFLICT", "SCOPE")]
    (row,) = worker.results(flagged=True)
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
    assert worker.results()[0].outcome is Outcome.NO_RESULT
    same = worker.deliver(objects.phantom("nan", derivation="again"))
    worker.run()
    assert worker.receipt(same).state is ReceiptState.CLASSIFIED
    assert worker.images()[0].outcome is Outcome.NOT_SUSPECTED


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
