from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from core.clock import SystemClock
from core.settings import Settings
from core.spool import Entry, Spool
from db import commitments
from db.audit import Audit
from db.base import make_readers
from db.models.commitment import Commitment
from db.reconcile import Misfit
from db.report import status
from db.vocabulary import Unreported
from dicom_listener.registrar.requests import Requests
from dicom_listener.storage.commitment import CommitmentService
from dicom_listener.storage.disk import Watermark
from dicom_listener.storage.instance_file import SpoolWriter
from tests.factories.rows import ago
from tests.integration.commitment_kit import put_request
from tests.waiting import wait_until


class House:
    """The requests of one listener run, and what registrar and worker do to them."""

    def __init__(self, settings: Settings, engine: Engine, sessions: sessionmaker[Session]) -> None:
        self.settings = settings
        self.engine = engine
        self.sessions = sessions
        self.spool = Spool(settings.data_dir.resolve(), "listener")
        self.requests = Requests(self.spool, sessions, lambda: None, SystemClock())
        writer = SpoolWriter(self.spool, self.spool.commitments)
        self.service = CommitmentService(writer, Watermark(self.spool.data, 0.0, 0), "LUNGWATCH")

    def acknowledge(self) -> Entry:
        return put_request(self.settings, [("1.2.3", "1.2.4")], service=self.service)

    def path(self, entry: Entry) -> Path:
        return self.spool.commitments / entry.file_name

    def age(self, entry: Entry) -> None:
        then = ago(3600).timestamp()
        os.utime(self.path(entry), (then, then))

    def answer(self) -> None:
        with self.sessions.begin() as session:
            held = commitments.claim(session, 60, ["listener"])
            assert held is not None
            commitments.reported(session, held, committed=1, failed=0)

    def found(self) -> list[tuple[Misfit, str]]:
        report = Audit(make_readers(self.engine), self.spool.data, pause=lambda _: None).run()
        assert report.clean == (not report.findings)
        return [(one.misfit, one.name) for one in report.findings]


@pytest.fixture
def house(ledger_settings: Settings, engine: Engine, sessions: sessionmaker[Session]) -> House:
    return House(ledger_settings, engine, sessions)


def test_every_stage_is_clean(house: House) -> None:
    assert house.found() == []
    first, second = house.acknowledge(), house.acknowledge()
    assert house.found() == []
    house.requests.register_new()
    assert house.found() == []
    house.answer()
    # its file is not removed yet
    assert house.found() == []
    house.path(first).unlink()
    assert house.found() == []
    assert house.path(second).exists()


def test_what_does_not_fit_is_named(house: House) -> None:
    gone, cut, answered, lost = (house.acknowledge() for _ in range(4))
    house.path(lost).unlink()
    late = house.acknowledge()
    house.age(late)
    house.path(late).rename(house.path(late).with_suffix(".away"))
    house.requests.register_new()
    house.path(late).with_suffix(".away").rename(house.path(late))
    house.path(gone).unlink()
    house.path(cut).write_bytes(b"")
    with house.sessions.begin() as session:
        (row,) = session.query(Commitment).where(Commitment.entry == answered.name)
        row.state, row.finished_at = "REPORTED", ago(3600)
    (house.spool.commitments / "stranger").touch()
    assert sorted(house.found()) == sorted(
        [
            (Misfit.BAD_NAME, "spool/listener/commitment/stranger"),
            (Misfit.GAP, f"{lost.incarnation} {lost.sequence}"),
            (Misfit.MISPLACED, answered.name),
            (Misfit.MISSING, gone.name),
            (Misfit.SIZE, cut.name),
            (Misfit.UNREGISTERED, late.name),
        ]
    )


def test_a_request_in_another_spool_is_misplaced(house: House) -> None:
    entry = house.acknowledge()
    house.requests.register_new()
    elsewhere = Spool(house.spool.data, "other").commitments
    elsewhere.mkdir(parents=True)
    house.path(entry).rename(elsewhere / entry.file_name)
    assert house.found() == [(Misfit.MISPLACED, entry.name)]


def test_status_counts_requests(house: House) -> None:
    with house.sessions() as session:
        assert status(session).commitments.waiting == 0
    for _ in range(3):
        house.acknowledge()
    wait_until(house.requests.register_new, 5, "they are registered")
    house.answer()
    with house.sessions.begin() as session:
        held = commitments.claim(session, 60, ["listener"])
        assert held is not None
        commitments.give_up(session, held, Unreported.UNREACHABLE, "nobody is there")
    with house.sessions() as session:
        found = status(session).commitments
    assert (found.waiting, found.reported, found.given_up) == (1, 1, 1)
    assert found.oldest_waiting_seconds is not None
    with house.sessions.begin() as session:
        for row in session.query(Commitment):
            row.finished_at = row.finished_at and ago(8 * 86400)
    with house.sessions() as session:
        assert status(session).commitments.given_up == 0
