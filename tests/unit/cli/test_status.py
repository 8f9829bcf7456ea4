from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy.orm import Session, sessionmaker

from cli.health import Disk, alive, problems, problems_here, standing
from cli.status import files_wrong
from core.settings import Settings
from db import commitments, nightly_runs, rescoring
from db.report import ChampionRow, NightRow, ProcessRow, StatusReport
from db.vocabulary import NightState, NightStep, Outcome, ProcessKind, ReceiptState
from tests.factories.rows import (
    HeartbeatFactory,
    ImageFactory,
    ModelVersionFactory,
    ReceiptFactory,
    ago,
    digest,
    entry,
    rows_in,
)
from tests.unit.cli.conftest import Lungwatch

NOW = datetime(2026, 11, 23, tzinfo=UTC)
ROOM = Disk(total=100, free=50, watermark=10)


def process(kind: ProcessKind, **changes: object) -> ProcessRow:
    row = ProcessRow(
        kind=kind,
        host="host",
        pid=7,
        listener=None,
        started_at=NOW,
        seen_at=NOW,
        seen_seconds=1.0,
        stopped_at=None,
        horizon_seconds=0.5 if kind is ProcessKind.REGISTRAR else None,
        model=None,
        problem=None,
    )
    return replace(row, **changes)


WELL = StatusReport(
    at=NOW,
    receipts=dict.fromkeys(ReceiptState, 0),
    terminal=0,
    pending=0,
    overdue=0,
    oldest_pending_seconds=None,
    studies=dict.fromkeys(Outcome, 0),
    unsettled=0,
    flagged=3,
    quarantined={"TRUNCATED": 2},
    champion=ChampionRow("starter", "1", NOW, 1),
    processes=(process(ProcessKind.REGISTRAR), process(ProcessKind.WORKER)),
)


def test_flags_and_quarantine_are_work_and_not_faults(settings: Settings) -> None:
    assert problems(WELL, settings, ROOM) == []
    assert problems(WELL, settings, None) == []


@pytest.mark.parametrize(
    ("changes", "disk", "said"),
    [
        ({"processes": (process(ProcessKind.WORKER),)}, ROOM, "no registrar runs"),
        ({"processes": (process(ProcessKind.REGISTRAR),)}, ROOM, "no worker runs"),
        ({"processes": (*WELL.processes, process(ProcessKind.WORKER, problem="no bundle"))}, ROOM, "no bundle"),
        ({"processes": (process(ProcessKind.REGISTRAR, horizon_seconds=90.0), WELL.processes[1])}, ROOM, "lags 90 s"),
        ({"champion": None}, ROOM, "no model"),
        ({"overdue": 1}, ROOM, "1 acknowledged image is overdue"),
        ({"overdue": 2}, ROOM, "2 acknowledged images are overdue"),
        ({}, Disk(total=100, free=5, watermark=10), "0xA700"),
    ],
)
def test_each_fault_is_named(settings: Settings, changes: dict[str, object], disk: Disk, said: str) -> None:
    (found,) = problems(replace(WELL, **changes), settings, disk)
    assert said in found


@pytest.mark.parametrize(
    ("changes", "expected"), [({}, True), ({"seen_seconds": 60.0}, False), ({"stopped_at": NOW}, False)]
)
def test_who_lives(settings: Settings, changes: dict[str, object], expected: bool) -> None:
    assert alive(process(ProcessKind.WORKER, **changes), settings) is expected


