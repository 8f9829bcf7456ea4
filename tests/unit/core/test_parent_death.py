from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).resolve().parents[3]
CHILD = "import os, sys, time\nfrom core.parent_death import die_with\n"
# says that it is armed, then neither reads nor writes anything: only the kernel can end it in time
DIES = CHILD + "assert die_with(int(sys.argv[1]))\nprint(os.getpid(), flush=True)\ntime.sleep(600)"
PARENT = (
    "import os, subprocess, sys\nsubprocess.run([sys.executable, '-c', sys.argv[1], str(os.getpid())], check=False)"
)


def test_a_killed_parent_takes_its_child_along() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, DIES], cwd=REPOSITORY, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        _, alive = psutil.wait_procs([child], timeout=20)
        assert alive == []


def test_a_parent_that_died_before_is_noticed() -> None:
    code = CHILD + "sys.exit(0 if die_with(int(sys.argv[1])) else 7)"
    # our parent is not the child's
    done = subprocess.run([sys.executable, "-c", code, str(os.getppid())], cwd=REPOSITORY, check=False)
    assert done.returncode == 7
