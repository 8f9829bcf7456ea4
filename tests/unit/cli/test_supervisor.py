from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from cli.supervisor import Plan, Supervisor
from core.errors import Misconfigured
from tests.waiting import wait_until

SLEEPER = "import time\nwhile True: time.sleep(0.05)"
POLITE = """
import signal, sys, time, pathlib
def leave(*_):
    with open(sys.argv[1], "a") as log: log.write(sys.argv[2] + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
pathlib.Path(sys.argv[1] + "." + sys.argv[2]).touch()
while True: time.sleep(0.05)
"""
DEAF = """
import signal, sys, time, pathlib
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1]).touch()
while True: time.sleep(0.05)
"""


def python(name: str, code: str, *arguments: str, stop_seconds: float = 10, stage: int = 0) -> Plan:
    return Plan(name, (sys.executable, "-c", code, *arguments), stop_seconds, stage)


def stop_now(*, number: int = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


def test_children_stop_in_the_order_of_their_stages(tmp_path: Path) -> None:
    log = tmp_path / "log"
    plans = [
        python("last", POLITE, str(log), "last", stage=1),
        python("first", POLITE, str(log), "first", stage=0),
    ]
    supervisor = Supervisor(plans, os.environ)

    def attend() -> None:
        if all(Path(f"{log}.{name}").exists() for name in ("first", "last")):
            stop_now()

    assert supervisor.run(attend)
    assert log.read_text().split() == ["first", "last"]
    assert supervisor.processes == {}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_each_way_to_ask_for_the_end_is_heard(number: int, tmp_path: Path) -> None:
    log = tmp_path / "log"
    supervisor = Supervisor([python("one", POLITE, str(log), "one")], os.environ)

    def attend() -> None:
        if Path(f"{log}.one").exists():
            stop_now(number=number)

    assert supervisor.run(attend)
    assert log.read_text() == "one\n"


def test_a_killed_child_is_started_again() -> None:
    seen: list[int] = []
    supervisor = Supervisor([python("victim", SLEEPER)], os.environ)

    def attend() -> None:
        pid = supervisor.processes.get("victim")
        if pid is None or pid in seen:
            return
        seen.append(pid)
        if len(seen) == 1:
            os.kill(pid, signal.SIGKILL)
        else:
            stop_now()

    supervisor.run(attend)
    assert len(seen) == 2


def test_a_child_that_is_misconfigured_at_its_first_start_ends_everything() -> None:
    supervisor = Supervisor([python("wrong", "raise SystemExit(2)"), python("other", SLEEPER)], os.environ)
    with pytest.raises(Misconfigured, match="wrong could not start"):
        supervisor.run()
    assert supervisor.processes == {}


def test_a_child_that_is_misconfigured_later_is_tried_again(tmp_path: Path) -> None:
    # a listener started again at once may find its port not yet free
    marker = tmp_path / "been-here"
    code = """
import pathlib, sys
path = pathlib.Path(sys.argv[1])
before = len(path.read_text()) if path.exists() else 0
path.write_text("x" * (before + 1))
sys.exit({0: 1, 1: 2}.get(before, 5))
"""
    supervisor = Supervisor([python("late", code, str(marker))], os.environ)

    def attend() -> None:
        if marker.exists() and len(marker.read_text()) >= 3:
            stop_now()

    supervisor.run(attend)


def test_a_child_deaf_to_sigterm_is_killed_and_said_so(tmp_path: Path) -> None:
    marker = tmp_path / "deaf"
    supervisor = Supervisor([python("deaf", DEAF, str(marker), stop_seconds=0.3)], os.environ)

    def attend() -> None:
        if marker.exists():
            stop_now()

    assert not supervisor.run(attend)
    assert supervisor.processes == {}


def test_two_signals_at_once_mean_one(tmp_path: Path) -> None:
    log = tmp_path / "log"
    supervisor = Supervisor([python("one", POLITE, str(log), "one")], os.environ)

    def attend() -> None:
        if Path(f"{log}.one").exists():
            stop_now()
            stop_now(number=signal.SIGHUP)
            stop_now(number=signal.SIGINT)

    assert supervisor.run(attend)
    assert log.read_text() == "one\n"


def test_a_second_signal_later_means_now(tmp_path: Path) -> None:
    marker = tmp_path / "deaf"
    supervisor = Supervisor([python("deaf", DEAF, str(marker), stop_seconds=60)], os.environ)
    threads: list[threading.Timer] = []

    def attend() -> None:
        if marker.exists() and not threads:
            threads.append(threading.Timer(1.5, stop_now))
            threads[0].start()
            stop_now()

    before = time.monotonic()
    assert not supervisor.run(attend)
    assert time.monotonic() - before < 30
    threads[0].join()


def test_variables_amended_later_reach_the_next_start(tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = (
        "import os, sys\nwith open(sys.argv[1], 'a') as f: f.write(os.environ.get('COLOUR', 'none') + '\\n')\n"
        "sys.exit(1)"
    )
    supervisor = Supervisor([python("child", code, str(out))], os.environ)

    def attend() -> None:
        supervisor.amend(COLOUR="green")
        if out.exists() and len(out.read_text().split()) >= 2:
            stop_now()

    supervisor.run(attend)
    assert out.read_text().split()[:2] == ["none", "green"]


def test_children_die_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = f"""
import os, pathlib, sys
from cli.supervisor import Plan, Supervisor
supervisor = Supervisor([Plan("child", (sys.executable, "-c", {SLEEPER!r}), 5)], os.environ)
def attend():
    pathlib.Path({str(note)!r}).write_text(str(supervisor.processes["child"]))
supervisor.run(attend)
"""
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        wait_until(lambda: note.exists() and note.read_text(), 20, "the child's pid")
        child = int(note.read_text())
        process.kill()
        process.wait()

    def gone() -> bool:
        return not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE

    wait_until(gone, 10, "the child's end")