def test_a_host_is_well_when_something_of_it_lives_without_a_problem(settings: Settings) -> None:
    assert problems_here(WELL, settings, "host") == []
    assert "elsewhere" in problems_here(WELL, settings, "elsewhere")[0]
    ill = replace(WELL, processes=(process(ProcessKind.WORKER, problem="no bundle"),))
    assert problems_here(ill, settings, "host") == ["worker: no bundle"]


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, False),
        ({"kind": ProcessKind.BEAT}, True),
        ({"host": "elsewhere"}, True),
        ({"listener": "other"}, True),
        # two workers started together: the one left has not taken the other's place
        ({"started_at": NOW - timedelta(hours=2)}, True),
        ({"stopped_at": NOW}, False),
    ],
)
def test_a_killed_process_is_shown_until_another_takes_its_place(
    settings: Settings, changes: dict[str, object], shown: bool
) -> None:
    then = NOW - timedelta(hours=1)
    killed = process(ProcessKind.WORKER, started_at=then, seen_at=then, seen_seconds=3600.0)
    other = replace(process(ProcessKind.WORKER, pid=8), **changes)
    assert standing([other, killed], settings) == ([other, killed] if shown else [other])


@pytest.mark.parametrize(
    ("dead", "newer", "missing"),
    [
        ({}, {"listener": "other"}, True),
        ({}, {"listener": "renamed", "host": "elsewhere"}, False),
        ({"stopped_at": NOW}, {"listener": "other"}, False),
        # a worker has not looked yet
        ({"seen_seconds": 305.0}, {"listener": "other"}, False),
    ],
)
def test_a_registrar_that_holds_up_settling_is_named(
    settings: Settings, dead: dict[str, object], newer: dict[str, object], missing: bool
) -> None:
    gone = replace(
        process(ProcessKind.REGISTRAR, listener="renamed", seen_seconds=600.0, horizon_seconds=600.0), **dead
    )
    found = problems(
        replace(WELL, processes=(process(ProcessKind.REGISTRAR, **newer), WELL.processes[1], gone)), settings, ROOM
    )
    assert len(found) == missing
    if missing:
        assert "spool/renamed/new" in found[0]
        assert "LUNGWATCH_LISTENER_NAME=renamed" in found[0]


def test_who_lives_or_stopped_in_good_order_is_shown_beside_younger_ones(settings: Settings) -> None:
    both = [process(ProcessKind.WORKER, started_at=NOW + timedelta(seconds=1)), process(ProcessKind.WORKER, pid=8)]
    assert standing(both, settings) == both
    stopped = [both[0], replace(both[1], stopped_at=NOW)]
    assert standing(stopped, settings) == stopped


def test_the_screen_and_its_json(
    lungwatch: Lungwatch, sessions: sessionmaker[Session], ledger_settings: Settings
) -> None:
    ledger_settings.data_dir.mkdir(parents=True, exist_ok=True)
    with sessions.begin() as session, rows_in(session):
        HeartbeatFactory(host=socket.gethostname())
        HeartbeatFactory(kind=ProcessKind.WORKER, listener=None, horizon=None, problem="\x1b[31mno bundle")
        HeartbeatFactory(kind=ProcessKind.WORKER, listener=None, horizon=None, host="gone", seen_at=ago(9999))
        ReceiptFactory(overdue=True)
        ReceiptFactory(quarantined=True)
    said = lungwatch("status", "--json")
    assert said.code == 1
    facts = json.loads(said.out)
    assert not facts["well"]
    assert (facts["terminal"], facts["pending"]) == (1, 1)
    assert facts["overdue"] == 1
    assert facts["quarantined"] == {"TRUNCATED": 1}
    assert facts["disk"]["watermark"] == 0
    plain = lungwatch("status")
    assert plain.code == 1
    assert "Something is wrong" in plain.out
    assert "silent" in plain.out
    assert "\x1b" not in plain.out
    assert lungwatch("status", "--here").code == 0


def test_requests_for_storage_commitment_show_once_there_are_any(
    lungwatch: Lungwatch, sessions: sessionmaker[Session], ledger_settings: Settings
) -> None:
    ledger_settings.data_dir.mkdir(parents=True, exist_ok=True)
    assert "Commitment" not in lungwatch("status").out
    with sessions.begin() as session, rows_in(session):
        commitments.register(session, [commitments.NewCommitment(entry(1), "listener", 9, ago(30), "PACS")])
    assert "1 wait to be reported, the oldest for 3" in lungwatch("status").out
    assert json.loads(lungwatch("status", "--json").out)["commitments"]["waiting"] == 1


