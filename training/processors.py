"""How many processors there are to work with."""

from __future__ import annotations

import os
from typing import Final

# decoding and changing images gain little beyond, for all of them wait for Python's lock between the filters
_MOST: Final = 16


def processors() -> int:
    """Return how many threads may work side by side: the processors this process may use, 16 at most."""
    return min(len(os.sched_getaffinity(0)), _MOST)
