"""Promise 1: bytes as received, durable under a name we chose, before anybody is told so.

Temporary file, fsync, rename, fsync of the directory. A crash at any point
leaves either nothing, a temporary file that is swept later, or a whole entry
that was not acknowledged and is merely received twice.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
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


class InstanceFile:
    """One instance on its way to disk: `write` any number of times, then `commit` or `abort`.

    It takes fragments, so a receive path may hand them over as they arrive.
    Used by one thread.

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
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        self.size = 0
        reach("store.created")

    def write(self, fragment: bytes) -> None:
        """Append bytes.

        Raises
        ------
        OSError
            If the disk refuses; then `abort`.
        """
        view = memoryview(fragment)
        while view:
            written = os.write(self._descriptor, view)
            self._digest.update(view[:written])
            self.size += written
            view = view[written:]

    def commit(self) -> Entry:
        """Make the file durable under its own name.

        Returns
        -------
        Entry
            What lies in ``new/`` now; only now may success be answered.

        Raises
        ------
        OSError
            If the disk refuses; then `abort`.
        """
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
            os.close(descriptor)


class SpoolWriter:
    """One run of one listener process: names its entries in a gapless sequence. Safe for threads.

    Parameters
    ----------
    spool : Spool
        Directories are made where they are missing.

    Raises
    ------
    Misconfigured
        If the spool cannot be written.
    """

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self.incarnation = new_incarnation()
        self._serial = itertools.count(1)
        self._sequence = 0
        self._lock = threading.Lock()
        _require_writable(spool)

    def begin(self) -> InstanceFile:
        """Open a temporary file.

        Raises
        ------
        OSError
            If the disk refuses.
        """
        name = f"{self.incarnation}-{next(self._serial)}{TEMPORARY_SUFFIX}"
        return InstanceFile(self, self._spool.temporary / name)

    def publish(self, temporary: Path, sha256: str) -> Entry:
        """Rename a synced temporary file to the next entry and make the name durable.

        The number is taken under a lock and spent only by a rename that
        succeeded, so a gap in ``new/`` and the ledger always means a lost file.
        """
        with self._lock:
            entry = Entry(self.incarnation, self._sequence + 1, sha256)
            temporary.rename(self._spool.path(entry))
            self._sequence += 1
        reach("store.renamed")
        # outside the lock: waiting associations share one journal commit
        sync_directory(self._spool.new)
        reach("store.named")
        return entry


def _require_writable(spool: Spool) -> None:
    try:
        for directory in (spool.temporary, spool.new):
            make_directories(directory)
        probe = spool.temporary / f"probe-{new_incarnation()}{TEMPORARY_SUFFIX}"
        probe.touch(mode=_MODE, exist_ok=False)
        try:
            # the very rename that every instance depends on: same disk, both directories writable
            moved = spool.new / f".{probe.name}"
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
