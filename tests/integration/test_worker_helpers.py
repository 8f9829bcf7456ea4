"""What holds of a helper process itself: its limits, what it knows, and what its end is called (promise 6)."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from sqlalchemy import Engine

from core.errors import TransientFailure
from core.settings import Settings
from db.base import database_url, make_sessions
from db.vocabulary import ReceiptState
from imaging.instance import ReadingRules
from imaging.phantom_objects import to_bytes
from tests.factories import dicom_objects as objects
from tests.integration import bad_readers
from tests.integration.worker_kit import bench
from tests.integration.worker_process import ROOT
from tests.waiting import wait_until
from worker.decode_protocol import Answer, Ask, Limits, Request
from worker.helpers import Helper, HelperFailed

MEGABYTE = 1 << 20
LIMITS = Limits(seconds=20.0, cpu_seconds=20, memory_bytes=1 << 30, images=100)
# seconds that a helper may be slow for on a busy machine without being taken for one that hangs
BRIEF = Limits(seconds=3.0, cpu_seconds=20, memory_bytes=1 << 30, images=100)


class Kit:
    """Helpers, and an object to ask them about."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.masters = folder / "masters"
        self.masters.mkdir()
        self.helpers: list[Helper] = []

    def helper(self, reader: str, limits: Limits = LIMITS) -> Helper:
        helper = Helper(limits, f"tests.integration.bad_readers:{reader}")
        self.helpers.append(helper)
        return helper

    def ask(self, helper: Helper, *, bad: str | None = None) -> Answer:
        """Ask about a good object, or a bad one of which the mark may say more."""
        dataset = objects.phantom()
        if bad is not None:
            dataset.AccessionNumber = bad_readers.MARK.decode() + bad
        path = self.folder / "object.dcm"
        path.write_bytes(to_bytes(dataset))
        rules = ReadingRules(scope=None, maximum_decoded_bytes=64 * MEGABYTE)
        return helper.ask(Request(Ask.READ, str(path), "0" * 64, str(self.masters), rules))


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    made = Kit(tmp_path)
    yield made
    for helper in made.helpers:
        helper.stop()


@pytest.mark.parametrize(
    ("fault", "limits", "reason", "said"),
    [
        ("_SEGV", LIMITS, "CRASHED", "ended by SIGSEGV"),
        ("_KILL", LIMITS, "CRASHED", "ended by SIGKILL"),
        ("_RAIS", LIMITS, "CRASHED", "RuntimeError at "),
        ("_HANG", BRIEF, "TIMED_OUT", "longer than 3 s"),
        ("_SPIN", Limits(20.0, 1, 1 << 30, 100), "TIMED_OUT", "more than 1 s of processor"),
        ("_BOMB", LIMITS, "OUT_OF_MEMORY", "more memory than a helper may use"),
    ],
)
def test_the_reason_says_what_happened(kit: Kit, fault: str, limits: Limits, reason: str, said: str) -> None:
    helper = kit.helper("each_its_own", limits)
    with pytest.raises(HelperFailed) as failed:
        kit.ask(helper, bad=fault)
    assert failed.value.reason == reason
    assert said in failed.value.detail
    # the header was told before it happened
    assert failed.value.attributes is not None
    assert helper.pid is None


def test_a_signal_without_a_name_is_told_by_its_number(kit: Kit) -> None:
    helper = kit.helper("dies_oddly")
    with pytest.raises(HelperFailed, match=f"ended by signal {signal.SIGRTMIN + 6}"):
        kit.ask(helper, bad="")


def test_one_that_falls_silent_and_lives_on_is_ended(kit: Kit) -> None:
    helper = kit.helper("falls_silent")
    with pytest.raises(HelperFailed) as failed:
        kit.ask(helper)
    assert failed.value.reason == "CRASHED"
    assert "closed its output" in failed.value.detail
    assert helper.pid is None


def test_one_that_cannot_be_ended_is_left_and_not_waited_for(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    helper = kit.helper("each_its_own", BRIEF)
    with monkeypatch.context() as patched:
        # as one that the kernel keeps waiting for a disk
        patched.setattr("worker.helpers._kill", lambda _: None)
        patched.setattr("worker.helpers._KILL_SECONDS", 0.1)
        helper.start()
        pid = helper.pid
        with pytest.raises(TransientFailure, match="look at the disks of this host") as failed:
            kit.ask(helper, bad="_HANG")
        # it says nothing of the image
        assert not isinstance(failed.value, HelperFailed)
        assert helper.pid is None
        # nor is another started beside it
        with pytest.raises(TransientFailure, match="cannot be ended"):
            kit.ask(helper)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, 10, "it ends after all")
    assert kit.ask(helper).reading is not None
    assert not psutil.pid_exists(pid)


def test_the_kernel_takes_a_helper_first_when_memory_runs_out(kit: Kit) -> None:
    helper = kit.helper("each_its_own")
    helper.start()
    assert Path(f"/proc/{helper.pid}/oom_score_adj").read_text() == "1000\n"


