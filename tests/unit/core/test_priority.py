"""Standing back, in a process of its own: nobody can come forward again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
import os
from pathlib import Path
from core.priority import stand_back
stand_back(7)
print(os.nice(0), Path("/proc/self/autogroup").read_text() if Path("/proc/self/autogroup").exists() else "none")
"""


@pytest.mark.parametrize("leads", [True, False])
def test_the_session_stands_back_only_where_it_is_its_own(leads: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        check=True,
        capture_output=True,
        text=True,
        start_new_session=leads,
        cwd=Path(__file__).resolve().parents[3],
    )
    # a session that the kernel keeps in no group of its own, as in a container's root, shows an empty line
    niceness, _, group = done.stdout.partition(" ")
    assert int(niceness) >= 7
    if "nice" in group:
        assert ("nice 7" in group) == leads
