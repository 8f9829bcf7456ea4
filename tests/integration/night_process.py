"""A night as a process, for tests that kill or stop it: ``python -m tests.integration.night_process DATA NIGHT LEASE``.

Its network is the small one, and its time is that of the night.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path

from core.failpoints import ENVIRONMENT_VARIABLE
from core.settings import Settings
from db.base import make_engine, make_readers, make_sessions

_ROOT = Path(__file__).resolve().parents[2]


def start(
    settings: Settings, night: date, overrides: Mapping[str, object], *, failpoint: str = "", lease_seconds: float = 60
) -> subprocess.Popen[str]:
    """Start the night; it says how it ended on its standard output."""
    given = {f"LUNGWATCH_{name.upper()}": str(value) for name, value in overrides.items()}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.integration.night_process", night.isoformat(), str(lease_seconds)],
        cwd=_ROOT,
        env={
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            "LUNGWATCH_DATA_DIR": str(settings.data_dir.resolve()),
            "LUNGWATCH_SIGNING_KEY_FILE": str(settings.signing_key_file),
            ENVIRONMENT_VARIABLE: failpoint,
            **given,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_at(failpoint: str, settings: Settings, night: date, overrides: Mapping[str, object]) -> None:
    """Run the night until the failpoint kills it."""
    process = start(settings, night, overrides, failpoint=failpoint)
    _, said = process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL, (process.returncode, said[-3000:])


def ending(process: subprocess.Popen[str]) -> list[str] | None:
    """Wait for its end and return state and reason, None where the night was not its to run."""
    out, said = process.communicate(timeout=300)
    assert process.returncode == 0, said[-3000:]
    found: list[str] | None = json.loads(out.splitlines()[-1])
    return found


def main(night: str, lease_seconds: str) -> None:
    # the kit starts this module
    from tests.integration.night_kit import NightSite, prepare  # noqa: PLC0415
    from training.nightly.run import run  # noqa: PLC0415

    settings = Settings()
    prepare(settings)
    engine = make_engine(settings)
    site = NightSite(settings, make_sessions(engine), make_readers(engine))
    ended = run(site.tonight(date.fromisoformat(night)), float(lease_seconds))
    sys.stdout.write(json.dumps(None if ended is None else [ended.state, ended.reason]) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
