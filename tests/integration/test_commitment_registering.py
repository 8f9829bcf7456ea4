"""From commitment/ to rows of the ledger, on both databases."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session, sessionmaker

from core.clock import SystemClock
from core.failpoints import ENVIRONMENT_VARIABLE
from core.settings import Settings
from core.spool import Entry, Spool
from db import commitments
from db.base import make_sessions
from db.models.commitment import Commitment
from db.models.receipt import Receipt
from db.vocabulary import CommitmentState
from dicom_listener.registrar.registrar import Registrar
from tests.integration.commitment_kit import put_request
from tests.integration.test_registrar import put
from tests.peers.listener import registrar
from tests.waiting import wait_until


def rows(sessions: sessionmaker[Session]) -> list[Commitment]:
    with sessions() as session:
        return list(session.scalars(select(Commitment).order_by(Commitment.id)))


@pytest.fixture
def rings() -> list[int]:
    return []


@pytest.fixture
def one(ledger_settings: Settings, sessions: sessionmaker[Session], rings: list[int]) -> Registrar:
    put(ledger_settings, 0)
    return Registrar(ledger_settings, sessions, lambda: rings.append(1), SystemClock())


def test_requests_become_rows_and_ring(
    one: Registrar, rings: list[int], ledger_settings: Settings, sessions: sessionmaker[Session]
) -> None:
    assert one.register_new() == 0
    before = datetime.now(UTC)
    entry = put_request(ledger_settings, [("1.2.3", "1.2.4")])
    one.register_new()
    (row,) = rows(sessions)
    assert (row.entry, row.listener, row.peer) == (entry.name, "listener", "PACS")
    assert (row.state, row.attempts) == (CommitmentState.PENDING, 0)
    assert (row.received_at - before).total_seconds() < 20
    assert row.size == (Spool(ledger_settings.data_dir, "listener").commitments / entry.file_name).stat().st_size
    assert rings


def test_registering_again_changes_nothing(
    one: Registrar, ledger_settings: Settings, sessions: sessionmaker[Session]
) -> None:
    entry = put_request(ledger_settings, [("1.2.3", "1.2.4")])
    one.register_new()
    with sessions.begin() as session:
        held = commitments.claim(session, 60, ["listener"])
        assert held is not None
        commitments.reported(session, held, committed=1, failed=0)
    # one that has been answered, and whose file a crash left behind
    again = Registrar(ledger_settings, sessions, lambda: None, SystemClock())
    again.register_new()
    (row,) = rows(sessions)
    assert (row.entry, row.state) == (entry.name, CommitmentState.REPORTED)


def test_a_time_ahead_of_us_is_taken_for_now(
    one: Registrar, ledger_settings: Settings, sessions: sessionmaker[Session]
) -> None:
    entry = put_request(ledger_settings, [("1.2.3", "1.2.4")])
    os.utime(Spool(ledger_settings.data_dir, "listener").commitments / entry.file_name, (4e9, 4e9))
    one.register_new()
    assert rows(sessions)[0].received_at <= datetime.now(UTC)


def test_receipts_are_registered_whatever_lies_among_the_requests(
    one: Registrar, ledger_settings: Settings, sessions: sessionmaker[Session]
) -> None:
    put_request(ledger_settings, [("1.2.3", "1.2.4")])
    folder = Spool(ledger_settings.data_dir, "listener").commitments
    (folder / "stranger.dcm").touch()
    (folder / Entry("0" * 20, 1, "a" * 64).file_name).mkdir()
    (entry,) = put(ledger_settings)
    assert one.register_new() == 1
    with sessions() as session:
        receipt = session.scalars(select(Receipt)).one()
        assert receipt.entry == entry.name
        assert receipt.sop_instance_uid is not None
    assert len(rows(sessions)) == 2


@pytest.mark.parametrize("failpoint", ["registrar.requests_inserted", "registrar.requests_committed"])
def test_a_registrar_that_is_killed_registers_it_once(
    settings: Settings, sqlite_engine: Engine, failpoint: str
) -> None:
    entry = put_request(settings, [("1.2.3", "1.2.4")])
    with registrar(settings.data_dir).start(**{ENVIRONMENT_VARIABLE: failpoint}) as victim:
        assert victim.wait() == -9
    with registrar(settings.data_dir).start():
        (row,) = wait_until(lambda: rows(make_sessions(sqlite_engine)), 20, "the request is registered")
    assert row.entry == entry.name
