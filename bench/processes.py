"""What a process and all its descendants use, read from ``/proc`` (proc(5))."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_KILOBYTE: Final = 1024
# utime, stime, cutime, cstime: fields 14 to 17, counted here from the one after the name
_TIMES: Final = slice(11, 15)


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of a family of processes.

    Attributes
    ----------
    proportional : int
        Sum of the proportional set sizes: a page that several share counts once.
    resident : int
        Sum of the resident set sizes: a shared page counts once a process.
    """

    proportional: int
    resident: int


def family(root: int) -> list[int]:
    """Return a process and its descendants, zombies included; empty if it is gone."""
    found = []
    todo = [root]
    while todo:
        pid = todo.pop()
        try:
            threads = list((_PROC / str(pid) / "task").iterdir())
        except (FileNotFoundError, ProcessLookupError):
            continue
        found.append(pid)
        for thread in threads:
            # a thread may end while it is looked at
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                todo += [int(child) for child in (thread / "children").read_text().split()]
    return found


def cpu_seconds(root: int) -> float:
    """Return the user and system time of a family, of members that ended and were waited for too.

    The kernel counts in ticks, usually of 10 ms, rounded down for each process.
    """
    return sum(_cpu_ticks(pid) for pid in family(root)) / _TICKS


def _cpu_ticks(pid: int) -> int:
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    # the name, in brackets, may hold spaces and brackets
    return sum(int(value) for value in stat.rpartition(")")[2].split()[_TIMES])


def memory(root: int) -> Memory:
    """Return what a family holds now."""
    parts = [_memory(pid) for pid in family(root)]
    return Memory(sum(part.proportional for part in parts), sum(part.resident for part in parts))


def _memory(pid: int) -> Memory:
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return Memory(0, 0)
    sizes = {line.split()[0]: int(line.split()[1]) * _KILOBYTE for line in lines[1:]}
    # a zombie has no memory and an empty file
    return Memory(sizes.get("Pss:", 0), sizes.get("Rss:", 0))
