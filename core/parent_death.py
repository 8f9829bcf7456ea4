"""Ending with whoever started us, even where that was ``kill -9``: the kernel tells us (Linux, ``prctl(2)``)."""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
# loaded here: between fork and exec, where a supervisor calls us, nothing may be
_libc: Final = ctypes.CDLL(None, use_errno=True)


def die_with(parent: int) -> bool:
    """Have this process killed when its parent dies; survives ``exec``, not ``fork``.

    Strictly it is the thread that started us whose death counts.

    Parameters
    ----------
    parent : int
        Process id of the parent, as it was before anything could have happened to it.

    Returns
    -------
    bool
        False if the parent is dead already, or the kernel refuses: then leave.
    """
    return _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0 and os.getppid() == parent
