from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from rich.console import Console
from sqlalchemy.orm import Session, sessionmaker

from cli.health import Disk
from cli.listener_now import ListenerNow
from cli.status_screen import SCREEN_WIDTH, Screen, show
from cli.workers_now import DecodeNow, decoded, workers_now
from core.settings import Settings
from db.backlog import Waiting
from db.heartbeats import Pulse, beat
from db.report import ChampionRow, CommitmentCounts, NightRow, ProcessRow, StatusReport
from db.vocabulary import NightState, NightStep, Outcome, ProcessKind, ReceiptState, Urgency
from db.worker_figures import Timing, WorkerFigures
from imaging.reasons import Rejection
from tests.factories.rows import ReceiptFactory, ago, rows_in
from tests.unit.cli.conftest import Lungwatch
from tests.unit.cli.test_status import NOW, ROOM, WELL, process

FIGURES = WorkerFigures(
    over_seconds=300.0,
    finished=150,
    decode={"JPEG2000Lossless": Timing(100, 4.0), "RLELossless": Timing(50, 1.0)},
    prepare=Timing(150, 0.45),
    inference=Timing(50, 0.5),
    batched=150,
    commit=Timing(150, 0.75),
    waited=Timing(150, 60.0),
    waited_95=0.8,
    attempts_failed={"CRASHED": 2},
    quarantined={"TRUNCATED": 1},
    helpers_replaced={"TIMED_OUT": 3},
    batches_failed=1,
    leases_lost=4,
)
LISTENER = ListenerNow(datetime(2026, 11, 23, tzinfo=UTC), 2, 12, 1_234_567, 12, 3, 40, 5.0, 800 << 30, 90 << 30, False)


def worker(pid: int, host: str = "node-1", **changes: object) -> ProcessRow:
    row = process(ProcessKind.WORKER, pid=pid, host=host, model="starter 1", figures=FIGURES)
    return replace(row, **changes)


def printed(settings: Settings, report: StatusReport, **changes: object) -> str:
    out = Console(width=SCREEN_WIDTH, highlight=False, emoji=False, markup=False)
    screen = Screen(report, settings, ROOM, None, workers_now(report.processes, settings), [])
    with out.capture() as captured:
        show(out, replace(screen, **changes))
    return captured.get()


def test_workers_of_one_host_are_put_together(settings: Settings) -> None:
    slower = replace(FIGURES, finished=50, decode={"RLELossless": Timing(50, 3.0)}, waited_95=2.5)
    # one of the release before says nothing, one has just started
    rows = [
        worker(1),
        worker(2, figures=slower, model="second 2"),
        worker(3, figures=None),
        worker(4, figures=WorkerFigures()),
        worker(5, host="node-2"),
        worker(6, host="node-2", seen_seconds=600.0),
        worker(7, host="node-3", stopped_at=NOW),
    ]
    first, second = workers_now(rows, settings)
    assert (first.host, first.workers, first.models) == ("node-1", 4, ("second 2", "starter 1"))
    assert first.images_a_minute == 40.0
    assert (first.batch, first.prepare_ms, first.inference_ms, first.commit_ms) == (3.0, 3.0, 10.0, 5.0)
    assert first.waited_95_seconds == 2.5
    assert first.decode == {"JPEG2000Lossless": DecodeNow(100, 40.0), "RLELossless": DecodeNow(100, 40.0)}
    assert first.attempts_failed == {"CRASHED": 4}
    assert (first.batches_failed, first.leases_lost) == (2, 8)
    assert (second.host, second.workers, second.images_a_minute) == ("node-2", 1, 30.0)
    assert decoded([first, second])["RLELossless"] == DecodeNow(150, 33.3)


