"""Places where a test can kill or stop a process on purpose.

``LUNGWATCH_FAILPOINT=name`` in the environment makes the process SIGKILL
itself the first time it passes `reach("name")`; ``name:3`` the third time.
Unset, `reach` costs one comparison. Only tests set it; `serve` and the
container images never pass it on.
"""

from __future__ import annotations

import itertools
import os
import signal
from typing import Final

ENVIRONMENT_VARIABLE: Final = "LUNGWATCH_FAILPOINT"
_armed, _, _count = os.environ.get(ENVIRONMENT_VARIABLE, "").partition(":")
_passes = itertools.count(1)


def reach(name: str) -> None:
    """Die here, as by ``kill -9``, if this failpoint is armed."""
    if _armed == name and next(_passes) == int(_count or 1):
        os.kill(os.getpid(), signal.SIGKILL)
