"""The bench is seldom run: a small run of it, so that it works when it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench import worker_decoding_report
from bench.decoding import Decoding
from bench.worker_decoding import Child, write_files
from bench.worker_decoding_report import Decodings, Trial
from tests.peers.listener import REPOSITORY


def test_without_pydicoms_decoders_it_says_how_to_get_them(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.worker", "--quick", "--plugins", str(tmp_path)],
        cwd=REPOSITORY,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "make bench-worker" in done.stderr


def test_a_child_decodes_our_ways_and_pydicoms(tmp_path: Path) -> None:
    files = {file.syntax.keyword: file.path for file in write_files(tmp_path, (100, 120))}
    for way in ("lungwatch", "lungwatch-kept", "pydicom"):
        child = Child(way, None)
        found = child.decode(files["RLELossless"])
        child.close()
        assert found.milliseconds > 0


def test_bars_go_by_the_ratio_of_medians() -> None:
    def trial(way: str, repetition: int, cpu: float) -> Trial:
        return Trial(way, "RLELossless", repetition, Decoding(2 * cpu, cpu, int(cpu) * 1_000_000))

    trials = [trial(way, n, cpu) for n in range(3) for way, cpu in (("lungwatch", 10 + n), ("pydicom", 99 + n))]
    run = Decodings("today", {}, [1, 1], [*trials, *(trial("lungwatch-kept", n, 20) for n in range(3))])
    (bar,) = worker_decoding_report.bars(run)
    assert (bar.measured, bar.met) == ("9.1 (8.4 to 9.9)", False)
    section = worker_decoding_report.markdown(run)
    assert "| RLELossless | 11 (10 to 12) | 22 | 12 | 20 | 100 (99 to 101) | 200 | 101 | 9.1 | 1/9.1 |" in section
