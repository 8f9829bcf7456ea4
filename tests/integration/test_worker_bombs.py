"""Objects that are small and unfold: refused from their headers, and nobody pays for them (promise 6)."""

from __future__ import annotations

from pathlib import Path

import psutil
from sqlalchemy import Engine

from core.settings import Settings
from db.base import make_sessions
from db.vocabulary import ReceiptState
from tests.factories import dicom_objects as objects
from tests.factories.bombs import BOMBS
from tests.integration.worker_kit import deliver
from tests.integration.worker_process import PATIENT, WorkerProcess, receipts, wait_finished, working
from tests.waiting import wait_until

# far below what any of them asks for; a helper takes some 90 MB of it with its libraries
HELPER_BYTES = 1 << 30
RESIDENT_BYTES = 256 << 20


def peaks(helper: psutil.Process) -> dict[str, int]:
    """The most that a process had resident and mapped, bytes."""
    status = Path(f"/proc/{helper.pid}/status").read_text().splitlines()
    sizes = {line.split()[0].rstrip(":"): int(line.split()[1]) << 10 for line in status if line.startswith("Vm")}
    return {name: sizes[name] for name in ("VmHWM", "VmPeak")}


def helper_of(worker: WorkerProcess) -> psutil.Process:
    (helper,) = wait_until(psutil.Process(worker.process.pid).children, 60, "the helper runs")
    return helper


def test_rows_15_16_17_bombs_cost_neither_the_worker_nor_its_helper(settings: Settings, sqlite_engine: Engine) -> None:
    sessions = make_sessions(sqlite_engine)
    first = deliver(settings, sessions, objects.phantom())
    with working(settings, helper_memory_bytes=HELPER_BYTES, **PATIENT) as worker:
        wait_finished(sqlite_engine)
        helper = helper_of(worker)
        contents = {name: bomb.make() for name, bomb in BOMBS.items()}
        # what arrives is small beside what it asks for
        assert max(map(len, contents.values())) < 16 << 20
        bombs = {deliver(settings, sessions, content): BOMBS[name] for name, content in contents.items()}
        last = deliver(settings, sessions, objects.phantom())
        # the next image has its turn within 30 s
        wait_finished(sqlite_engine, 30)
        assert worker.process.poll() is None
        # nothing was decoded: the helper that read them all has neither died nor grown
        assert helper_of(worker) == helper
        assert peaks(helper)["VmHWM"] < RESIDENT_BYTES
        assert peaks(helper)["VmPeak"] < HELPER_BYTES
        assert worker.stop() == 0
    ended = {receipt.id: receipt for receipt in receipts(sqlite_engine)}
    assert {receipt.attempts for receipt in ended.values()} == {1}
    assert (ended[first].state, ended[last].state) == (ReceiptState.CLASSIFIED, ReceiptState.CLASSIFIED)
    assert {id_: (ended[id_].state, ended[id_].reason) for id_ in bombs} == {
        id_: (bomb.state, bomb.reason) for id_, bomb in bombs.items()
    }
