"""`lungwatch serve` in a scratch folder, as a process of its own with settings of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cli.demo.ending import Ending
from core.errors import LungwatchError

HOST: Final = "127.0.0.1"
STATE: Final = "serve.json"
_ROOT: Final = Path(__file__).resolve().parents[2]
_START_SECONDS: Final = 40.0
_STOP_SECONDS: Final = 45.0
_LOG_TAIL: Final = 12
# what a person may change for a demo too; anything else of theirs might name their own ledger
_INHERITED: Final = frozenset({"LUNGWATCH_RUNTIME", "LUNGWATCH_RUNTIME_THREADS", "LUNGWATCH_LOG_LEVEL"})


class ServeFailed(LungwatchError):
    """`lungwatch serve` did not start, or ended on its own."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running `serve`.

    Attributes
    ----------
    data : Path
        Its data directory.
    log : Path
        What it writes to standard output and error.
    """

    data: Path
    log: Path
    port: int
    ae_title: str
    process: subprocess.Popen[bytes]
    ending: Ending

    def check_alive(self) -> None:
        """Raise `ServeFailed` if it ended, `KeyboardInterrupt` if the demo was."""
        self.ending.check()
        code = self.process.poll()
        if code is not None:
            raise ServeFailed(f"lungwatch serve ended by itself with exit code {code}; {_last_words(self.log)}")

    def stop(self) -> int:
        """Ask it to drain and return its exit code; kill it if it does not leave in time."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            _kill(self.process)
            return self.process.wait()


def environment(data: Path) -> dict[str, str]:
    """Return the environment of everything the demo starts; none of the user's own settings gets in."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("LUNGWATCH_") or name in _INHERITED
    }
    # a checkout that was never installed must be found from the scratch folder too
    kept["PYTHONPATH"] = os.pathsep.join(part for part in (str(_ROOT), kept.get("PYTHONPATH", "")) if part)
    return kept | {
        "LUNGWATCH_DATA_DIR": str(data),
        "LUNGWATCH_BROKER_URL": "memory://",
        "LUNGWATCH_LISTEN_HOST": HOST,
        "LUNGWATCH_LISTEN_PORT": "0",
        "LUNGWATCH_LISTENER_METRICS_PORT": "0",
        "LUNGWATCH_WORKER_METRICS_PORT": "0",
        # promise 7's watermark, of a size that suits a laptop's disk and a demo's few hundred megabytes
        "LUNGWATCH_FREE_SPACE_FRACTION": "0",
        "LUNGWATCH_FREE_SPACE_BYTES": str(64 << 20),
        "LUNGWATCH_SETTLE_SECONDS": "1",
        "LUNGWATCH_SWEEP_SECONDS": "0.5",
        "LUNGWATCH_HEARTBEAT_SECONDS": "1",
        "LUNGWATCH_IDLE_POLL_SECONDS": "0.2",
        # a draw for blind review hides a result from the list that is to show it
        "LUNGWATCH_AUDIT_SHARE": "0",
        "LUNGWATCH_AUDIT_FLAGGED_SHARE": "0",
    }


@contextmanager
def served(scratch: Path, ending: Ending) -> Iterator[Server]:
    """Run `serve` below the scratch folder until the block is left.

    Raises
    ------
    ServeFailed
        If it does not listen in time; with the end of its log.
    """
    data, log = scratch / "data", scratch / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "serve"],
            # not where the user is: a .env there may name a real ledger
            cwd=scratch,
            env=environment(data),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C is for the demo, which then stops it in order
            start_new_session=True,
        )
    try:
        yield _listening(process, data, log, ending)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                _kill(process)
        process.wait()


def _listening(process: subprocess.Popen[bytes], data: Path, log: Path, ending: Ending) -> Server:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        ending.check()
        if process.poll() is not None:
            raise ServeFailed(f"lungwatch serve did not start (exit code {process.returncode}); {_last_words(log)}")
        try:
            listener = json.loads((data / STATE).read_bytes())["listener"]
            return Server(data, log, int(listener["port"]), str(listener["ae_title"]), process, ending)
        except (OSError, ValueError, KeyError):  # not there yet, or not whole
            time.sleep(0.05)
    raise ServeFailed(f"lungwatch serve does not listen after {_START_SECONDS:g} s; {_last_words(log)}")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the whole session: a supervisor that hangs has children."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _last_words(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-_LOG_TAIL:]
    return "its last words:\n  " + "\n  ".join(lines) if lines else "it said nothing"


def reconcile(data: Path) -> tuple[bool, str]:
    """Run `lungwatch reconcile` on a data directory; return whether it is clean, and what it said."""
    finished = subprocess.run(
        [sys.executable, "-m", "cli", "reconcile"],
        cwd=data.parent,
        env=environment(data),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_STOP_SECONDS,
        check=False,
    )
    return finished.returncode == 0, (finished.stdout + finished.stderr).strip()