def test_images_that_wait_to_be_scored_again_show_while_there_are_any(
    lungwatch: Lungwatch, sessions: sessionmaker[Session], ledger_settings: Settings
) -> None:
    ledger_settings.data_dir.mkdir(parents=True, exist_ok=True)
    assert "Re-scoring" not in lungwatch("status").out
    with sessions.begin() as session, rows_in(session):
        ImageFactory(master_digest=digest("m"), input_digest=digest("i"))
        assert rescoring.queue(session, ModelVersionFactory().id, 7) == 1
    assert "1 wait, behind whatever is newly received" in lungwatch("status").out
    assert json.loads(lungwatch("status", "--json").out)["rescoring"] == 1


@pytest.mark.parametrize(
    ("hour", "state", "begun_seconds", "said"),
    [
        (2, NightState.FAILED, 60, "the night of 2026-11-22 failed: no disk. See lungwatch nightly show"),
        (2, NightState.KEPT, 26 * 3600, "no night has begun for 26 hours"),
        (2, NightState.KEPT, 25 * 3600, None),
        # by hand only: nobody waits for the next
        (None, NightState.FAILED, 26 * 3600, None),
    ],
)
def test_a_night_that_failed_or_is_overdue_is_wrong(
    make_settings: Callable[..., Settings], hour: int | None, state: NightState, begun_seconds: float, said: str | None
) -> None:
    night = NightRow(date(2026, 11, 22), state, NightStep.REPORT, False, begun_seconds, "no disk")
    found = problems(replace(WELL, night=night), make_settings(nightly_hour=hour), ROOM)
    assert [said in one for one in found] == [True] if said else not found


def test_a_first_night_that_does_not_come_is_wrong(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings(nightly_hour=2)
    old = replace(WELL, champion=ChampionRow("starter", "1", NOW - timedelta(hours=30), 1))
    assert not problems(WELL, settings, ROOM)
    assert ["no night has begun for 30 hours" in one for one in problems(old, settings, ROOM)] == [True]


def test_the_newest_night_shows(lungwatch: Lungwatch, sessions: sessionmaker[Session]) -> None:
    assert json.loads(lungwatch("status", "--json").out)["night"] is None
    with sessions.begin() as session:
        assert nightly_runs.claim(session, date(2026, 11, 22), 60)
    assert "2026-11-22: RUNNING, at SNAPSHOT" in lungwatch("status").out
    assert json.loads(lungwatch("status", "--json").out)["night"]["held"] is True


def test_here_without_a_process_is_ill(lungwatch: Lungwatch) -> None:
    said = lungwatch("status", "--here", "--json")
    assert said.code == 1
    assert not json.loads(said.out)["well"]


def test_a_listener_that_is_not_there_does_not_answer(lungwatch: Lungwatch, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("LUNGWATCH_LISTEN_PORT", str(unused.getsockname()[1]))
    monkeypatch.setenv("LUNGWATCH_LISTEN_HOST", "127.0.0.1")
    said = lungwatch("status", "--listener")
    assert said.code == 1
    assert "nothing listens at 127.0.0.1" in said.err


def test_files_that_a_listener_would_not_start_with_are_named(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    assert files_wrong(settings) == []
    settings.data_dir.mkdir()
    settings.peers.write_text("[[peers]]\n")
    tls = {"tls_port": 0, "tls_certificate_file": "none.crt", "tls_key_file": "none.key"}
    peers, certificate = files_wrong(make_settings(**tls))
    assert "did you mean peer?" in peers
    assert "none.crt" in certificate
    assert all(said.endswith("would not start again.") for said in (peers, certificate))
    settings.peers.unlink()
    settings.peers.mkdir()
    assert "no regular file" in files_wrong(settings)[0]
    elsewhere = make_settings(peers_file=settings.data_dir / "elsewhere.toml")
    assert "there is no peers file at" in files_wrong(elsewhere)[0]
