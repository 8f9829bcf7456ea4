"""What one delivery becomes, on both databases: its state, its reason, and what is kept of it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from sqlalchemy.orm import Session, sessionmaker

from core.settings import Settings
from core.spool import Entry, stored_path
from db.vocabulary import Outcome, ReceiptState
from tests.factories import dicom_objects as objects
from tests.integration.worker_kit import Bench, always, bench, deliver
from tests.waiting import wait_until


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
    (row,) = worker.results()
    assert "UNKNOWN_CHARACTER_SET" in row.annotations
