"""The bench of the ledger is seldom run: a small run of it, so that it works when it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench import ledger_report
from tests.peers.listener import REPOSITORY


@pytest.mark.requires("postgres")
def test_a_quick_run_loads_measures_and_reports(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.ledger", "--quick", "--images", "2000", "--out", str(tmp_path)],
        cwd=REPOSITORY,
        check=False,
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert done.returncode == 0, done.stderr
    run = ledger_report.load(tmp_path / "figures" / "ledger.json")
    assert run.counts["image"] == 1960
    assert run.waiting > 20
    assert all(len(query.warm) == 3 and len(query.cold) == 1 for query in run.queries)
    assert len([query for query in run.queries if query.bar_milliseconds]) == 4
    text = (tmp_path / "performance.md").read_text()
    assert "<!-- bench-ledger" in text
    assert "ix_flag_waiting" in text
    ledger_report.save(run, tmp_path / "again.json")
    assert ledger_report.load(tmp_path / "again.json") == run