def test_a_busy_site_fits_the_screen(settings: Settings) -> None:
    hosts = [f"reading-room-worker-{number:02}" for number in range(20)]
    rows = [worker(10 * number + place, host) for number, host in enumerate(hosts) for place in range(4)]
    rows += [worker(900 + number, host, seen_seconds=5000.0) for number, host in enumerate(hosts)]
    rows += [process(ProcessKind.REGISTRAR, host="door", listener="listener", problem="the disk is full " * 8)]
    report = StatusReport(
        at=NOW,
        receipts=dict.fromkeys(ReceiptState, 1_234_567),
        terminal=1,
        pending=2_000_000,
        overdue=1_999_999,
        oldest_pending_seconds=400_000.0,
        studies=dict.fromkeys(Outcome, 1_234_567),
        unsettled=100_000,
        flagged=345_678,
        quarantined=dict.fromkeys(Rejection, 12_345),
        champion=ChampionRow("champion-of-a-long-name", "20261123-021500", NOW, 1),
        processes=tuple(rows),
        commitments=CommitmentCounts(1000, 86_400.0, 1_000_000, 1000),
        rescoring=1_234_567,
        night=NightRow(date(2026, 11, 22), NightState.RUNNING, NightStep.EXAMINE, True, 60, None),
        waiting=dict.fromkeys(Urgency, Waiting(1_000_000, 16, 5, 400_000.0)),
    )
    found = printed(settings, report, disk=Disk(1 << 44, 1 << 43, 1 << 40), listener=LISTENER, wrong=["a disk is full"])
    lines = found.splitlines()
    assert max(map(len, lines)) <= SCREEN_WIDTH
    assert lines[:2] == ["Something is wrong:", "  - a disk is full"]
    assert "and 8 more: lungwatch status --json" in lines
    assert "and 9 more: lungwatch status --json" in lines
    assert len(lines) < 90


def test_where_nothing_runs_it_says_so_and_no_more(settings: Settings) -> None:
    report = replace(WELL, processes=(), champion=None, flagged=0, quarantined={})
    said = printed(settings, report)
    assert "No worker runs." in said
    assert "Waiting       none" in said
    assert "Decoded from" not in said
    assert "Since these" not in said
    assert "Process" not in said
    assert len(said.splitlines()) < 15


def test_a_worker_that_has_nothing_to_do_shows_dashes(settings: Settings) -> None:
    (row,) = [
        line
        for line in printed(settings, replace(WELL, processes=(worker(1, figures=WorkerFigures()),))).splitlines()
        if line.startswith("node-1")
    ]
    assert row.split() == ["node-1", "1", "starter", "1", "0.0", "-", "-", "-", "-", "-"]


@pytest.mark.parametrize(
    "said",
    [
        "node-1",
        "starter 1",
        "30.0",
        "3.0 ms",
        "10.0 ms",
        "5.0 ms",
        "0.8 s",
        "JPEG2000Lossless",
        "40.0 ms",
        "attempts failed: 2 CRASHED",
        "quarantined: 1 TRUNCATED",
        "decode helpers replaced: 3 TIMED_OUT",
        "batches tried again image by image: 1",
        "leases lost to another worker: 4",
    ],
)
def test_the_figures_of_the_workers_are_on_it(settings: Settings, said: str) -> None:
    assert said in printed(settings, replace(WELL, processes=(worker(1),)))


def test_workers_of_other_hosts_show_by_their_heartbeats(
    lungwatch: Lungwatch, sessions: sessionmaker[Session], ledger_settings: Settings
) -> None:
    ledger_settings.data_dir.mkdir(parents=True, exist_ok=True)
    with sessions.begin() as session, rows_in(session):
        beat(session, Pulse("w", ProcessKind.WORKER, "elsewhere", 5, ago(600), figures=FIGURES, problem="no\x1bbundle"))
        ReceiptFactory(urgency=0, received_at=ago(11_000))
        ReceiptFactory(received_at=ago(300))
    found = lungwatch("status")
    # no registrar, and the worker's own problem
    assert found.code == 1
    assert found.out.index("worker 5 on elsewhere: no") < found.out.index("Waiting")
    assert "1 urgent, 1 routine, the oldest for 3 h; 0 in hand, 0 overdue" in found.out
    assert "elsewhere  1    -      30.0" in found.out
    assert "\x1b" not in found.out
    facts = json.loads(lungwatch("status", "--json").out)
    (host,) = facts["workers"]
    assert (host["host"], host["images_a_minute"], host["waited_95_seconds"]) == ("elsewhere", 30.0, 0.8)
    assert host["decode"]["RLELossless"] == {"images": 50, "ms": 20.0}
    assert facts["waiting"]["URGENT"]["receipts"] == 1
    assert facts["processes"][0]["figures"]["finished"] == 150
    assert socket.gethostname() not in {one["host"] for one in facts["workers"]}


def test_what_does_something_else_is_listed_and_a_living_worker_is_not(
    make_settings: Callable[..., Settings],
) -> None:
    rows = (process(ProcessKind.REGISTRAR, listener="listener"), worker(77_001), worker(77_002, seen_seconds=900.0))
    said = printed(make_settings(), replace(WELL, processes=rows))
    assert "REGISTRAR" in said
    assert "77001" not in said
    (silent,) = [line for line in said.splitlines() if "77002" in line]
    assert silent.split()[:6] == ["WORKER", "node-1", "77002", "silent", "15", "min"]
