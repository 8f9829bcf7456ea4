"""The watermark: refuse before a byte is written, rather than fill the disk (promise 7)."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# a thousandth of a disk's inodes stays free, at most so many: for the ledger, for moving files, for whoever tidies up
_SHARE_OF_INODES: Final = 1000
_MOST_INODES: Final = 1024
# what an instance may write before the disk is asked again, where there is plenty
_STEP: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class Watermark:
    """How much of a disk stays free.

    There are two marks. Below the upper one instances are refused. Below the
    lower one, half of it, something else than we must be filling the disk, and
    associations are rejected outright.

    Attributes
    ----------
    directory : Path
        Any directory on the disk.
    fraction : float
        Share of the disk, 0 to 1.
    minimum : int
        Bytes; the larger of the two holds.
    """

    directory: Path
    fraction: float
    minimum: int

    def floor(self, total: int) -> int:
        """Return how many bytes of a disk of this size stay free: the upper mark."""
        return max(int(self.fraction * total), self.minimum)

    def admits(self, size: int, *, files: int = 1) -> bool:
        """Say whether so many more bytes in so many more files would leave the watermark free.

        Asks the disk every time (some microseconds), so refusal ends by itself
        when space is there again.

        Raises
        ------
        OSError
            If the disk cannot be asked.
        """
        disk = os.statvfs(self.directory)
        # f_bavail, f_favail: what is left for a process that is not root
        if disk.f_bavail * disk.f_frsize - size < self.floor(disk.f_blocks * disk.f_frsize):
            return False
        return files == 0 or _has_inodes(disk, _inode_floor(disk) + files)

    def rejects_associations(self) -> bool:
        """Say whether the disk is below the lower mark.

        A disk that cannot be asked rejects nobody: the answer to what is sent says
        more than a rejected association, and an echo still finds us alive.
        """
        try:
            disk = os.statvfs(self.directory)
        except OSError:
            return False
        free = disk.f_bavail * disk.f_frsize
        return 2 * free < self.floor(disk.f_blocks * disk.f_frsize) or not _has_inodes(disk, _inode_floor(disk) // 2)


def _inode_floor(disk: os.statvfs_result) -> int:
    return min(disk.f_files // _SHARE_OF_INODES, _MOST_INODES)


def _has_inodes(disk: os.statvfs_result, least: int) -> bool:
    # btrfs and some network mounts make inodes as they need them, and report none at all
    return disk.f_files == 0 or disk.f_favail >= least


class Room:
    """What all receptions of one service in one process may write, so that together they keep to the watermark.

    Safe for threads. Services and processes know nothing of each other's: each
    may exceed the mark by what is in flight in the others.

    The size of an instance is not known before its end, and what is being
    received is on the disk only in part. So each reception claims some
    megabytes ahead, or as little as it needs where there is no room for more,
    and what others have claimed and not yet written is not free.

    Parameters
    ----------
    watermark : Watermark
    """

    def __init__(self, watermark: Watermark) -> None:
        self._watermark = watermark
        self._lock = threading.Lock()
        self._claimed = 0

    def allowance(self) -> Allowance:
        """Return that of a new reception, empty."""
        return Allowance(self)

    def claim(self, size: int, *, files: int) -> int:
        """Set bytes aside.

        Returns
        -------
        int
            How many: at least `size`, or 0 if the watermark forbids it.

        Raises
        ------
        OSError
            If the disk cannot be asked.
        """
        with self._lock:
            for wanted in (max(size, _STEP), size):
                if self._watermark.admits(self._claimed + wanted, files=files):
                    self._claimed += wanted
                    return wanted
        return 0

    def release(self, size: int) -> None:
        """Forget bytes set aside: they were written, which the disk counts itself, or they never will be."""
        with self._lock:
            self._claimed -= size


class Allowance:
    """What one reception may still write. Used by one thread.

    Parameters
    ----------
    room : Room
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        # of what is claimed, what is not spent and what is not on the disk
        self._left = self._unwritten = 0
        self._written = 0

    def spend(self, size: int, *, files: int = 0) -> bool:
        """Say whether so many bytes may be written; if so, they will be.

        Parameters
        ----------
        size : int
            Bytes, more than 0.
        files : int
            How many new files that takes, the first time.

        Raises
        ------
        OSError
            If the disk cannot be asked.
        """
        if size > self._left:
            claimed = self._room.claim(size - self._left, files=files)
            if not claimed:
                # at once: others would be refused for what this one will never write
                self.end()
                return False
            self._left += claimed
            self._unwritten += claimed
        self._left -= size
        return True

    def written(self, size: int) -> None:
        """Note how many bytes have been written in all: the disk counts them itself."""
        if size > self._written:
            more = min(size - self._written, self._unwritten)
            self._room.release(more)
            self._unwritten -= more
            self._written = size

    def end(self) -> None:
        """Give back what was not written; may be called at any time."""
        unwritten, self._left, self._unwritten = self._unwritten, 0, 0
        self._room.release(unwritten)
