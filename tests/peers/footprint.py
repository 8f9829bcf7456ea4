"""What a process and all it has started hold: an attack must leave none of it behind."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Footprint:
    """Of a family of processes together."""

    processes: int
    threads: int
    descriptors: int
    memory: int
    """Bytes of memory, pages they share counted once (PSS)."""

    @classmethod
    def of(cls, pid: int) -> Footprint:
        parent = psutil.Process(pid)
        processes = threads = descriptors = memory = 0
        for process in [parent, *parent.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                processes, threads = processes + 1, threads + process.num_threads()
                descriptors, memory = descriptors + process.num_fds(), memory + process.memory_full_info().pss
        return cls(processes, threads, descriptors, memory)

    def within(self, quiet: Footprint, *, memory: int = 32 * MEGABYTE) -> bool:
        """Say whether nothing is held that was not held when it was quiet.

        Memory has a margin: what the C library keeps for later is bounded, not nil.
        """
        return (
            self.processes <= quiet.processes
            and self.threads <= quiet.threads
            and self.descriptors <= quiet.descriptors
            and self.memory <= quiet.memory + memory
        )


class Peak:
    """The most memory a family has held while watched."""

    def __init__(self) -> None:
        self.memory = 0


@contextlib.contextmanager
def watched(pid: int, every: float = 0.1) -> Iterator[Peak]:
    """Look at a family's memory again and again while the block runs."""
    peak, stop = Peak(), threading.Event()

    def look() -> None:
        while not stop.wait(every):
            with contextlib.suppress(psutil.Error):
                peak.memory = max(peak.memory, Footprint.of(pid).memory)

    thread = threading.Thread(target=look, name="footprint")
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()
        peak.memory = max(peak.memory, Footprint.of(pid).memory)
