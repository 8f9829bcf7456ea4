from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from training.alone import alone
from training.errors import FitFailed

HOLDER = """
import sys, time
from pathlib import Path
from training.alone import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_run_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "out.partial"
    with alone(folder):
        (folder / "progress.json").write_text("{}")
        with pytest.raises(FitFailed, match=r"out\.partial: another run of it is at work there; wait"), alone(folder):
            pass
    with alone(folder):
        pass
    assert (folder / "progress.json").exists()


def test_a_run_that_is_killed_keeps_nobody_out(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True, env={**os.environ}
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            with pytest.raises(FitFailed, match="another run"), alone(tmp_path):
                pass
        finally:
            process.send_signal(signal.SIGKILL)
    with alone(tmp_path):
        pass


def test_a_run_that_did_nothing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), alone(tmp_path / "out"):
        raise KeyboardInterrupt
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(FitFailed, match=r"file/out cannot be worked in: Not a directory"),
        alone(tmp_path / "file" / "out"),
    ):
        pass
