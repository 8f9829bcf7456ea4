"""Promise 1: bytes as received, durable under a name we chose, before anybody is told so.

Temporary file, fsync, rename, fsync of the directory. A crash at any point
leaves either nothing, a temporary file that is swept later, or a whole entry
that was not acknowledged and is merely received twice.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import mmap
import os
import threading
from pathlib import Path
from typing import Final

from core.errors import Misconfigured
from core.failpoints import reach
from core.files import make_directories, sync_directory
from core.spool import Entry, Spool, new_incarnation

TEMPORARY_SUFFIX: Final = ".part"
_MODE: Final = 0o640
# gathered before it is hashed and written: whole pages, many at a time, cost the kernel two thirds of what the
# fragments of PDUs do, whose ends lie anywhere
STEP: Final = 1 << 19
_MOST_SPARE: Final = 8
_NOTHING: Final = memoryview(b"")


class InstanceFile:
    """One instance on its way to disk: `write` any number of times, then `commit` or `abort`.

    It takes fragments as they arrive and holds fewer than `STEP` bytes of them. Used by one thread.

    Parameters
    ----------
    writer : SpoolWriter
        Gives the entry its name.
    path : Path
        The temporary file; must not exist.
    """

    def __init__(self, writer: SpoolWriter, path: Path) -> None:
        self._writer = writer
        self._path = path
        self._digest = hashlib.sha256()
        # before the file is there: without memory for it, nobody would have it to abort
        self._gathered = writer.borrow()
        self._held = 0
        # what has been written; all of it after `commit`
        self.size = 0
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        reach("store.created")

    def write(self, fragment: bytes | memoryview) -> None:
        """Append bytes.

        Raises
        ------
        OSError
            If the disk refuses, be it what was appended before; then nothing is left of it.
        """
        position = 0
        while position < len(fragment):
            taken = min(len(fragment) - position, STEP - self._held)
            self._gathered[self._held : self._held + taken] = fragment[position : position + taken]
            self._held += taken
            position += taken
            if self._held == STEP:
                self.flush()
                # Linux answers this advice by starting to write what is dirty, so that the fsync at the end finds
                # little left to wait for; what is not clean yet stays cached for the worker
                with contextlib.suppress(OSError):
                    os.posix_fadvise(self._descriptor, self.size - STEP, STEP, os.POSIX_FADV_DONTNEED)

    def flush(self) -> None:
        """Hash and write what is held.

        Raises
        ------
        OSError
            If the disk refuses; then nothing is left of it.
        """
        gathered = self._gathered[: self._held]
        self._digest.update(gathered)
        self.size += len(gathered)
        self._held = 0
        try:
            while gathered:
                gathered = gathered[os.write(self._descriptor, gathered) :]
        except OSError:
            # what is hashed is not what is written: it must never be committed
            self.abort()
            raise

    def commit(self) -> Entry:
        """Make the file durable under its own name.

        Returns
        -------
        Entry
            What lies in its directory now; only now may success be answered.

        Raises
        ------
        OSError
            If the disk refuses; then `abort`.
        """
        self.flush()
        reach("store.written")
        os.fsync(self._descriptor)
        reach("store.synced")
        self._close()
        return self._writer.publish(self._path, self._digest.hexdigest())

    def abort(self) -> None:
        """Leave nothing behind; may be called at any time, also after a failed `commit`."""
        with contextlib.suppress(OSError):
            self._close()
        # on a disk turned read-only the sweep finds it later
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            # whatever were written after this would be another instance's
            memory, self._gathered = self._gathered, _NOTHING
            self._writer.give_back(memory)
            os.close(descriptor)


class SpoolWriter:
    """One run of one listener process: names its entries in a gapless sequence. Safe for threads, not for a fork.

    Parameters
    ----------
    spool : Spool
        Directories are made where they are missing.
    directory : Path, optional
        Where finished files go, on the same disk; the spool's ``new/`` unless said.

    Raises
    ------
    Misconfigured
        If the spool cannot be written.
    """

    def __init__(self, spool: Spool, directory: Path | None = None) -> None:
        self._temporary = spool.temporary
        self._directory = spool.new if directory is None else directory
        self.incarnation = new_incarnation()
        self._serial = itertools.count(1)
        self._sequence = 0
        self._lock = threading.Lock()
        self._spare: list[memoryview] = []
        require_writable(spool, self._directory)

    def begin(self) -> InstanceFile:
        """Open a temporary file.

        Raises
        ------
        OSError
            If the disk refuses.
        """
        name = f"{self.incarnation}-{next(self._serial)}{TEMPORARY_SUFFIX}"
        return InstanceFile(self, self._temporary / name)

    def borrow(self) -> memoryview:
        """Return memory for `STEP` bytes, whatever they are: new pages would cost more than filling them."""
        try:
            return self._spare.pop()
        except IndexError:
            # a mapping of its own: what a small instance never fills takes no memory
            return memoryview(mmap.mmap(-1, STEP))

    def give_back(self, memory: memoryview) -> None:
        """Take back what was borrowed."""
        if len(self._spare) < _MOST_SPARE:
            self._spare.append(memory)

    def publish(self, temporary: Path, sha256: str) -> Entry:
        """Rename a synced temporary file to the next entry and make the name durable.

        The number is taken under a lock and spent only by a rename that
        succeeded, so a gap in the directory and the ledger always means a lost file.
        """
        with self._lock:
            entry = Entry(self.incarnation, self._sequence + 1, sha256)
            temporary.rename(self._directory / entry.file_name)
            self._sequence += 1
        reach("store.renamed")
        # outside the lock: waiting associations share one journal commit
        sync_directory(self._directory)
        reach("store.named")
        return entry


def require_writable(spool: Spool, directory: Path) -> None:
    """Make a spool's directories and try the rename that every instance depends on.

    Raises
    ------
    Misconfigured
        If it fails.
    """
    try:
        for needed in (spool.temporary, directory):
            make_directories(needed)
        probe = spool.temporary / f"probe-{new_incarnation()}{TEMPORARY_SUFFIX}"
        probe.touch(mode=_MODE, exist_ok=False)
        try:
            # the very rename that every instance depends on: same disk, both directories writable
            moved = directory / f".{probe.name}"
            probe.rename(moved)
            moved.unlink()
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        message = (
            f"the spool {spool.root} cannot be written ({os.strerror(error.errno or 0)}): "
            "mount its disk read-write and give it to the user the listener runs as"
        )
        raise Misconfigured(message) from None
