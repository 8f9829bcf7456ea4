"""A wall clock that jumps while a process runs; its monotonic clock does not."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

from tests.programs import require

_SOURCE = Path(__file__).with_suffix(".c")


class WallClock:
    """Builds the library that moves the clock; `environment` is for the process that shall have it.

    Parameters
    ----------
    folder : Path
        For the library and the file with the offset.
    """

    def __init__(self, folder: Path) -> None:
        library = folder / "wall_clock.so"
        subprocess.run([require("gcc"), "-shared", "-fPIC", "-O2", "-o", library, _SOURCE], check=True)
        self._offset = folder / "wall_clock.offset"
        self._offset.write_bytes(bytes(8))
        self.environment = {"LD_PRELOAD": str(library), "WALL_CLOCK_OFFSET": str(self._offset)}

    def jump_to(self, seconds: int) -> None:
        """Set the wall clock so far ahead of the real one."""
        with self._offset.open("r+b") as stream:
            # in one write, so that nobody sees half of it
            os.pwrite(stream.fileno(), struct.pack("l", seconds), 0)
