"""`serve` on a disk that fills up while its processes die: it stays, refuses, and goes on when there is room."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import psutil

from tests.factories.dicom_objects import phantom, write
from tests.programs import require_mounts
from tests.system.serving import environment, send
from tests.waiting import wait_until


def fill(path: Path) -> None:
    """Write until the disk takes no byte more."""
    with path.open("wb", buffering=0) as stream:
        for size in (1 << 20, 1 << 10, 1):
            while True:
                try:
                    stream.write(bytes(size))
                except OSError:
                    break


def worker_of(serve: psutil.Process) -> psutil.Process | None:
    for child in serve.children():
        # the one that was killed has no command line any more until serve has taken leave of it
        with contextlib.suppress(psutil.NoSuchProcess):
            if "work" in child.cmdline():
                return child
    return None


def test_a_full_disk_and_a_dead_worker_do_not_end_it(tmp_path: Path) -> None:
    require_mounts()
    data = tmp_path / "data"
    data.mkdir()
    first, second = (write(tmp_path, phantom(f"full-{number}"), f"{number}.dcm") for number in range(2))
    mount = f'mount -t tmpfs -o size=64m none "{data}" && exec "$@"'
    with (tmp_path / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", mount, "sh", sys.executable, "-m", "cli", "serve"],
            env=environment(data),
            cwd=tmp_path,
            stdout=log,
            stderr=log,
        )
    try:
        inside = Path(f"/proc/{process.pid}/root{data}")
        wait_until((inside / "serve.json").exists, 60, "serve is ready")
        serve = psutil.Process(process.pid)
        worker = wait_until(lambda: worker_of(serve), 30, "the worker runs")
        port = json.loads((inside / "serve.json").read_text())["listener"]["port"]
        fill(inside / "full")
        worker.kill()
        again = wait_until(
            lambda: (found := worker_of(serve)) and found.pid != worker.pid and found, 30, "another worker is started"
        )
        assert again.is_running()
        assert send(port, [first]) == [0xA700]
        assert process.poll() is None
        os.truncate(inside / "full", 0)
        # as a PACS does, again after an association that breaks
        assert send(port, [first, second]) == [0, 0]
        wait_until(lambda: len(list((inside / "stored").rglob("*.dcm"))) == 2, 60, "both are classified and stored")
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
