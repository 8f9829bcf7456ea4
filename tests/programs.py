"""Programs that tests start for real, and which Debian package has them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

PACKAGES = {
    "redis-server": "redis-server",
    "postgres": "postgresql",
    "storescu": "dcmtk",
    "dcmdump": "dcmtk",
    "Orthanc": "orthanc",
    "rabbitmq-server": "rabbitmq-server",
    "strace": "strace",
    "unshare": "util-linux",
}


def find(program: str) -> str | None:
    """Return the path of a program, or None; Debian keeps PostgreSQL's servers off PATH."""
    found = shutil.which(program)
    if found:
        return str(Path(found).resolve()) if program == "postgres" else found
    candidates = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
    if program == "rabbitmq-server":
        candidates = list(Path("/usr/lib/rabbitmq").glob("bin/rabbitmq-server"))
    return str(candidates[-1]) if candidates else None


def require(program: str) -> str:
    """Return the path of a program; skip naming its package, or fail under LUNGWATCH_TEST_REQUIRE=all."""
    path = find(program)
    if path is not None:
        return path
    message = f"{program} is missing: apt-get install {PACKAGES[program]}"
    if os.environ.get("LUNGWATCH_TEST_REQUIRE") == "all":
        pytest.fail(message)
    pytest.skip(message)
