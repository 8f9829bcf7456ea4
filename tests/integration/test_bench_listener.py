"""The bench is seldom run: a small run of it, so that it works when it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench import machine, results
from tests.peers.listener import REPOSITORY


def test_a_quick_run_measures_and_reports(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.listener", "--quick", "--receivers", "floor,pynetdicom-naive,lungwatch"]
    out = tmp_path / "docs"
    # what is on a disk here does not matter: nothing is compared
    done = subprocess.run(
        [*command, "--scratch", str(tmp_path), "--in-memory", "--out", str(out)],
        cwd=REPOSITORY,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    run = results.load(out / "figures" / "listener.json")
    assert len(run.trials) == 6
    assert [trial.errors for trial in run.trials] == [{}] * 6
    assert {len(trial.seconds) for trial in run.trials} == {2, 4}
    assert all(trial.rate > 0 and trial.proportional_peak > 1e6 for trial in run.trials)
    assert [one.receiver for one in run.idle] == ["lungwatch", "pynetdicom-naive"]
    assert all(one.admitted > 1 for one in run.idle)
    assert "![" in (out / "performance.md").read_text()
    assert (out / "figures" / "listener.svg").stat().st_size < 200_000


def test_a_file_system_in_memory_is_refused() -> None:
    memory = Path("/dev/shm")  # noqa: S108 - what is asked for
    assert machine.is_in_memory(memory)
    done = subprocess.run(
        [sys.executable, "-m", "bench.listener", "--quick", "--receivers", "floor", "--scratch", str(memory)],
        cwd=REPOSITORY,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "fsync costs nothing" in done.stderr
