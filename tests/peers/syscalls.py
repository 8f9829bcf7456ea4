"""Reading what ``strace -f -y`` wrote: system calls with where in the trace they began and ended."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_LINE = re.compile(r"(\d+) +(.*)")
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)")


@dataclass(frozen=True)
class Call:
    """One system call of one thread.

    Attributes
    ----------
    thread : int
    name, text : str
        `text` is the call as strace shows it, name and all.
    begun, ended : int
        Lines of the trace; another call happened after this one only if it began after this ended.
    """

    thread: int
    name: str
    text: str
    begun: int
    ended: int

    @property
    def succeeded(self) -> bool:
        return re.search(r"= -\d", self.text) is None


def strace(trace: Path, calls: Sequence[str]) -> list[str]:
    """What to put before a command, so that these calls of it and all it starts are written down."""
    return ["strace", "-f", "-y", "-s", "200", "-e", "trace=" + ",".join(calls), "-e", "signal=none", "-o", str(trace)]


def read(trace: Path) -> list[Call]:
    """Return the calls in the order in which they began."""
    unfinished: dict[int, tuple[int, str]] = {}
    found = []
    for number, line in enumerate(trace.read_text(errors="replace").splitlines()):
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        thread, text, begun = int(match[1]), match[2], number
        if text.endswith("<unfinished ...>"):
            unfinished[thread] = (number, text.removesuffix("<unfinished ...>").rstrip())
            continue
        resumed = _RESUMED.fullmatch(text)
        if resumed is not None and thread in unfinished:
            begun, start = unfinished.pop(thread)
            text = start + resumed[2]
        name = text.partition("(")[0]
        if name.isidentifier():
            found.append(Call(thread, name, text, begun, number))
    return sorted(found, key=lambda call: call.begun)
