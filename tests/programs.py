"""Programs that tests start for real, and which Debian package has them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NoReturn

import pytest

PACKAGES = {
    "redis-server": "redis-server",
    "postgres": "postgresql",
    "storescu": "dcmtk",
    "echoscu": "dcmtk",
    "dcmsend": "dcmtk",
    "dcmdump": "dcmtk",
    "dcm2pnm": "dcmtk",
    "dcmcjpeg": "dcmtk",
    "dcmdjpeg": "dcmtk",
    "dcmcjpls": "dcmtk",
    "dcmdjpls": "dcmtk",
    "dcmcrle": "dcmtk",
    "dcmdrle": "dcmtk",
    "Orthanc": "orthanc",
    "rabbitmq-server": "rabbitmq-server",
    "strace": "strace",
    "unshare": "util-linux",
    "gcc": "gcc",
    "openssl": "openssl",
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
    if path is None:
        _do_without(f"{program} is missing: apt-get install {PACKAGES[program]}")
    return path


def require_mounts() -> None:
    """Skip where this user may not mount in a namespace of its own, or fail under LUNGWATCH_TEST_REQUIRE=all."""
    mount = [require("unshare"), "-m", "mount", "-t", "tmpfs", "none", tempfile.gettempdir()]
    done = subprocess.run(mount, check=False, capture_output=True, text=True)
    if done.returncode:
        _do_without(f"this system does not let us mount in a namespace of our own: run as root ({done.stderr.strip()})")


def _do_without(message: str) -> NoReturn:
    if os.environ.get("LUNGWATCH_TEST_REQUIRE") == "all":
        pytest.fail(message)
    pytest.skip(message)
