"""Reconciliation of real files with a real ledger, also while traffic flows."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session, sessionmaker

from core.files import move_durably
from core.spool import Entry, Spool, new_incarnation, stored_path
from db.audit import Audit, _in_both
from db.base import make_readers
from db.claims import claim, finish
from db.models.receipt import Receipt
from db.receipts import NewReceipt, mark_stored, register
from db.reconcile import Misfit, Reconciliation
from db.vocabulary import ReceiptState
from tests.factories.rows import ago


class House:
    """A data directory, its ledger, and what listener, registrar and worker do to them."""

    def __init__(self, data: Path, engine: Engine, sessions: sessionmaker[Session]) -> None:
        self.data = data
        self.engine = engine
        self.sessions = sessions
        self.spool = Spool(data, "listener")
        self.incarnation = new_incarnation()
        self.sequence = 0

    def acknowledge(self, content: bytes | None = None) -> Entry:
        self.sequence += 1
        content = content or f"instance {self.sequence}".encode()
        entry = Entry(self.incarnation, self.sequence, hashlib.sha256(content).hexdigest())
        temporary = self.spool.temporary / entry.file_name
        for folder in (self.spool.new, self.spool.temporary):
            folder.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.rename(self.spool.path(entry))
        return entry

    def register(self, *entries: Entry) -> None:
        with self.sessions.begin() as session:
            register(
                session,
                [
                    NewReceipt(entry, self.spool.listener, self.spool.path(entry).stat().st_size, ago(0))
                    for entry in entries
                ],
                900,
            )

    def work(self, limit: int = 1000) -> None:
        with self.sessions.begin() as session:
            held = claim(session, limit, 60)
        for one in held:
            with self.sessions.begin() as session:
                finish(session, one, ReceiptState.CLASSIFIED)
            move_durably(self.spool.path(one.entry), stored_path(self.data, one.entry))
        with self.sessions.begin() as session:
            mark_stored(session, [one.receipt_id for one in held])

    def finished(self, count: int) -> list[Entry]:
        entries = [self.acknowledge() for _ in range(count)]
        self.register(*entries)
        self.work()
        return entries

    def reconcile(self, *, digests: bool = False, grace_seconds: float = 60.0) -> Reconciliation:
        audit = Audit(make_readers(self.engine), self.data, grace_seconds=grace_seconds, pause=lambda _: None)
        return audit.run(digests=digests)


@pytest.fixture
def house(tmp_path: Path, engine: Engine, sessions: sessionmaker[Session]) -> House:
    return House(tmp_path / "house", engine, sessions)


def _found(report: Reconciliation) -> list[tuple[Misfit, str]]:
    assert not report.clean
    return [(finding.misfit, finding.name) for finding in report.findings]


def test_an_empty_house_is_clean(house: House) -> None:
    report = house.reconcile()
    assert report.clean
    assert report.acknowledged == 0


def test_every_stage_of_the_journey_is_clean(house: House) -> None:
    house.finished(20)
    house.register(house.acknowledge(), house.acknowledge())
    house.acknowledge()
    report = house.reconcile(digests=True)
    assert report.findings == ()
    assert (report.acknowledged, report.terminal, report.pending, report.waiting) == (23, 20, 2, 1)
    assert report.clean
    assert report.files == 23


def test_a_file_removed_by_hand_is_named(house: House) -> None:
    done = house.finished(5)
    waiting = house.acknowledge()
    house.register(waiting)
    stored_path(house.data, done[2]).unlink()
    house.spool.path(waiting).unlink()
    assert sorted(_found(house.reconcile())) == sorted([(Misfit.MISSING, done[2].name), (Misfit.MISSING, waiting.name)])


def test_a_file_that_nobody_registers_is_named_after_the_grace(house: House) -> None:
    house.finished(3)
    late = house.acknowledge()
    assert house.reconcile().clean
    report = house.reconcile(grace_seconds=-1)
    assert _found(report) == [(Misfit.UNREGISTERED, late.name)]
    assert (report.acknowledged, report.unregistered, report.balanced) == (4, 1, True)


def test_a_file_that_vanished_before_registration_is_a_gap(house: House) -> None:
    house.finished(2)
    for _ in range(3):
        house.spool.path(house.acknowledge()).unlink()
    house.finished(1)
    report = house.reconcile()
    assert _found(report) == [(Misfit.GAP, f"{house.incarnation} 3-5")]
    assert (report.acknowledged, report.terminal, report.balanced) == (6, 3, False)


def test_a_lost_ledger_row_shows_with_its_file_and_without_a_gap(house: House) -> None:
    done = house.finished(4)
    with house.sessions.begin() as session:
        session.delete(session.scalars(select(Receipt).where(Receipt.entry == done[1].name)).one())
    report = house.reconcile()
    assert _found(report) == [(Misfit.NO_RECEIPT, done[1].name)]
    assert (report.acknowledged, report.terminal, report.unregistered) == (4, 3, 1)


def test_changed_bytes_are_found_by_digest_or_size(house: House) -> None:
    first, second, third = house.finished(3)
    path = stored_path(house.data, first)
    path.write_bytes(path.read_bytes()[::-1])
    stored_path(house.data, second).write_bytes(b"longer than it was")
    assert _found(house.reconcile()) == [(Misfit.SIZE, second.name)]
    assert sorted(_found(house.reconcile(digests=True))) == sorted(
        [(Misfit.DIGEST, first.name), (Misfit.DIGEST, second.name), (Misfit.SIZE, second.name)]
    )
    assert third.name not in str(house.reconcile(digests=True).findings)


def test_copies_and_strays_are_named(house: House) -> None:
    (done,) = house.finished(1)
    wrong = house.data / "stored" / ("00" if done.sha256[:2] != "00" else "01")
    wrong.mkdir()
    (house.spool.new / done.file_name).write_bytes(stored_path(house.data, done).read_bytes())
    (house.spool.new / "patient.dcm").write_bytes(b"x")
    (wrong / "notes.txt").write_bytes(b"x")
    (house.data / "stored" / "stray").write_bytes(b"x")
    assert sorted(_found(house.reconcile())) == sorted(
        [
            (Misfit.TWICE, done.name),
            (Misfit.BAD_NAME, "spool/listener/new/patient.dcm"),
            (Misfit.BAD_NAME, f"stored/{wrong.name}/notes.txt"),
            (Misfit.BAD_NAME, "stored/stray"),
        ]
    )


def test_a_file_in_the_wrong_shard_or_spool_is_misplaced_not_missing(house: House) -> None:
    first, second = house.finished(2)
    wrong = house.data / "stored" / ("00" if first.sha256[:2] != "00" else "01")
    wrong.mkdir(exist_ok=True)
    stored_path(house.data, first).rename(wrong / first.file_name)
    other = Spool(house.data, "other")
    other.new.mkdir(parents=True)
    stored_path(house.data, second).rename(other.path(second))
    assert sorted(_found(house.reconcile())) == sorted(
        [(Misfit.MISPLACED, first.name), (Misfit.MISPLACED, second.name)]
    )


def test_several_listeners_have_sequences_of_their_own(house: House) -> None:
    house.finished(3)
    other = House(house.data, house.engine, house.sessions)
    other.spool = Spool(house.data, "other")
    entries = [other.acknowledge() for _ in range(2)]
    other.register(*entries)
    report = house.reconcile()
    assert report.clean
    assert report.acknowledged == 5


@contextmanager
def _traffic(house: House) -> Iterator[None]:
    """Acknowledge, register and store without pause."""
    ended = threading.Event()
    failures: list[BaseException] = []

    def flow() -> None:
        try:
            while not ended.is_set():
                house.register(*(house.acknowledge() for _ in range(5)))
                house.work()
        except BaseException as failure:  # noqa: BLE001 - shown by the test
            failures.append(failure)

    thread = threading.Thread(target=flow)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    assert failures == []


def test_live_traffic_is_never_reported(house: House) -> None:
    house.finished(50)
    with _traffic(house):
        for _ in range(3):
            audit = Audit(make_readers(house.engine), house.data)
            report = audit.run(digests=True)
            assert report.findings == ()
            assert report.clean
    assert house.reconcile(digests=True).acknowledged == house.sequence


def test_what_is_wrong_is_found_beside_live_traffic(house: House) -> None:
    lost = house.finished(50)[17]
    stored_path(house.data, lost).unlink()
    with _traffic(house):
        assert _found(Audit(make_readers(house.engine), house.data).run()) == [(Misfit.MISSING, lost.name)]


def test_progress_is_told(house: House) -> None:
    told: list[tuple[int, int]] = []
    Audit(make_readers(house.engine), house.data).run(progress=lambda done, of: told.append((done, of)))
    assert told[0] == (0, 256)
    assert told[-1] == (256, 256)


def test_a_receipt_that_says_stored_while_the_file_is_in_new_is_misplaced(house: House) -> None:
    entry = house.acknowledge()
    house.register(entry)
    with house.sessions.begin() as session:
        session.execute(update(Receipt).values(stored_at=ago(1), state=ReceiptState.CLASSIFIED))
    assert _found(house.reconcile()) == [(Misfit.MISPLACED, entry.name)]


def test_ranges_intersect() -> None:
    assert _in_both({(1, 5), (8, 9)}, {(4, 8), (20, 30)}) == {(4, 5), (8, 8)}
    assert _in_both({(1, 2)}, set()) == set()
