"""Two deliveries of one instance that only a full decode can tell apart, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from sqlalchemy import Engine, update

from core.settings import Settings
from db.base import make_sessions
from db.models.receipt import Receipt
from db.vocabulary import Outcome, ReceiptState
from tests.factories import dicom_objects as objects
from tests.integration import bad_readers
from tests.integration.worker_kit import Bench, bench

POISON = bad_readers.MARK.decode()


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
