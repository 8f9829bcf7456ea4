"""The watermark: refuse before a byte is written, rather than fill the disk (promise 7)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Watermark:
    """How much of a disk stays free.

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
        """Return how many bytes of a disk of this size stay free."""
        return max(int(self.fraction * total), self.minimum)

    def admits(self, size: int) -> bool:
        """Say whether `size` more bytes would leave the watermark free.

        Asks the disk every time (some microseconds), so refusal ends by itself
        when space is there again.

        Raises
        ------
        OSError
            If the disk cannot be asked.
        """
        disk = os.statvfs(self.directory)
        # f_bavail: what is left for a process that is not root
        return disk.f_bavail * disk.f_frsize - size >= self.floor(disk.f_blocks * disk.f_frsize)
