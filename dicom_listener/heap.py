"""How this process's C library keeps memory: in one heap, and only what is small.

glibc gives every thread that meets another in ``malloc`` a heap of its own, up
to eight for each core, and keeps in each what it once took. With a thread for
every association a flood would leave the listener several times as large as it
was (mallopt(3), M_ARENA_MAX and M_MMAP_THRESHOLD). One heap costs nothing
here: Python's threads take turns anyway.
"""

from __future__ import annotations

import ctypes
from typing import Final

# malloc.h
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
# glibc's own first value; once set it no longer grows with what is freed
_THRESHOLD_BYTES: Final = 128 * 1024


def keep_one_heap() -> None:
    """Tell the C library; before the first thread starts, and inherited over a fork.

    Where there is no ``mallopt`` (musl) there are no such heaps either.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for parameter, value in (
        (_M_ARENA_MAX, 1),
        (_M_MMAP_THRESHOLD, _THRESHOLD_BYTES),
        (_M_TRIM_THRESHOLD, _THRESHOLD_BYTES),
    ):
        mallopt(parameter, value)
