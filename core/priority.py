"""Standing back: long work beside work that somebody waits for."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

_AUTOGROUP: Final = Path("/proc/self/autogroup")


def stand_back(niceness: int) -> None:
    """Let this process, and threads and children that it starts from now on, take what others leave of the processors.

    Where the kernel shares processors among sessions first (`sched_autogroup_enabled`, the default of most
    distributions), nice counts only within one; the session's own weight is lowered as well (``sched(7)``).

    Parameters
    ----------
    niceness : int
        0 to 19.
    """
    os.nice(niceness)
    # only the leader of a session may change a whole session's weight: a terminal's other commands are not ours
    if os.getsid(0) == os.getpid():
        # not there, or not ours to change, in some containers
        with suppress(OSError):
            _AUTOGROUP.write_text(str(niceness))
