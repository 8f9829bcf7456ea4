"""From rows of requests to reports that a peer hears, on both databases; the reporter runs in the test's thread."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker
from structlog.testing import capture_logs

from core.settings import Settings
from core.spool import Spool
from db import commitments
from db.base import make_readers
from db.claims import LeaseLost
from db.heartbeats import Pulse, beat
from db.vocabulary import CommitmentState, ProcessKind, ReceiptState, Unreported
from tests.factories.commitment import CR, DX, TRANSACTION
from tests.factories.rows import HeartbeatFactory, ImageFactory, ReceiptFactory, ago, rows_in
from tests.integration.commitment_kit import Ear, ask, finish, hold, hurry, name_peer, request_rows
from tests.integration.worker_kit import HandClock
from worker.commitment import sending
from worker.commitment.reporter import Reporter

Sessions = sessionmaker[Session]
HELD, UNKNOWN, LATER, BROKEN = (CR, "1.2.3.1"), (CR, "1.2.3.2"), (CR, "1.2.3.3"), (CR, "1.2.3.4")


@pytest.fixture
def settings(ledger_settings: Settings) -> Settings:
    return ledger_settings


@pytest.fixture
def ear() -> Iterator[Ear]:
    with Ear() as ear:
        yield ear


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def make_reporter(settings: Settings, engine: Engine, sessions: Sessions, clock: HandClock) -> Callable[..., Reporter]:
    def make(**overrides: object) -> Reporter:
        chosen = settings.model_copy(update=overrides)
        stopping = threading.Event()
        return Reporter(chosen, sessions=sessions, readers=make_readers(engine), stopping=stopping, clock=clock)

    return make


@pytest.fixture
def reporter(make_reporter: Callable[..., Reporter], settings: Settings, ear: Ear) -> Reporter:
    name_peer(settings, ear.port)
    return make_reporter()


def spooled(settings: Settings) -> list[str]:
    return [path.name for path in Spool(settings.data_dir, "listener").commitments.iterdir()]


def test_what_is_held_is_committed(reporter: Reporter, settings: Settings, sessions: Sessions, ear: Ear) -> None:
    both = [HELD, (DX, "1.2.3.9")]
    hold(settings, sessions, both[0])
    # classified, and its worker has not moved the file yet
    hold(settings, sessions, both[1], ReceiptState.OUT_OF_SCOPE, stored=False)
    ask(settings, sessions, both)
    assert reporter.step()
    (told,) = ear.told
    assert (told.event, told.transaction_uid, told.committed, told.failed) == (1, TRANSACTION, both, {})
    # we proposed to be SCP on the association that we requested, and not SCU
    assert ear.roles == [(False, True)]
    (row,) = request_rows(sessions)
    assert (row.state, row.committed, row.failed, row.attempts) == (CommitmentState.REPORTED, 2, 0, 1)
    assert row.finished_at is not None
    assert spooled(settings) == []
    assert not reporter.step()


def test_each_reference_fails_for_its_own_reason(
    reporter: Reporter, settings: Settings, sessions: Sessions, ear: Ear
) -> None:
    hold(settings, sessions, HELD)
    hold(settings, sessions, BROKEN, ReceiptState.QUARANTINED)
    gone = (CR, "1.2.3.5")
    hold(settings, sessions, gone).unlink()
    shortened = (CR, "1.2.3.6")
    hold(settings, sessions, shortened).write_bytes(b"")
    other_class = (DX, HELD[1])
    asked = [UNKNOWN, HELD, other_class, BROKEN, gone, shortened]
    ask(settings, sessions, asked)
    reporter.step()
    (told,) = ear.told
    assert (told.event, told.committed) == (2, [HELD])
    assert told.failed == {UNKNOWN: 0x0112, other_class: 0x0119, BROKEN: 0x0110, gone: 0x0112, shortened: 0x0112}
    (row,) = request_rows(sessions)
    assert (row.state, row.committed, row.failed) == (CommitmentState.REPORTED, 1, 5)


def test_what_the_first_release_received_is_committed(
    reporter: Reporter, settings: Settings, sessions: Sessions, ear: Ear
) -> None:
    path = hold(settings, sessions, HELD)
    with sessions.begin() as session, rows_in(session):
        image = ImageFactory(sop_instance_uid=HELD[1], sop_class_uid=HELD[0])
        (receipt,) = session.query(ReceiptFactory._meta.model)
        receipt.sop_class_uid = receipt.sop_instance_uid = None
        receipt.image_id, image.receipt_sha256 = image.id, receipt.sha256
    ask(settings, sessions, [HELD, (DX, HELD[1])])
    reporter.step()
    assert path.exists()
    assert (ear.told[0].committed, ear.told[0].failed) == ([HELD], {(DX, HELD[1]): 0x0119})


def test_what_is_not_read_yet_is_waited_for(
    reporter: Reporter, settings: Settings, sessions: Sessions, ear: Ear
) -> None:
    hold(settings, sessions, LATER, ReceiptState.PENDING)
    ask(settings, sessions, [LATER])
    assert reporter.step()
    assert not reporter.step(), "it waits"
    (row,) = request_rows(sessions)
    assert (row.state, row.attempts, row.reason, ear.told) == (CommitmentState.PENDING, 0, None, [])
    finish(sessions, LATER, ReceiptState.CLASSIFIED)
    hurry(sessions)
    reporter.step()
    assert ear.told[0].committed == [LATER]


def test_waiting_has_an_end(
    make_reporter: Callable[..., Reporter], settings: Settings, sessions: Sessions, ear: Ear
) -> None:
    name_peer(settings, ear.port)
    hold(settings, sessions, LATER, ReceiptState.PENDING)
    ask(settings, sessions, [LATER, UNKNOWN], age=60)
    make_reporter(commitment_seconds=30.0).step()
    assert ear.told[0].failed == {LATER: 0x0110, UNKNOWN: 0x0112}


def test_a_registrar_that_lags_is_waited_for(
    reporter: Reporter, settings: Settings, sessions: Sessions, ear: Ear
) -> None:
    with sessions.begin() as session, rows_in(session):
        HeartbeatFactory(process="lags", horizon=ago(120))
    ask(settings, sessions, [UNKNOWN], age=60)
    reporter.step()
    assert ear.told == []
    with sessions.begin() as session:
        beat(session, Pulse("lags", ProcessKind.REGISTRAR, "host", 1, ago(600), "listener", horizon=ago(0)))
    hurry(sessions)
    reporter.step()
    assert ear.told[0].failed == {UNKNOWN: 0x0112}


def test_what_came_a_moment_ago_is_waited_for(
    reporter: Reporter, settings: Settings, sessions: Sessions, ear: Ear
) -> None:
    ask(settings, sessions, [UNKNOWN], age=0)
    reporter.step()
    assert ear.told == []


def test_a_peer_that_is_away_is_tried_again(
    reporter: Reporter, clock: HandClock, settings: Settings, sessions: Sessions, ear: Ear
) -> None:
    hold(settings, sessions, HELD)
    ask(settings, sessions, [HELD])
    port = ear.port
    ear.stop()
    reporter.step()
    assert not reporter.step(), "it waits"
    (row,) = request_rows(sessions)
    assert (row.state, row.attempts, row.reason) == (CommitmentState.PENDING, 1, Unreported.UNREACHABLE)
    assert row.detail == "nothing listens at the report address"
    assert 5 < (row.next_at - ago(0)).total_seconds() <= 10
    hurry(sessions)
    clock.seconds += 3600
    reporter.step()
    assert 15 < (request_rows(sessions)[0].next_at - ago(0)).total_seconds() <= 20, "pauses grow"
    ear.start(port)
    hurry(sessions)
    clock.seconds += 3600
    reporter.step()
    (row,) = request_rows(sessions)
    assert (row.state, row.attempts, row.reason, row.detail) == (CommitmentState.REPORTED, 3, None, None)
    assert ear.told[0].committed == [HELD]


def test_a_peer_that_is_away_keeps_no_other_waiting(
    reporter: Reporter, settings: Settings, sessions: Sessions, ear: Ear
) -> None:
    hold(settings, sessions, HELD)
    ear.stop()
    for number in range(3):
        ask(settings, sessions, [HELD], transaction_uid=f"1.2.9.{number}")
    with Ear(ae_title="OTHER") as other, settings.peers.open("a") as file:
        file.write(f'[[peer]]\nae_title="OTHER"\naddresses=["127.0.0.1"]\nreport_to="127.0.0.1:{other.port}"\n')
        file.flush()
        ask(settings, sessions, [HELD], peer="OTHER")
        while reporter.step():
            pass
        assert len(other.told) == 1
    assert [row.attempts for row in request_rows(sessions)] == [1, 0, 0, 1]
    ear.start()


@pytest.mark.parametrize("status", [0x0110, 0x0112, 0x0213])
def test_a_report_that_is_not_taken_is_tried_again_and_given_up(
    make_reporter: Callable[..., Reporter], settings: Settings, sessions: Sessions, ear: Ear, status: int
) -> None:
    name_peer(settings, ear.port)
    hold(settings, sessions, HELD)
    ask(settings, sessions, [HELD])
    ear.status = status
    reporter = make_reporter(commitment_attempts=2)
    reporter.step()
    hurry(sessions)
    with capture_logs() as logs:
        reporter.step()
    (row,) = request_rows(sessions)
    assert (row.state, row.reason, row.attempts) == (CommitmentState.GAVE_UP, Unreported.REFUSED, 2)
    assert f"0x{status:04X}" in (row.detail or "")
    assert spooled(settings) == []
    assert logs[-1]["event"] == "commitment_given_up"
    assert HELD[1] not in str(logs)
    assert TRANSACTION not in str(logs)


@pytest.mark.parametrize(("deaths", "told"), [(1, 1), (2, 0)])
def test_a_last_attempt_that_was_cut_short_is_made_once_more(
    make_reporter: Callable[..., Reporter], settings: Settings, sessions: Sessions, ear: Ear, *, deaths: int, told: int
) -> None:
    name_peer(settings, ear.port)
    hold(settings, sessions, HELD)
    ask(settings, sessions, [HELD])
    for _ in range(deaths):
        # a worker died between the charge and the report, and its lease ran out
        with sessions.begin() as session:
            held = commitments.claim(session, 60, ["listener"])
            assert held is not None
            commitments.start_attempt(session, held)
        hurry(sessions)
    make_reporter(commitment_attempts=1).step()
    assert len(ear.told) == told
    (row,) = request_rows(sessions)
    assert row.state is (CommitmentState.REPORTED if told else CommitmentState.GAVE_UP)
    assert row.attempts == 2
    assert spooled(settings) == []


def test_a_peer_without_address_is_not_guessed(
    make_reporter: Callable[..., Reporter], settings: Settings, sessions: Sessions, ear: Ear
) -> None:
    hold(settings, sessions, HELD)
    ask(settings, sessions, [HELD])
    reporter = make_reporter()
    reporter.step()
    (row,) = request_rows(sessions)
    assert (row.state, row.reason, row.attempts) == (CommitmentState.PENDING, Unreported.NO_ADDRESS, 1)
    # the file may come back while we run
    name_peer(settings, ear.port)
    hurry(sessions)
    reporter.step()
    assert ear.told[0].committed == [HELD]


def test_a_peers_file_that_is_wrong_costs_an_attempt(
    make_reporter: Callable[..., Reporter], settings: Settings, sessions: Sessions
) -> None:
    hold(settings, sessions, HELD)
    ask(settings, sessions, [HELD])
    settings.peers.write_text("nonsense =")
    make_reporter().step()
    (row,) = request_rows(sessions)
    assert (row.reason, row.attempts) == (Unreported.NO_ADDRESS, 1)


def test_a_request_whose_file_is_gone_is_given_up(reporter: Reporter, settings: Settings, sessions: Sessions) -> None:
    entry = ask(settings, sessions, [HELD])
    (Spool(settings.data_dir, "listener").commitments / entry.file_name).unlink()
    reporter.step()
    (row,) = request_rows(sessions)
    assert (row.state, row.reason) == (CommitmentState.GAVE_UP, Unreported.MISSING_FILE)


def test_a_damaged_request_is_given_up(reporter: Reporter, settings: Settings, sessions: Sessions) -> None:
    entry = ask(settings, sessions, [HELD])
    (Spool(settings.data_dir, "listener").commitments / entry.file_name).write_bytes(b"nothing")
    reporter.step()
    (row,) = request_rows(sessions)
    assert (row.state, row.reason) == (CommitmentState.GAVE_UP, Unreported.UNREADABLE)
    assert spooled(settings) == []


def test_thousands_of_references_are_answered_in_one_report(
    reporter: Reporter, settings: Settings, sessions: Sessions, ear: Ear
) -> None:
    hold(settings, sessions, HELD)
    asked = [(CR, f"1.2.3.7.{number}") for number in range(5000)]
    ask(settings, sessions, [*asked, HELD])
    started = time.monotonic()
    reporter.step()
    assert time.monotonic() - started < 60
    (told,) = ear.told
    assert told.committed == [HELD]
    assert told.failed == dict.fromkeys(asked, 0x0112)


def test_two_workers_at_once_report_once(
    make_reporter: Callable[..., Reporter], settings: Settings, sessions: Sessions, ear: Ear
) -> None:
    name_peer(settings, ear.port)
    hold(settings, sessions, HELD)
    for number in range(6):
        ask(settings, sessions, [HELD], transaction_uid=f"1.2.9.{number}")

    def work(_: int) -> None:
        reporter = make_reporter()
        while reporter.step():
            pass

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(3)))
    assert sorted(one.transaction_uid for one in ear.told) == [f"1.2.9.{number}" for number in range(6)]


def test_a_holder_past_its_lease_changes_nothing(settings: Settings, sessions: Sessions) -> None:
    ask(settings, sessions, [HELD])
    with sessions.begin() as session:
        frozen = commitments.claim(session, 60, ["listener"])
        assert frozen is not None
        assert commitments.claim(session, 60, ["listener"]) is None
    hurry(sessions)
    with sessions.begin() as session:
        now = commitments.claim(session, 60, ["listener"])
        assert now is not None
    for change in (
        lambda session: commitments.start_attempt(session, frozen),
        lambda session: commitments.postpone(session, frozen, 1),
        lambda session: commitments.reported(session, frozen, committed=1, failed=0),
        lambda session: commitments.give_up(session, frozen, Unreported.REFUSED, "late"),
    ):
        with pytest.raises(LeaseLost), sessions.begin() as session:
            change(session)
    with sessions.begin() as session:
        commitments.reported(session, now, committed=1, failed=0)
    assert request_rows(sessions)[0].state is CommitmentState.REPORTED


def test_times_that_a_wrong_clock_left_hold_nothing_up(settings: Settings, sessions: Sessions) -> None:
    ask(settings, sessions, [HELD])
    with sessions.begin() as session:
        (row,) = session.query(commitments.Commitment)
        row.next_at, row.lease_until, row.lease_token = ago(-86400), ago(-86400), "x"
    with sessions.begin() as session:
        assert commitments.claim(session, 60, ["listener"]) is not None


def test_only_what_lies_in_a_spool_that_is_here_is_claimed(settings: Settings, sessions: Sessions) -> None:
    ask(settings, sessions, [HELD])
    with sessions.begin() as session:
        assert commitments.claim(session, 60, ["another"]) is None


class TestTheNetwork:
    """Peers that do not behave; however they fail, it takes seconds and is another attempt's matter."""

    @pytest.fixture
    def silent(self) -> Iterator[int]:
        """A port that accepts connections and never says a word."""
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            server.listen()
            yield server.getsockname()[1]

    @pytest.fixture
    def dripping(self) -> Iterator[int]:
        """A port that announces a long PDU and sends it a byte at a time."""
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            server.listen()

            def serve() -> None:
                with contextlib.suppress(OSError):
                    connection, _ = server.accept()
                    with connection:
                        connection.sendall(b"\x02\x00\x10\x00\x00\x00")
                        while True:
                            connection.sendall(b"\0")
                            time.sleep(0.05)

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            yield server.getsockname()[1]
        thread.join(10)

    def unreachable(self, port: int, said: str = "does not answer") -> float:
        started = time.monotonic()
        report = sending.Report(TRANSACTION, (sending.Reference(*HELD),), ())
        with pytest.raises(sending.NotReported, match=said) as caught:
            sending.send(report, sending.Destination("PACS", "127.0.0.1", port), "US", answer_seconds=1.0, seconds=3.0)
        assert caught.value.reason is Unreported.UNREACHABLE
        return time.monotonic() - started

    def test_a_silent_one(self, silent: int) -> None:
        assert self.unreachable(silent) < 8

    def test_one_that_drips(self, dripping: int) -> None:
        assert self.unreachable(dripping) < 8

    def test_one_without_storage_commitment(self) -> None:
        ear = Ear()
        ear.classes = ["1.2.840.10008.1.1"]
        with ear:
            assert self.unreachable(ear.port) < 8

    def test_one_that_rejects_us(self) -> None:
        with Ear(require_called="SOMEBODY") as ear:
            assert self.unreachable(ear.port, "rejected our association") < 8

    def test_a_host_that_does_not_exist(self) -> None:
        report = sending.Report(TRANSACTION, (sending.Reference(*HELD),), ())
        with pytest.raises(sending.NotReported):
            sending.send(report, sending.Destination("PACS", "no-such-host.invalid", 104), "US", answer_seconds=1.0)

    # the peer is pydicom too, and it warns
    @pytest.mark.filterwarnings("ignore:Invalid value for VR UI:UserWarning")
    def test_uids_that_devices_write_are_repeated_as_they_are(self, ear: Ear) -> None:
        odd = (CR, "1.2.03.4")
        report = sending.Report("1.2.05.6", (sending.Reference(*odd),), ())
        with warnings.catch_warnings(action="error"):
            sending.event_information(report)
        sending.send(report, sending.Destination("PACS", "127.0.0.1", ear.port), "US")
        assert ear.told[0].committed == [odd]
