"""Removing stored files: decided in the ledger, removed from the disk, noted in the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from sqlalchemy.orm import Session, sessionmaker

from core import failpoints
from core.errors import TransientFailure
from core.files import sync_directory
from core.spool import stored_path, stored_root
from db import removal
from db.removal import StoredFile
from db.retention_runs import Removed
from worker.retention.asked import Asked
from worker.retention.policy import Policy

# so many studies are locked while so many files go: on SQLite nobody writes meanwhile
_BATCH: Final = 50


class StoredFiles:
    """The stored files of one data directory under one policy.

    Parameters
    ----------
    data : Path
        The data directory.
    sessions : sessionmaker
        The ledger.
    policy : Policy or None
        None lets nothing go; what an earlier run began is brought to its end all the same.
    """

    def __init__(self, data: Path, sessions: sessionmaker[Session], policy: Policy | None) -> None:
        self._data = data
        self._sessions = sessions
        self._policy = policy
        self._asked = Asked(data)

    def finish_former(self) -> Iterator[Removed]:
        """Bring to its end what a run decided that was cut short: remove, note or take back."""
        last = 0
        while True:
            with self._sessions.begin() as session:
                files = removal.unfinished_files(session, _BATCH, last)
            if not files:
                return
            last = files[-1].receipt_id
            yield self._remove(files)

    def remove(self) -> Iterator[Removed]:
        """Remove what the policy lets go, a batch at a time.

        Raises
        ------
        TransientFailure
            If the disk refuses, or is not there.
        """
        if self._policy is None:
            return
        for files in self.due(self._sessions):
            with self._sessions.begin() as session:
                removal.decide_files(session, files, str(self._policy))
            failpoints.reach("retention.files_decided")
            yield self._remove(files)

    def due(self, sessions: sessionmaker[Session]) -> Iterator[list[StoredFile]]:
        """Yield the files that may go, oldest first; one that is not there is `reconcile`'s to name, and left alone."""
        if self._policy is None:
            return
        mark = None
        while True:
            with sessions() as session:
                before = removal.cutoff(session, self._policy.days)
                files, mark = removal.removable_files(session, before, mark)
                asked = self._asked(session)
            present = (file for file in files if file.sop_instance_uid not in asked and self._path(file).exists())
            while some := list(islice(present, _BATCH)):
                yield some
            if mark is None:
                return

    def _remove(self, files: Sequence[StoredFile]) -> Removed:
        if not stored_root(self._data).is_dir():
            message = "stored/ is not there; run retention where the data directory is mounted"
            raise TransientFailure(message)
        gone: list[StoredFile] = []
        staying: list[int] = []
        refused: OSError | None = None
        with self._sessions.begin() as session:
            before = None if self._policy is None else removal.cutoff(session, self._policy.days)
            ours = removal.lock_files(session, files, before)
            asked = self._asked(session)
            for file in files:
                path = self._path(file)
                if not path.exists():
                    # by a run that ended before it could say so, or is about to
                    gone.append(file)
                elif file.receipt_id not in ours.held:
                    # a worker changes its study, or another run has it: left as it is
                    continue
                elif file.receipt_id not in ours.free or file.sop_instance_uid in asked:
                    staying.append(file.receipt_id)
                else:
                    try:
                        path.unlink(missing_ok=True)
                    except OSError as error:
                        refused = error
                        break
                    gone.append(file)
                    failpoints.reach("retention.file_removed")
            # the ledger must not say so before a power cut could no longer bring them back
            for folder in {self._path(file).parent for file in gone}:
                sync_directory(folder)
            failpoints.reach("retention.files_gone")
            removal.note_removed(session, [file.receipt_id for file in gone])
            removal.withdraw_files(session, staying)
        failpoints.reach("retention.files_noted")
        if refused is not None:
            message = f"stored/ refuses to let a file go (errno {refused.errno}); check its owner and permissions"
            raise TransientFailure(message) from refused
        return Removed(stored_files=len(gone), stored_bytes=sum(file.size for file in gone))

    def _path(self, file: StoredFile) -> Path:
        path = stored_path(self._data, file.entry)
        if not path.parent.is_dir():
            message = f"stored/{path.parent.name} is not there; run retention where the data directory is mounted"
            raise TransientFailure(message)
        return path
