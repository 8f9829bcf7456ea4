"""Numbers that several processes count and another one reads: one anonymous shared mapping, made before they fork.

Each counting process has a slot of its own, so that it never waits for another.
A slot outlives its process: who takes the place of one that was killed goes on
counting from its numbers.

prometheus_client's own way (``PROMETHEUS_MULTIPROC_DIR``) ends the process with
SIGBUS once the disk of its files is full: docs/decisions/0014-metrics-in-shared-memory.md.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

# family, two numbers whose meaning is the family's, and a name
_KEY: Final = struct.Struct("<BxHH2x16s")
_NAME_LENGTH: Final = 16
# how many series are in use; process id, 0 when nobody counts here; how often somebody came to
_IN_USE, _PID, _STARTS = range(3)
_HEADER_BYTES: Final = 24
_NUMBER_BYTES: Final = 8
# 128 KiB a slot, of which the system provides what is used
CAPACITY: Final = 4096
# what is left above belongs to series of names that all share, so that one more name never hides a total
NAMED: Final = CAPACITY - 1024
UNKNOWN: Final = "unknown"
REST: Final = "other"
_SHARED: Final = frozenset({"", UNKNOWN, REST})


class Series(NamedTuple):
    """One number that is counted.

    Attributes
    ----------
    family : int
        1 to 255.
    first, second : int
        0 to 65535; what they mean is the family's matter.
    name : str
        At most 16 ASCII characters.
    """

    family: int
    first: int = 0
    second: int = 0
    name: str = ""


@dataclass(frozen=True, slots=True)
class Totals:
    """What all slots hold together.

    Attributes
    ----------
    values : defaultdict of Series to float
        0 for what nobody has counted.
    living : int
        Slots with a process in them.
    starts : int
        How often a process took a slot.
    """

    values: defaultdict[Series, float]
    living: int
    starts: int


class NoSlot(RuntimeError):
    """A process counts without having entered a slot; a mistake in the program."""


class _Slot:
    """One process's numbers: header, then keys, then values."""

    def __init__(self, memory: memoryview) -> None:
        keys_end = _HEADER_BYTES + CAPACITY * _KEY.size
        self.header = memory[:_HEADER_BYTES].cast("Q")
        self.keys = memory[_HEADER_BYTES:keys_end]
        self.values = memory[keys_end:].cast("d")

    def series(self) -> Iterator[tuple[int, Series]]:
        for cell in range(self.header[_IN_USE]):
            family, first, second, name = _KEY.unpack_from(self.keys, cell * _KEY.size)
            # 0: another processor has published the count before the key
            if family:
                yield cell, Series(family, first, second, name.rstrip(b"\0").decode("ascii"))

    def append(self, series: Series) -> int | None:
        cell = self.header[_IN_USE]
        if cell >= CAPACITY:
            return None
        name = series.name.encode("ascii", "replace")[:_NAME_LENGTH]
        _KEY.pack_into(self.keys, cell * _KEY.size, series.family, series.first, series.second, name)
        # last: a reader, and whoever comes here after a kill, sees whole series only
        self.header[_IN_USE] = cell + 1
        return cell


_SLOT_BYTES: Final = _HEADER_BYTES + CAPACITY * (_KEY.size + _NUMBER_BYTES)


class Tally:
    """Make it before forking; then each child enters its slot and counts. Safe for threads.

    Parameters
    ----------
    slots : int
        How many processes count at once.
    momentary : collection of int
        Families that end with the process that counted them (what is open now), unlike totals.
    """

    def __init__(self, slots: int, momentary: Collection[int] = ()) -> None:
        memory = memoryview(mmap.mmap(-1, slots * _SLOT_BYTES))
        self._slots = [_Slot(memory[start : start + _SLOT_BYTES]) for start in range(0, len(memory), _SLOT_BYTES)]
        self._momentary = frozenset(momentary)
        self._lock = threading.Lock()
        self._mine: _Slot | None = None
        self._cells: dict[Series, int | None] = {}

    def enter(self, slot: int) -> None:
        """Count in this slot from now on; for a child, before it starts a thread. Its last owner must be dead."""
        self.leave(slot)
        self._lock = threading.Lock()
        self._mine = self._slots[slot]
        self._cells = {series: cell for cell, series in self._mine.series()}
        self._mine.header[_PID] = os.getpid()
        self._mine.header[_STARTS] += 1

    def leave(self, slot: int) -> None:
        """Note that the process of this slot is dead: its totals stay, what it had open is closed."""
        left = self._slots[slot]
        left.header[_PID] = 0
        for cell, series in left.series():
            if series.family in self._momentary:
                left.values[cell] = 0.0

    def add(self, amounts: Sequence[tuple[Series, float]]) -> None:
        """Add to some numbers of this process.

        Raises
        ------
        NoSlot
            If it has entered none.
        """
        if self._mine is None:
            raise NoSlot
        values = self._mine.values
        with self._lock:
            for series, amount in amounts:
                cell = self._cells[series] if series in self._cells else self._cell(series)
                if cell is not None:
                    values[cell] += amount

    def put(self, series: Series, value: float) -> None:
        """Set one number of this process.

        Raises
        ------
        NoSlot
            If it has entered none.
        """
        if self._mine is None:
            raise NoSlot
        with self._lock:
            cell = self._cells[series] if series in self._cells else self._cell(series)
            if cell is not None:
                self._mine.values[cell] = value

    def _cell(self, series: Series) -> int | None:
        assert self._mine is not None  # noqa: S101 - both callers have looked
        if self._mine.header[_IN_USE] >= NAMED and series.name not in _SHARED:
            shared = series._replace(name=REST)
            return self._cells[shared] if shared in self._cells else self._cell(shared)
        cell = self._mine.append(series)
        self._cells[series] = cell
        return cell

    def totals(self) -> Totals:
        """Add up what all processes have counted; any process may ask."""
        values: defaultdict[Series, float] = defaultdict(float)
        for slot in self._slots:
            for cell, series in slot.series():
                values[series] += slot.values[cell]
        living = sum(slot.header[_PID] != 0 for slot in self._slots)
        return Totals(values, living, sum(slot.header[_STARTS] for slot in self._slots))