def test_the_kernel_holds_a_helper_to_its_limits(kit: Kit) -> None:
    # so many images that a fast machine does not have it replaced before it has worked for a second
    helper = kit.helper("babbles", Limits(20.0, 7, 700 * MEGABYTE, 1_000_000))
    kit.ask(helper)
    process = psutil.Process(helper.pid)
    assert process.rlimit(resource.RLIMIT_AS) == (700 * MEGABYTE, 700 * MEGABYTE)
    soft, _ = process.rlimit(resource.RLIMIT_CPU)
    first = process.cpu_times()
    assert 7 <= soft <= 7 + 1 + first.user + first.system
    # each image has the same again, whatever those before it took
    wait_until(lambda: _worked(kit, helper) > 1.0, 60, "images took a second of processor")
    later, _ = process.rlimit(resource.RLIMIT_CPU)
    assert later > soft
    # nor does it leave a picture of a stranger's data behind
    assert process.rlimit(resource.RLIMIT_CORE) == (0, 0)


def _worked(kit: Kit, helper: Helper) -> float:
    kit.ask(helper)
    times = psutil.Process(helper.pid).cpu_times()
    return times.user + times.system


def test_what_a_library_starts_has_the_limits_too_and_ends_with_the_helper(kit: Kit) -> None:
    helper = kit.helper("starts_a_child_and_hangs", BRIEF)
    with pytest.raises(HelperFailed, match="TIMED_OUT"):
        kit.ask(helper)
    pid, *limits = map(int, (kit.folder / "child").read_text().split())
    assert limits == [BRIEF.memory_bytes, BRIEF.memory_bytes]
    wait_until(lambda: not psutil.pid_exists(pid), 5, "the child is gone")


def test_the_processor_time_of_its_threads_counts(kit: Kit) -> None:
    helper = kit.helper("exhausts_in_a_thread", Limits(20.0, 1, 1 << 30, 100))
    with pytest.raises(HelperFailed, match="more than 1 s of processor"):
        kit.ask(helper)


def test_what_a_library_leaks_is_gone_when_the_helper_is_replaced(kit: Kit) -> None:
    helper = kit.helper("hoards", Limits(20.0, 20, 2 << 30, 3))
    helper.start()
    first = helper.pid
    fresh = psutil.Process(first).memory_info().rss
    for _ in range(2):
        kit.ask(helper)
    assert helper.pid == first
    assert psutil.Process(first).memory_info().rss > fresh + 150 * MEGABYTE
    kit.ask(helper)
    assert helper.pid is None
    assert not psutil.pid_exists(first)
    helper.start()
    assert psutil.Process(helper.pid).memory_info().rss < fresh + 50 * MEGABYTE


def test_a_helper_knows_no_secret_and_has_no_way_to_the_ledger(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNGWATCH_DATABASE_URL", "postgresql+psycopg://lungwatch:opensesame@nowhere/lungwatch")
    monkeypatch.setenv("PGPASSWORD", "opensesame")
    # held by this process as a worker holds its ledger
    with (kit.folder / "lungwatch.db").open("wb"):
        helper = kit.helper("confesses")
        kit.ask(helper)
    confession = json.loads((kit.folder / "confession").read_text())
    assert "opensesame" not in json.dumps(confession["environment"])
    for name in (
        "tensorflow",
        "keras",
        "ai_edge_litert",
        "sqlalchemy",
        "psycopg",
        "sqlite3",
        "celery",
        "kombu",
        "redis",
    ):
        assert name not in confession["modules"], f"a helper has no use for {name}"
    assert "numpy" in confession["modules"]
    open_files = confession["descriptors"]
    assert not [one for one in open_files if one.startswith("socket:") or one.endswith("lungwatch.db")]


def test_the_neighbours_read_at_the_same_time_notice_nothing(
    make_settings: Callable[..., Settings], sqlite_engine: Engine
) -> None:
    settings = make_settings(helper_processes=2, helper_seconds=20.0)
    with bench(
        settings, make_sessions(sqlite_engine), reader="tests.integration.bad_readers:waits_for_the_bad"
    ) as worker:
        worker.lanes.warm()
        before = set(worker.helpers.pids)
        neighbour = worker.deliver(objects.phantom())
        dataset = objects.phantom()
        dataset.AccessionNumber = bad_readers.MARK.decode()
        bad = worker.deliver(dataset)
        later = worker.deliver(objects.phantom())
        worker.run()
        # to be tried again later
        assert (worker.receipt(bad).state, worker.receipt(bad).attempts) == (ReceiptState.PENDING, 1)
        for receipt in (worker.receipt(neighbour), worker.receipt(later)):
            assert (receipt.state, receipt.attempts) == (ReceiptState.CLASSIFIED, 1)
        # the neighbour's helper went on
        assert len(before & set(worker.helpers.pids)) == 1


def test_helpers_run_before_anything_asks_for_tensorflow_and_celery_starts_none(
    settings: Settings, sqlite_engine: Engine
) -> None:
    assert str(sqlite_engine.url) == database_url(settings)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("LUNGWATCH_")},
        "LUNGWATCH_DATA_DIR": str(settings.data_dir.resolve()),
        "LUNGWATCH_RUNTIME": "keras",
        "LUNGWATCH_HELPER_PROCESSES": "2",
    }
    ran = subprocess.run(
        [sys.executable, "-m", "tests.integration.worker_imports"],
        cwd=ROOT,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    said = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith('{"about"')]
    about = {one["about"]: one for one in said}
    assert about["start"]["loaded"] == []
    # two helpers each time, and no child of a Celery pool
    for moment in ("import", "celery"):
        assert ["worker.decode_process" in child for child in about[moment]["children"]] == [True, True]
    assert about["celery"]["pool"] == "celery.concurrency.solo"
