"""What a bad image may cost: its own attempts and its own helper (promise 6; fault rows 27 to 29)."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from sqlalchemy import Engine, select, update
from sqlalchemy.exc import InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session, sessionmaker

from core.clock import SystemClock
from core.errors import TransientFailure
from core.settings import Settings
from core.spool import Entry
from db.base import make_sessions
from db.claims import claim
from db.models.receipt import Receipt
from db.vocabulary import Outcome, ReceiptState
from tests.factories import dicom_objects as objects
from tests.integration import bad_readers
from tests.integration.worker_kit import Bench, HandClock, always, bench
from tests.waiting import wait_until
from worker.decode_protocol import Answer, Request
from worker.helpers import Helpers
from worker.read import Reader
from worker.record import record
from worker.stages import Prepared, Read
from worker.trouble import LEDGER_AWAY, Trouble

POISON = bad_readers.MARK.decode()


@pytest.fixture
def small(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(helper_seconds=2.0, helper_cpu_seconds=1, helper_memory_bytes=1 << 30, maximum_attempts=2)


@pytest.fixture
def small_sessions(sqlite_engine: Engine) -> sessionmaker[Session]:
    return make_sessions(sqlite_engine)


def poisoned(fault: str = "") -> Dataset:
    dataset = objects.phantom()
    dataset.AccessionNumber = POISON + fault
    return dataset


def forget_delays(sessions: sessionmaker[Session]) -> None:
    """Let what was put off be due now."""
    with sessions.begin() as session:
        session.execute(update(Receipt).where(Receipt.state == ReceiptState.PENDING).values(lease_until=None))


def run_until_quiet(worker: Bench, seconds: float = 60.0) -> None:
    """Run batches until no receipt is PENDING; an attempt that failed comes back after its pause."""

    def quiet() -> bool:
        worker.run()
        with worker.sessions.begin() as session:
            return session.scalar(select(Receipt.id).where(Receipt.state == ReceiptState.PENDING).limit(1)) is None

    wait_until(quiet, seconds, "no receipt is PENDING")


FAULTS = {
    "_SEGV": "CRASHED",
    "_KILL": "CRASHED",
    "_RAIS": "CRASHED",
    "_HANG": "TIMED_OUT",
    "_SPIN": "TIMED_OUT",
    "_BOMB": "OUT_OF_MEMORY",
}


# eighteen helpers are started one after the other
@pytest.mark.timeout(300)
def test_rows_27_28_29_bad_images_cost_three_helpers_each_and_no_neighbour_anything(
    small: Settings, small_sessions: sessionmaker[Session]
) -> None:
    assert FAULTS.keys() == bad_readers.BY_NAME.keys()
    # the good ones must not seem to hang on a busy machine
    thrice = small.model_copy(update={"maximum_attempts": 3, "helper_seconds": 4.0})
    with bench(thrice, small_sessions, reader="tests.integration.bad_readers:each_its_own") as worker:
        good = [worker.deliver(objects.phantom())]
        bad = {}
        for fault, reason in FAULTS.items():
            bad[worker.deliver(poisoned(fault))] = reason
            good.append(worker.deliver(objects.phantom()))
        run_until_quiet(worker, 240)
        for receipt_id, reason in bad.items():
            receipt = worker.receipt(receipt_id)
            assert (receipt.state, receipt.reason) == (ReceiptState.QUARANTINED, reason)
            assert receipt.attempts == 3
            assert receipt.stored_at is not None
            assert "Phantom" not in (receipt.detail or "")
        for receipt_id in good:
            assert worker.receipt(receipt_id).state is ReceiptState.CLASSIFIED
            assert worker.receipt(receipt_id).attempts == 1
        # the header could be read, so the study shows what it lacks
        failed = {image.id: image.reason for image in worker.images() if image.outcome is Outcome.NO_RESULT}
        assert failed == {worker.receipt(receipt_id).image_id: reason for receipt_id, reason in bad.items()}
        missing = [reason for kind, reason in worker.open_flags() if kind == "NO_RESULT"]
        assert sorted(map(str, missing)) == sorted(FAULTS.values())
        assert bad_readers.starts(thrice.masters.resolve()) == 3 * len(bad)
    assert worker.helpers.pids == []


def test_row_02_a_helper_killed_while_it_decodes_costs_an_attempt_and_no_result(
    small: Settings, small_sessions: sessionmaker[Session]
) -> None:
    with bench(small, small_sessions, reader="tests.integration.bad_readers:killed_once") as worker:
        receipt_id = worker.deliver(poisoned())
        run_until_quiet(worker)
        assert (worker.receipt(receipt_id).state, worker.receipt(receipt_id).attempts) == (ReceiptState.CLASSIFIED, 2)
        assert len(worker.predictions()) == 1


@pytest.mark.parametrize(("fault", "reason"), [("header_hangs", "TIMED_OUT"), ("header_kills", "CRASHED")])
def test_rows_28_29_a_header_that_ends_its_helper_is_started_three_times_and_no_more(
    small: Settings, small_sessions: sessionmaker[Session], fault: str, reason: str
) -> None:
    thrice = small.model_copy(update={"maximum_attempts": 3})
    with bench(thrice, small_sessions, reader=f"tests.integration.bad_readers:{fault}") as worker:
        bad = worker.deliver(poisoned())
        good = worker.deliver(objects.phantom())
        run_until_quiet(worker)
        receipt = worker.receipt(bad)
        assert (receipt.state, receipt.reason) == (ReceiptState.QUARANTINED, reason)
        assert receipt.attempts == 3
        assert bad_readers.starts(thrice.masters.resolve()) == 3
        # nobody knows whose it is
        assert receipt.study_id is None
        assert worker.receipt(good).state is ReceiptState.CLASSIFIED


def test_a_header_that_hangs_after_dead_workers_costs_seconds(
    small: Settings, small_sessions: sessionmaker[Session]
) -> None:
    patient = small.model_copy(update={"helper_seconds": 25.0})
    with bench(patient, small_sessions, reader="tests.integration.bad_readers:header_hangs") as worker:
        bad = worker.deliver(poisoned())
        with small_sessions.begin() as session:
            session.execute(update(Receipt).values(attempts=patient.maximum_attempts))
        good = worker.deliver(objects.phantom())
        worker.lanes.warm()
        begun = time.monotonic()
        worker.run()
        # 3 s for the header and a new helper; it was 25 s
        assert time.monotonic() - begun < 15
        assert (worker.receipt(bad).state, worker.receipt(bad).reason) == (ReceiptState.QUARANTINED, "CRASHED")
        assert worker.receipt(good).state is ReceiptState.CLASSIFIED


def out_of_the_way(aside: Path, folder: Path) -> Callable[[], object]:
    """Take a folder away, as if its disk were not mounted, and return how to bring it back."""
    folder.rename(aside)
    return lambda: aside.rename(folder)


def spoil_masters(settings: Settings) -> Callable[[], object]:
    """Let the masters directory refuse every write, whoever asks, and return how to mend it."""
    settings.masters.parent.mkdir(parents=True, exist_ok=True)
    settings.masters.touch()
    return settings.masters.unlink


def test_masters_that_cannot_be_written_cost_no_attempt_however_often(
    make_settings: Callable[..., Settings], sqlite_engine: Engine
) -> None:
    settings = make_settings(maximum_attempts=2)
    sessions, clock = make_sessions(sqlite_engine), HandClock()
    mend = spoil_masters(settings)
    with bench(settings, sessions, clock=clock) as worker:
        receipts = [worker.deliver(objects.phantom()) for _ in range(3)]
        worker.lanes.warm()
        helpers = worker.helpers.pids
        for _ in range(5):
            assert worker.run_once() == 3
            assert worker.journey.problem is not None
            assert "masters directory cannot be written" in worker.journey.problem
            for receipt_id in receipts:
                receipt = worker.receipt(receipt_id)
                assert (receipt.state, receipt.attempts, receipt.lease_token) == (ReceiptState.PENDING, 0, None)
                assert receipt.lease_until is not None
            # it rests, and longer each time
            assert worker.run_once() == 0
            clock.seconds += 61
            forget_delays(sessions)
        assert worker.helpers.pids == helpers
        mend()
        assert worker.run_once() == 3
        assert {worker.receipt(receipt).state for receipt in receipts} == {ReceiptState.CLASSIFIED}
        assert worker.journey.problem is None


def test_a_disk_that_does_not_give_a_master_back_costs_no_attempt(
    small: Settings, small_sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = HandClock()
    with bench(small, small_sessions, clock=clock) as worker:
        receipt_id = worker.deliver(objects.phantom())

        def refuse(*_: object) -> Prepared:
            message = "the masters directory cannot be read (errno 5); check its disk and permissions"
            raise TransientFailure(message)

        with monkeypatch.context() as patched:
            patched.setattr("worker.pipeline.prepare", refuse)
            for _ in range(4):
                assert worker.run_once() == 1
                assert (worker.receipt(receipt_id).state, worker.receipt(receipt_id).attempts) == ("PENDING", 0)
                clock.seconds += 61
                forget_delays(small_sessions)
        worker.run()
        assert worker.receipt(receipt_id).state is ReceiptState.CLASSIFIED


def test_helpers_that_do_not_start_cost_no_attempt(small: Settings, small_sessions: sessionmaker[Session]) -> None:
    clock = HandClock()
    with bench(small, small_sessions, reader="tests.integration.bad_readers:absent", clock=clock) as worker:
        receipt_id = worker.deliver(objects.phantom())
        for _ in range(small.maximum_attempts + 1):
            assert worker.run_once() == 1
            assert (worker.receipt(receipt_id).state, worker.receipt(receipt_id).attempts) == ("PENDING", 0)
            assert "do not start" in (worker.journey.problem or "")
            clock.seconds += 61
            forget_delays(small_sessions)


@pytest.mark.parametrize("missing", ["spool", "spool/listener"])
def test_a_host_without_the_spool_claims_nothing_and_says_so(
    small: Settings, small_sessions: sessionmaker[Session], tmp_path: Path, missing: str
) -> None:
    with bench(small, small_sessions) as worker:
        assert worker.run() == 0
        assert worker.journey.problem is None
        receipt_id = worker.deliver(objects.phantom())
        bring_back = out_of_the_way(tmp_path / "aside", small.data_dir / missing)
        if missing == "spool/listener":
            (small.data_dir / "spool" / "another" / "new").mkdir(parents=True)
        for _ in range(small.maximum_attempts + 1):
            assert worker.run_once() == 0
        receipt = worker.receipt(receipt_id)
        assert (receipt.state, receipt.attempts, receipt.lease_until) == (ReceiptState.PENDING, 0, None)
        assert "spool/listener" in (worker.journey.problem or "")
        bring_back()
        assert worker.run() == 1
        assert worker.receipt(receipt_id).state is ReceiptState.CLASSIFIED
        worker.run()
        assert worker.journey.problem is None


def test_a_spool_that_is_only_an_empty_mount_point_costs_no_attempt(
    small: Settings, small_sessions: sessionmaker[Session], tmp_path: Path
) -> None:
    clock = HandClock()
    with bench(small, small_sessions, clock=clock) as worker:
        receipt_id = worker.deliver(objects.phantom())
        bring_back = out_of_the_way(tmp_path / "aside", small.data_dir / "spool" / "listener" / "new")
        for _ in range(small.maximum_attempts + 1):
            assert worker.run_once() == 1
            assert (worker.receipt(receipt_id).state, worker.receipt(receipt_id).attempts) == ("PENDING", 0)
            assert "mounted" in (worker.journey.problem or "")
            clock.seconds += 61
            forget_delays(small_sessions)
        bring_back()
        worker.run()
        assert worker.receipt(receipt_id).state is ReceiptState.CLASSIFIED


def test_a_file_that_the_disk_does_not_even_show_costs_neither_it_nor_its_neighbours_an_attempt(
    small: Settings, small_sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = HandClock()
    with bench(small, small_sessions, clock=clock) as worker:
        bad, *good = (worker.deliver(objects.phantom()) for _ in range(4))
        name, exists = Entry.parse(worker.receipt(bad).entry).file_name, Path.exists

        def refuse(path: Path) -> bool:
            if path.name == name:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return exists(path)

        with monkeypatch.context() as patched:
            patched.setattr(Path, "exists", refuse)
            for _ in range(small.maximum_attempts + 1):
                assert worker.run_once() > 0
                assert (worker.receipt(bad).state, worker.receipt(bad).attempts) == (ReceiptState.PENDING, 0)
                assert "errno 5" in (worker.journey.problem or "")
                clock.seconds += 61
                forget_delays(small_sessions)
        for one in good:
            assert (worker.receipt(one).state, worker.receipt(one).attempts) == (ReceiptState.CLASSIFIED, 1)
        worker.run()
        assert (worker.receipt(bad).state, worker.receipt(bad).attempts) == (ReceiptState.CLASSIFIED, 1)


def test_what_nobody_foresaw_while_an_image_is_read_costs_that_image_alone(
    small: Settings, small_sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    with bench(small, small_sessions) as worker:
        bad, *good = (worker.deliver(objects.phantom()) for _ in range(3))
        ask = Helpers.ask

        def fail(helpers: Helpers, request: Request) -> Answer:
            if worker.receipt(bad).sha256 in request.path:
                raise ZeroDivisionError
            return ask(helpers, request)

        monkeypatch.setattr(Helpers, "ask", fail)
        run_until_quiet(worker)
        receipt = worker.receipt(bad)
        assert (receipt.state, receipt.reason) == (ReceiptState.QUARANTINED, "CRASHED")
        assert receipt.attempts == small.maximum_attempts
        assert "ZeroDivisionError" in (receipt.detail or "")
        for one in good:
            assert (worker.receipt(one).state, worker.receipt(one).attempts) == (ReceiptState.CLASSIFIED, 1)


@pytest.mark.parametrize(
    "error",
    [
        PoolTimeout("QueuePool limit reached"),
        InternalError("SELECT", {}, Exception("cannot execute SELECT FOR UPDATE in a read-only transaction")),
    ],
)
def test_a_ledger_that_is_taken_up_or_only_reads_costs_no_attempt(
    small: Settings, small_sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: object) -> bool:
        raise error

    clock = HandClock()
    with bench(small, small_sessions, clock=clock) as worker:
        receipts = [worker.deliver(objects.phantom()) for _ in range(2)]
        with monkeypatch.context() as patched:
            patched.setattr("worker.read.start_attempt", refuse)
            for _ in range(small.maximum_attempts + 1):
                worker.run_once()
                assert {worker.receipt(one).attempts for one in receipts} == {0}
                assert worker.journey.problem == LEDGER_AWAY
                clock.seconds += 61
                forget_delays(small_sessions)
        worker.run()
        assert {worker.receipt(one).state for one in receipts} == {ReceiptState.CLASSIFIED}


def test_dead_workers_and_then_a_disk_that_refuses_give_no_further_start(
    small: Settings, small_sessions: sessionmaker[Session], tmp_path: Path
) -> None:
    clock = HandClock()
    with bench(small, small_sessions, clock=clock) as worker:
        receipt_id = worker.deliver(objects.phantom())
        with small_sessions.begin() as session:
            session.execute(update(Receipt).values(attempts=small.maximum_attempts))
        bring_back = out_of_the_way(tmp_path / "aside", small.data_dir / "spool" / "listener" / "new")
        assert worker.run_once() == 1
        assert worker.receipt(receipt_id).state is ReceiptState.PENDING
        assert worker.receipt(receipt_id).attempts == small.maximum_attempts
        bring_back()
        clock.seconds += 61
        forget_delays(small_sessions)
        assert worker.run_once() == 1
        assert worker.receipt(receipt_id).state is ReceiptState.QUARANTINED


@pytest.mark.parametrize(
    ("error", "reason"), [(OverflowError("int too large"), "BAD_HEADER"), (ZeroDivisionError(), "CRASHED")]
)
def test_what_recording_one_image_raises_costs_that_image_alone(
    small: Settings,
    small_sessions: sessionmaker[Session],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    reason: str,
) -> None:
    def spoilt(session: Session, read: Read, *rest: object) -> ReceiptState:
        if read.reading.attributes is not None and read.reading.attributes.accession_number == POISON:
            raise error
        return record(session, read, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("worker.pipeline.record", spoilt)
    with bench(small, small_sessions) as worker:
        bad, good = worker.deliver(poisoned()), worker.deliver(objects.phantom())
        run_until_quiet(worker)
        receipt = worker.receipt(bad)
        assert (receipt.state, receipt.reason) == (ReceiptState.QUARANTINED, reason)
        assert receipt.attempts == small.maximum_attempts
        assert (worker.receipt(good).state, worker.receipt(good).attempts) == (ReceiptState.CLASSIFIED, 1)


def test_a_library_may_print(small: Settings, small_sessions: sessionmaker[Session]) -> None:
    with bench(small, small_sessions, reader="tests.integration.bad_readers:babbles") as worker:
        receipt = worker.deliver(poisoned())
        worker.run()
        assert worker.receipt(receipt).state is ReceiptState.CLASSIFIED


def test_a_receipt_whose_worker_died_at_each_attempt_is_quarantined_without_another(
    small: Settings, small_sessions: sessionmaker[Session]
) -> None:
    with bench(small, small_sessions) as worker:
        receipt_id = worker.deliver(objects.phantom())
        with small_sessions.begin() as session:
            session.execute(update(Receipt).values(attempts=small.maximum_attempts))
        worker.run()
        receipt = worker.receipt(receipt_id)
        assert (receipt.state, receipt.reason) == (ReceiptState.QUARANTINED, "CRASHED")
        assert receipt.attempts == small.maximum_attempts
        assert worker.study().outcome is Outcome.NO_RESULT
        assert worker.runtime.images == 0


def test_a_ledger_that_is_away_for_a_moment_costs_no_image_a_start(
    small: Settings, small_sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    with bench(small, small_sessions) as worker:
        receipts = [worker.deliver(objects.phantom()) for _ in range(3)]

        def away(*_: object) -> None:
            raise OperationalError("SELECT", {}, Exception("no connection"))

        with monkeypatch.context() as patched:
            # where a lane asks
            patched.setattr(Reader, "_known", away)
            worker.run_once()
        assert [worker.receipt(one).attempts for one in receipts] == [0, 0, 0]
        assert worker.journey.problem is not None
        with small_sessions.begin() as session:
            session.execute(update(Receipt).values(lease_until=None))
        with monkeypatch.context() as patched:
            # where the journey asks: of all in hand only the one that was being written has spent a start
            patched.setattr("worker.pipeline.record", away)
            patched.setattr("worker.pipeline.backoff", lambda: iter([small.lease_seconds]))
            worker.journey._trouble = Trouble(SystemClock())
            with pytest.raises(OperationalError):
                worker.run_once()
        assert sorted(worker.receipt(one).attempts for one in receipts) == [0, 0, 1]
        assert {worker.receipt(one).lease_token for one in receipts} == {None}
        worker.run()
        assert {worker.receipt(one).state for one in receipts} == {ReceiptState.CLASSIFIED}


def test_a_host_that_fails_claims_no_more_meanwhile(small: Settings, small_sessions: sessionmaker[Session]) -> None:
    few = small.model_copy(update={"batch_size": 2})
    with bench(few, small_sessions) as worker:
        receipts = [worker.deliver(objects.phantom()) for _ in range(12)]
        masters = few.masters.resolve()
        masters.parent.mkdir(parents=True, exist_ok=True)
        # where a folder should be: neither root nor anybody else can write a master
        masters.write_text("")
        worker.run_once()
        untouched = [one for one in receipts if worker.receipt(one).lease_until is None]
        # the first batch, and what was claimed before its first failure was seen
        assert len(untouched) >= 6
        assert {worker.receipt(one).attempts for one in receipts} == {0}


def test_a_lost_lease_drops_the_result(small: Settings, small_sessions: sessionmaker[Session]) -> None:
    with bench(small, small_sessions) as worker:
        receipt_id = worker.deliver(objects.phantom())

        def another_worker_takes_it(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
            with small_sessions.begin() as session:
                session.execute(update(Receipt).values(lease_token="somebody-else"))  # noqa: S106 - no secret
            return always(0.1)(inputs)

        worker.runtime.predict_with = another_worker_takes_it
        worker.run()
        assert worker.receipt(receipt_id).state is ReceiptState.PENDING
        assert worker.receipt(receipt_id).lease_token == "somebody-else"
        assert worker.images() == []


def test_a_slow_batch_keeps_its_leases(small_sessions: sessionmaker[Session], small: Settings) -> None:
    # twice as long in all as a lease, each step far shorter than one, on a busy machine too
    brief = small.model_copy(update={"lease_seconds": 4.0})
    with bench(brief, small_sessions) as worker:
        receipts = [worker.deliver(objects.phantom()) for _ in range(8)]
        stolen: list[int] = []

        def slowly(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
            time.sleep(1.0)
            with small_sessions.begin() as session:
                stolen.extend(one.receipt_id for one in claim(session, 10, 60))
            return always(0.1)(inputs)

        worker.runtime.predict_with = slowly
        worker.run()
        assert stolen == []
        assert {worker.receipt(receipt).state for receipt in receipts} == {ReceiptState.CLASSIFIED}


def test_stopping_finishes_what_is_in_hand_and_gives_the_rest_back(
    small: Settings, small_sessions: sessionmaker[Session]
) -> None:
    with bench(small, small_sessions) as worker:
        receipts = [worker.deliver(objects.phantom()) for _ in range(8)]

        def stop_now(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
            worker.stopping.set()
            return always(0.1)(inputs)

        worker.runtime.predict_with = stop_now
        worker.run_once()
        states = [worker.receipt(receipt).state for receipt in receipts]
        finished = states.count(ReceiptState.CLASSIFIED)
        assert 1 <= finished <= 3
        for receipt_id in receipts:
            receipt = worker.receipt(receipt_id)
            assert receipt.lease_token is None
            assert receipt.attempts == (1 if receipt.state is ReceiptState.CLASSIFIED else 0)


def test_helpers_are_recycled_and_die_with_their_parent(small_sessions: sessionmaker[Session], small: Settings) -> None:
    few = small.model_copy(update={"helper_images": 2})
    with bench(few, small_sessions) as worker:
        worker.lanes.warm()
        seen = set(worker.helpers.pids)
        for _ in range(3):
            worker.deliver(objects.phantom())
            worker.run()
            seen.update(worker.helpers.pids)
        assert len(seen) == 2
        (pid,) = worker.helpers.pids
        assert "LUNGWATCH" not in " ".join(psutil.Process(pid).environ())
    wait_until(lambda: not psutil.pid_exists(pid), 5, "the helper is gone")


def test_several_helpers_decode_at_once(small_sessions: sessionmaker[Session], small: Settings) -> None:
    two = small.model_copy(update={"helper_processes": 2, "helper_seconds": 10.0})
    with bench(two, small_sessions) as worker:
        worker.lanes.warm()
        assert len(worker.helpers.pids) == 2
        receipts = [worker.deliver(objects.phantom()) for _ in range(6)]
        worker.run()
        assert {worker.receipt(receipt).state for receipt in receipts} == {ReceiptState.CLASSIFIED}


def test_a_helper_killed_from_outside_is_replaced(small: Settings, small_sessions: sessionmaker[Session]) -> None:
    with bench(small, small_sessions) as worker:
        worker.lanes.warm()
        (pid,) = worker.helpers.pids
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, 5, "the helper is dead")
        receipt = worker.deliver(objects.phantom())
        worker.run()
        assert worker.receipt(receipt).state is ReceiptState.CLASSIFIED
        assert threading.active_count() < 10
