"""Starting the night: a process of its own, which outlives the message that asked for it.

The ledger knows whether the night is due: whoever starts one too many finds
the night held or ended, and leaves.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Final

from sqlalchemy.orm import Session, sessionmaker

from core import logging, nights
from core.clock import Clock
from core.settings import Settings
from db.nightly_runs import is_over

log = logging.get(__name__)

COMMAND: Final = (sys.executable, "-m", "cli", "nightly", "--due")


class Nights:
    """Starts a night where one is due, and knows the process it started.

    Parameters
    ----------
    readers : sessionmaker
        To ask the ledger.
    clock : Clock
        Its time is taken as this machine's local time (TZ).
    """

    def __init__(self, settings: Settings, readers: sessionmaker[Session], clock: Clock) -> None:
        self._settings = settings
        self._readers = readers
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def here(self) -> bool:
        """Whether nights are run on this machine: only where the key is that signs what they make."""
        return self._settings.nightly_hour is not None and self._settings.signing_key_file is not None

    @property
    def running(self) -> bool:
        """Whether the night that this worker started is under way."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Ask the night that this worker started to stop in good order; the next start goes on with it.

        A service manager or a container's end would kill it instead, and that start would count.
        """
        if self._process is not None and self.running:
            self._process.terminate()

    def start_if_due(self) -> bool:
        """Start the night's process unless there is nothing to do, or ours is at it; says whether it did."""
        settings = self._settings
        if not self.here or settings.nightly_hour is None:
            return False
        if self.running:
            return False
        night = nights.due(self._clock.now().astimezone(), settings.nightly_hour, settings.nightly_hours)
        if night is None:
            return False
        with self._readers() as session:
            if is_over(session, night):
                return False
        # a session of its own: a worker that is killed does not end the night
        self._process = subprocess.Popen(COMMAND, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603
        log.info("night_started", night=night.isoformat(), pid=self._process.pid)
        return True
