"""From new/ to receipts: on both databases, killed and restarted; test_registrar_outages.py breaks what it leans on."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from redis import Redis
from sqlalchemy import Engine, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker
from structlog.testing import capture_logs

from core.celery import Queue
from core.clock import SystemClock
from core.settings import Settings
from core.spool import Entry, Spool
from db.base import make_engine, make_sessions
from db.claims import claim
from db.migrate import upgrade
from db.models.model import Heartbeat
from db.models.receipt import Receipt
from db.vocabulary import ProcessKind, ReceiptState
from dicom_listener.registrar.arrivals import Arrivals
from dicom_listener.registrar.bell import MOST_WAITING
from dicom_listener.registrar.registrar import LOCK, Registrar, run
from dicom_listener.storage import file_meta
from dicom_listener.storage.instance_file import SpoolWriter
from tests.peers.data_sets import CR_STORAGE, EXPLICIT, data_set, new_uid
from tests.peers.listener import registrar
from tests.waiting import wait_until


def put(
    settings: Settings, count: int = 1, writer: SpoolWriter | None = None, sender: str | None = "SENDER"
) -> list[Entry]:
    """Entries as the listener leaves them."""
    writer = writer or SpoolWriter(Spool(settings.data_dir, settings.listener_name))
    entries = []
    for _ in range(count):
        instance = new_uid()
        file = writer.begin()
        file.write(
            file_meta.encode(
                sop_class_uid=CR_STORAGE,
                sop_instance_uid=instance,
                transfer_syntax_uid=EXPLICIT,
                sending_ae_title=sender,
                receiving_ae_title="LUNGWATCH",
            )
        )
        file.write(data_set(instance))
        entries.append(file.commit())
    return entries


def rows(sessions: sessionmaker[Session]) -> list[Receipt]:
    with sessions() as session:
        return list(session.scalars(select(Receipt).order_by(Receipt.id)))


class Rings:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


class TestOnePass:
    @pytest.fixture
    def rings(self) -> Rings:
        return Rings()

    @pytest.fixture
    def one(self, ledger_settings: Settings, sessions: sessionmaker[Session], rings: Rings) -> Registrar:
        put(ledger_settings, 0)
        return Registrar(ledger_settings, sessions, rings, SystemClock())

    def test_entries_become_receipts(
        self, one: Registrar, rings: Rings, ledger_settings: Settings, sessions: sessionmaker[Session]
    ) -> None:
        before = datetime.now(UTC)
        entries = put(ledger_settings, 3)
        assert one.register_new() == 3
        receipts = rows(sessions)
        assert [receipt.entry for receipt in receipts] == [entry.name for entry in entries]
        assert [receipt.sequence for receipt in receipts] == [1, 2, 3]
        path = Spool(ledger_settings.data_dir, "listener").path(entries[0])
        first = receipts[0]
        assert (first.listener, first.peer, first.state) == ("listener", "SENDER", ReceiptState.PENDING)
        assert (first.size, first.sha256, first.attempts) == (path.stat().st_size, entries[0].sha256, 0)
        assert abs((first.received_at - before).total_seconds()) < 30
        assert (first.due_at - first.received_at).total_seconds() == pytest.approx(ledger_settings.overdue_seconds)
        assert rings.count == 1

    def test_a_second_pass_and_a_second_registrar_change_nothing(
        self, one: Registrar, ledger_settings: Settings, sessions: sessionmaker[Session]
    ) -> None:
        put(ledger_settings, 2)
        assert one.register_new() == 2
        assert one.register_new() == 0
        assert Registrar(ledger_settings, sessions, Rings(), SystemClock()).register_new() == 0
        assert len(rows(sessions)) == 2

    def test_a_restarted_registrar_rings_for_what_may_not_have_been_rung_for(
        self, one: Registrar, ledger_settings: Settings, sessions: sessionmaker[Session]
    ) -> None:
        put(ledger_settings, 1)
        one.register_new()
        rings = Rings()
        Registrar(ledger_settings, sessions, rings, SystemClock()).register_new()
        assert rings.count == 1

    def test_more_than_a_batch(self, ledger_settings: Settings, sessions: sessionmaker[Session]) -> None:
        small = ledger_settings.model_copy(update={"registrar_batch": 4})
        put(ledger_settings, 10)
        assert Registrar(small, sessions, Rings(), SystemClock()).register_new() == 10

    def test_what_an_urgent_peer_sends_is_claimed_first(
        self, ledger_settings: Settings, sessions: sessionmaker[Session]
    ) -> None:
        urgent = ledger_settings.model_copy(update={"urgent_ae_titles": ("ICU", "EMERGENCY")})
        writer = SpoolWriter(Spool(urgent.data_dir, urgent.listener_name))
        # a title that merely resembles one of them, and none at all, are routine
        sent = [put(urgent, 1, writer, sender)[0] for sender in ("WARD", "ICU2", None, "ICU", "EMERGENCY")]
        assert Registrar(urgent, sessions, Rings(), SystemClock()).register_new() == 5
        with sessions.begin() as session:
            claimed = [one.entry for one in claim(session, 5, 60)]
        assert claimed == [sent[3], sent[4], *sent[:3]]

    def test_the_horizon_follows_the_listing(
        self, one: Registrar, ledger_settings: Settings, sessions: sessionmaker[Session]
    ) -> None:
        put(ledger_settings, 1)
        one.register_new()
        with sessions() as session:
            beat = session.scalars(select(Heartbeat)).one()
        assert (beat.kind, beat.listener, beat.stopped_at) == (ProcessKind.REGISTRAR, "listener", None)
        assert beat.horizon is not None
        assert beat.horizon >= rows(sessions)[0].received_at
        one.sign_off()
        with sessions() as session:
            assert session.scalars(select(Heartbeat)).one().stopped_at is not None

    def test_a_clock_that_was_wrong_leaves_no_time_ahead(
        self, one: Registrar, ledger_settings: Settings, sessions: sessionmaker[Session]
    ) -> None:
        spool = Spool(ledger_settings.data_dir, "listener")
        now = time.time()
        for entry, left in zip(put(ledger_settings, 3), (now + 365 * 86_400, 2.0**37, -1e9), strict=True):
            os.utime(spool.path(entry), (left, left))
        assert one.register_new() == 3
        for receipt in rows(sessions):
            assert receipt.received_at <= datetime.now(UTC)
            assert (receipt.due_at - receipt.received_at).total_seconds() == ledger_settings.overdue_seconds

    def test_an_entry_that_cannot_be_described_stops_no_other_and_no_study_settles_without_it(
        self, one: Registrar, ledger_settings: Settings, sessions: sessionmaker[Session]
    ) -> None:
        assert one.register_new() == 0
        with sessions() as session:
            before = session.scalars(select(Heartbeat)).one().horizon
        bad, good = put(ledger_settings, 2)
        path = Spool(ledger_settings.data_dir, "listener").path(bad)
        path.unlink()
        path.symlink_to(path)
        assert one.register_new() == 1
        assert [receipt.entry for receipt in rows(sessions)] == [good.name]
        one.sign_off()
        with sessions() as session:
            beat = session.scalars(select(Heartbeat)).one()
        assert (beat.horizon, beat.stopped_at) == (before, None)
        assert "1 of the files in spool/listener/new" in (beat.problem or "")
        path.unlink()
        put(ledger_settings, 1)
        assert one.register_new() == 1
        one.sign_off()
        with sessions() as session:
            beat = session.scalars(select(Heartbeat)).one()
        assert (beat.problem, beat.stopped_at is None) == (None, False)
        assert (beat.horizon or before) > before

    def test_foreign_files_are_left_and_the_rest_is_registered(self, one: Registrar, ledger_settings: Settings) -> None:
        new = Spool(ledger_settings.data_dir, "listener").new
        foreign = [new / "patient-name.dcm", new / "notes.txt", new / ("0" * 20 + "-1-" + "a" * 64 + ".dcm")]
        for path in foreign:
            path.write_bytes(b"x")
        put(ledger_settings, 1)
        assert one.register_new() == 1
        assert all(path.exists() for path in foreign)

    def test_a_file_without_readable_meta_is_registered_without_peer(
        self, one: Registrar, ledger_settings: Settings, sessions: sessionmaker[Session]
    ) -> None:
        (entry,) = put(ledger_settings, 1)
        Spool(ledger_settings.data_dir, "listener").path(entry).write_bytes(b"")
        assert one.register_new() == 1
        assert (rows(sessions)[0].peer, rows(sessions)[0].size) == (None, 0)


@pytest.fixture
def migrated(sqlite_engine: Engine) -> sessionmaker[Session]:
    return make_sessions(sqlite_engine)


def registered(sessions: sessionmaker[Session], count: int, seconds: float = 20) -> None:
    def there() -> bool:
        try:
            return len(rows(sessions)) >= count
        except OperationalError:
            # a database that has just been started says so
            return False

    wait_until(there, seconds, f"{count} receipts")
    assert len(rows(sessions)) == count


@pytest.mark.requires("redis-server")
def test_nobody_hearing_does_not_fill_the_broker(
    settings: Settings, migrated: sessionmaker[Session], redis_url: str
) -> None:
    with Redis.from_url(redis_url) as client:
        client.rpush(Queue.CLASSIFY.value, *["ring"] * MOST_WAITING)
        with registrar(settings.data_dir, broker_url=redis_url) as process:
            put(settings, 3)
            registered(migrated, 3)
            assert process.terminate() == 0
        assert client.llen(Queue.CLASSIFY.value) == MOST_WAITING


def test_an_outdated_schema_is_waited_for(settings: Settings) -> None:
    engine = make_engine(settings)
    put(settings, 2)
    with registrar(settings.data_dir) as process:
        waiting = process.wait_for("registration_waits")
        assert "lungwatch db upgrade" in waiting["message"]
        upgrade(engine)
        registered(make_sessions(engine), 2)
        # said once, not at every attempt
        assert sum(event["event"] == "registration_waits" for event in process.events) == 1
    engine.dispose()


@pytest.mark.parametrize("step", ["inserted", "committed"])
def test_row_01_killed_at_a_step_nothing_is_lost_or_doubled(
    settings: Settings, migrated: sessionmaker[Session], step: str
) -> None:
    entries = put(settings, 5)
    process = registrar(settings.data_dir, registrar_batch=2).start(LUNGWATCH_FAILPOINT=f"registrar.{step}:2")
    assert process.wait() == -signal.SIGKILL
    assert len(rows(migrated)) == (2 if step == "inserted" else 4)
    with process.start():
        registered(migrated, 5)
        assert sorted(receipt.entry for receipt in rows(migrated)) == [entry.name for entry in entries]
        assert process.terminate() == 0


def test_a_pass_that_fails_for_any_reason_is_tried_again(
    settings: Settings, migrated: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, entries = threading.Event(), put(settings, 1)
    failures = iter([OverflowError("patient^name"), ZeroDivisionError()])
    look = Arrivals.look

    def fail_at_first(arrivals: Arrivals) -> object:
        for failure in failures:
            raise failure
        return look(arrivals)

    monkeypatch.setattr(Arrivals, "look", fail_at_first)
    with ThreadPoolExecutor(1) as pool, capture_logs() as logs:
        running = pool.submit(run, settings, stop)
        try:
            registered(migrated, 1)
        finally:
            stop.set()
        running.result(timeout=20)
    assert rows(migrated)[0].entry == entries[0].name
    said = [line for line in logs if line["event"] == "registration_waits"]
    assert [line["error"] for line in said] == ["OverflowError"]
    assert "patient" not in str(logs)


def test_one_registrar_a_spool(settings: Settings, migrated: sessionmaker[Session]) -> None:
    with registrar(settings.data_dir) as first:
        first.wait_for("ledger_ready")
        second = registrar(settings.data_dir, log_level="DEBUG")
        with second:
            wait_until(lambda: "registrar_waits_for_another" in second.log, 20, "the second waits")
            first.kill()
            put(settings, 1)
            registered(migrated, 1)
    assert (Spool(settings.data_dir, "listener").root / LOCK).exists()


def test_what_arrives_before_sigterm_is_registered(settings: Settings, migrated: sessionmaker[Session]) -> None:
    with registrar(settings.data_dir, registrar_interval=30) as process:
        process.wait_for("ledger_ready")
        put(settings, 3)
        assert process.terminate() == 0
        registered(migrated, 3)
        with migrated() as session:
            assert session.scalars(select(Heartbeat.stopped_at)).one() is not None


@pytest.mark.usefixtures("migrated")
def test_row_01_old_leftovers_are_swept_and_young_ones_kept(settings: Settings) -> None:
    spool = Spool(settings.data_dir, "listener")
    put(settings, 0)
    old, young, foreign = (spool.temporary / name for name in ("a-1.part", "a-2.part", "notes.txt"))
    hours_ago = time.time() - 2 * 3600
    for path in (old, young, foreign):
        path.write_bytes(b"x")
    for path in (old, foreign):
        os.utime(path, (hours_ago, hours_ago))
    with registrar(settings.data_dir):
        wait_until(lambda: not old.exists(), 20, "the old one is swept")
    assert young.exists()
    assert foreign.exists()
