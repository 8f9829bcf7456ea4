"""Storage commitment from a peer's N-ACTION to the report it hears: listener, registrar and worker as processes."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ComputedRadiographyImageStorage
from pynetdicom import AE
from pynetdicom.association import Association
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session, sessionmaker

from core.commitment_request import MOST_REFERENCES
from core.failpoints import ENVIRONMENT_VARIABLE
from core.settings import Settings
from core.spool import Spool
from db.base import database_url, make_sessions
from db.models.receipt import Receipt
from db.vocabulary import CommitmentState, ReceiptState
from tests.factories import dicom_objects as objects
from tests.factories.commitment import TRANSACTION, action_information
from tests.integration.commitment_kit import (
    PUSH_MODEL,
    WELL_KNOWN,
    Ear,
    ask,
    hold,
    hurry,
    name_peer,
    request_rows,
)
from tests.integration.worker_kit import deliver
from tests.integration.worker_process import working
from tests.peers.listener import ListenerProcess, registrar
from tests.waiting import wait_until

UNKNOWN = "1.2.826.0.1.3680043.10.99"
HELD = (ComputedRadiographyImageStorage, "1.2.3.1")


def reference(dataset: Dataset) -> tuple[str, str]:
    return str(dataset.SOPClassUID), str(dataset.SOPInstanceUID)


@contextmanager
def association(port: int, *datasets: Dataset, ae_title: str = "PACS") -> Iterator[Association]:
    entity = AE(ae_title=ae_title)
    entity.add_requested_context(PUSH_MODEL)
    for syntaxes in {(one.SOPClassUID, one.file_meta.TransferSyntaxUID) for one in datasets}:
        entity.add_requested_context(*syntaxes)
    opened = entity.associate("127.0.0.1", port, ae_title="LUNGWATCH")
    assert opened.is_established
    try:
        yield opened
    finally:
        opened.release()


def request_commitment(
    to: Association, references: Sequence[tuple[str, str]], transaction_uid: str = TRANSACTION
) -> int:
    answer, _ = to.send_n_action(action_information(references, transaction_uid), 1, PUSH_MODEL, WELL_KNOWN)
    return int(answer.Status) if "Status" in answer else -1


@dataclass
class Site:
    """A listener with its registrar, and a ledger."""

    settings: Settings
    sessions: sessionmaker[Session]
    listener: ListenerProcess

    def receipts(self) -> list[Receipt]:
        with self.sessions() as session:
            return list(session.scalars(select(Receipt).order_by(Receipt.id)))


@contextmanager
def site(settings: Settings, engine: Engine) -> Iterator[Site]:
    ledger = {"database_url": database_url(settings)}
    with ExitStack() as stack:
        listener = stack.enter_context(ListenerProcess(settings.data_dir))
        stack.enter_context(registrar(settings.data_dir, **ledger))
        yield Site(settings, make_sessions(engine), listener)


@pytest.fixture
def ear() -> Iterator[Ear]:
    with Ear() as ear:
        yield ear


def test_a_request_of_everything_at_once(ledger_settings: Settings, engine: Engine, ear: Ear) -> None:
    name_peer(ledger_settings, ear.port)
    good, report, broken = objects.phantom(), objects.structured_report(), objects.broken_code_stream()
    later = objects.phantom()
    other_class = (str(ComputedRadiographyImageStorage), str(good.SOPInstanceUID))
    unknown = (str(good.SOPClassUID), UNKNOWN)
    with site(ledger_settings, engine) as here:
        with association(here.listener.port, good, report, broken, later) as sending:
            for one in (good, report, broken, later):
                assert sending.send_c_store(one).Status == 0
            asked = [reference(good), unknown, reference(report), other_class, reference(broken), reference(later)]
            assert request_commitment(sending, asked) == 0
            # before any worker runs: it survives until one does
            wait_until(lambda: request_rows(here.sessions), 20, "the request is registered")
            assert ear.told == []
        with working(ledger_settings, peers_file=ledger_settings.peers) as worker:
            (told,) = wait_until(lambda: ear.told, 120, "the report")
            wait_until(
                lambda: request_rows(here.sessions)[0].state is CommitmentState.REPORTED, 20, "the ledger says so"
            )
            assert worker.stop() == 0
    assert (told.event, told.transaction_uid) == (2, TRANSACTION)
    assert told.committed == [reference(good), reference(report), reference(later)]
    assert told.failed == {unknown: 0x0112, other_class: 0x0119, reference(broken): 0x0110}
    (row,) = request_rows(here.sessions)
    assert (row.committed, row.failed, row.peer) == (3, 3, "PACS")
    assert list(Spool(ledger_settings.data_dir, "listener").commitments.iterdir()) == []


def test_only_a_peer_with_a_report_address_may_ask(settings: Settings, sqlite_engine: Engine, ear: Ear) -> None:
    name_peer(settings, ear.port)
    with site(settings, sqlite_engine) as here:
        for ae_title, status in (("PACS", 0x0000), ("STRANGER", 0x0124)):
            with association(here.listener.port, ae_title=ae_title) as asking:
                assert request_commitment(asking, [HELD]) == status
        with association(here.listener.port) as asking:
            answer, _ = asking.send_n_action(action_information([HELD]), 2, PUSH_MODEL, WELL_KNOWN)
            assert (answer.Status, answer.ErrorComment) == (0x0123, "The only action is 1, request storage commitment")
            answer, _ = asking.send_n_action(action_information([HELD]), 1, PUSH_MODEL, "1.2.3")
            assert answer.Status == 0x0112
            assert request_commitment(asking, []) == 0x0115
            assert request_commitment(asking, [HELD] * (MOST_REFERENCES + 1)) == 0x0213
            # and goes on
            assert request_commitment(asking, [HELD]) == 0
        assert len(list(Spool(settings.data_dir, "listener").commitments.iterdir())) == 2


@pytest.mark.parametrize("failpoint", ["store.written", "store.synced", "store.renamed", "store.named"])
def test_a_listener_killed_before_it_answers_has_promised_nothing(
    settings: Settings, sqlite_engine: Engine, ear: Ear, failpoint: str
) -> None:
    name_peer(settings, ear.port)
    listener = ListenerProcess(settings.data_dir, settings={"listener_processes": 1})
    with listener.start(**{ENVIRONMENT_VARIABLE: failpoint}):
        with association(listener.port) as asking:
            assert request_commitment(asking, [HELD]) == -1
        left = sorted(path.name for path in Spool(settings.data_dir, "listener").commitments.glob("*.dcm"))
        # whole or not at all: one that is there is merely answered without having been acknowledged
        assert len(left) == (failpoint in {"store.renamed", "store.named"})
    with site(settings, sqlite_engine) as here:
        with association(here.listener.port) as asking:
            assert request_commitment(asking, [HELD]) == 0
        wait_until(lambda: len(request_rows(here.sessions)) == len(left) + 1, 20, "all that is there is registered")


@dataclass
class Asked:
    """A ledger that holds an instance and a request for it."""

    settings: Settings
    sessions: sessionmaker[Session]


@pytest.fixture
def asked(settings: Settings, sqlite_engine: Engine, ear: Ear) -> Asked:
    sessions = make_sessions(sqlite_engine)
    name_peer(settings, ear.port)
    hold(settings, sessions, HELD)
    ask(settings, sessions, [HELD])
    return Asked(settings, sessions)


# the peer is told again where it knows and the ledger does not: twice rather than not at all
@pytest.mark.parametrize(
    ("failpoint", "reports", "attempts"),
    [
        ("commitment.claimed", 1, 1),
        ("commitment.attempt_charged", 1, 2),
        ("commitment.told", 2, 2),
        ("commitment.ended", 1, 1),
    ],
)
def test_a_worker_that_is_killed_is_made_good_for(
    asked: Asked, ear: Ear, failpoint: str, reports: int, attempts: int
) -> None:
    settings, sessions = asked.settings, asked.sessions
    with working(settings, failpoint=failpoint) as victim:
        assert victim.process.wait(60) == -9
    hurry(sessions)
    commitment_folder = Spool(settings.data_dir, "listener").commitments
    with working(settings) as worker:
        wait_until(lambda: request_rows(sessions)[0].state is CommitmentState.REPORTED, 60, "it is reported")
        wait_until(lambda: not list(commitment_folder.iterdir()), 60, "the request's file is gone")
        assert worker.stop() == 0
    assert [one.committed for one in ear.told] == [[HELD]] * reports
    assert request_rows(sessions)[0].attempts == attempts


def test_a_peer_that_never_answers_does_not_delay_an_image(asked: Asked, ear: Ear) -> None:
    settings, sessions = asked.settings, asked.sessions
    with socket.socket() as silent:
        # its kernel accepts connections, and nobody ever says a word
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        name_peer(settings, silent.getsockname()[1])
        with working(settings) as worker:
            wait_until(lambda: request_rows(sessions)[0].attempts == 1, 60, "it is tried")
            receipt_id = deliver(settings, sessions, objects.phantom())

            def classified() -> bool:
                with sessions() as session:
                    return session.get_one(Receipt, receipt_id).state is ReceiptState.CLASSIFIED

            wait_until(classified, 60, "the image is classified")
            assert request_rows(sessions)[0].lease_token is not None, "it is still being tried"
            assert worker.stop(20) == 0
    assert ear.told == []
