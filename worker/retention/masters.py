"""Removing master images: the masters directory is walked, and the ledger asked which of them are needed.

Walked, because not every master has a row: a delivery that conflicts, or an
attempt that failed, leaves one that nothing names. A master may be kept anew
by a decode helper at any moment, so it first gets another name: a helper that
came before has touched it, which shows then, and one that comes after makes it
again (`imaging.master.save_master`). That name is the run's own: of two runs
that take a master, the one must not remove what the other took later.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final

from sqlalchemy.orm import Session, sessionmaker

from core import failpoints
from core.errors import TransientFailure
from core.files import sync_directory
from db import removal
from db.retention_runs import Removed
from imaging.master import master_path
from worker.retention.policy import Policy

_BATCH: Final = 50
_MASTER: Final = re.compile(r"([0-9a-f]{64})\.png")
_ASIDE: Final = ".removing"


@dataclass(frozen=True, slots=True)
class MasterFile:
    """A master that was not kept anew for as long as the policy says."""

    digest: str
    size: int


class Masters:
    """The masters of one data directory under one policy.

    Parameters
    ----------
    masters : Path
        The masters directory.
    sessions : sessionmaker
        The ledger.
    policy : Policy or None
        None lets nothing go; what an earlier run began is brought to its end all the same.
    """

    def __init__(self, masters: Path, sessions: sessionmaker[Session], policy: Policy | None) -> None:
        self._masters = masters
        self._sessions = sessions
        self._policy = policy
        self._run = secrets.token_hex(4)

    def finish_former(self) -> Iterator[Removed]:
        """Bring to its end what a run decided that was cut short: remove, note or take back."""
        with self._sessions.begin() as session:
            decided = iter(removal.unfinished_masters(session))
        while digests := list(islice(decided, _BATCH)):
            for digest in digests:
                self._restore(digest)
            yield self._remove(digests)

    def remove(self) -> Iterator[Removed]:
        """Remove what the policy lets go, a batch at a time.

        Raises
        ------
        TransientFailure
            If the disk refuses.
        """
        if self._policy is None:
            return
        for files in self.due(self._sessions):
            with self._sessions.begin() as session:
                removal.decide_masters(session, [file.digest for file in files], str(self._policy))
            failpoints.reach("retention.masters_decided")
            yield self._remove([file.digest for file in files])

    def due(self, sessions: sessionmaker[Session]) -> Iterator[list[MasterFile]]:
        """Yield the masters that may go, by folder."""
        if self._policy is None:
            return
        with sessions() as session:
            before = removal.cutoff(session, self._policy.days)
        for folder in self._folders():
            old = self._old(folder, before)
            while files := list(islice(old, _BATCH)):
                with sessions() as session:
                    needed = removal.needed_masters(session, [file.digest for file in files], before)
                if free := [file for file in files if file.digest not in needed]:
                    yield free

    def _folders(self) -> list[Path]:
        if not self._masters.is_dir():
            return []
        return sorted(path for path in self._masters.iterdir() if path.is_dir())

    def _old(self, folder: Path, before: datetime) -> Iterator[MasterFile]:
        with os.scandir(folder) as items:
            for item in items:
                name = _MASTER.fullmatch(item.name)
                try:
                    status = item.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if name and status.st_mtime < before.timestamp():
                    yield MasterFile(name[1], status.st_size)

    def _remove(self, digests: Sequence[str]) -> Removed:
        sizes: dict[str, int] = {}
        with self._sessions.begin() as session:
            before = None if self._policy is None else removal.cutoff(session, self._policy.days)
            ours = removal.lock_masters(session, digests, before)
            try:
                for digest in digests:
                    sizes[digest] = self._size(digest)
                    if before and digest in ours.free:
                        self._let_go(digest, before)
                gone = set(digests) - self._kept(digests)
                for folder in {self._folder(digest) for digest in gone}:
                    sync_directory(folder)
                # one that another run has under its own name is for whoever finishes that run
                staying = {one for one in ours.held - gone if master_path(self._masters, one).exists()}
            except OSError as error:
                message = f"the masters directory refuses to let a file go (errno {error.errno}); check its permissions"
                raise TransientFailure(message) from error
            failpoints.reach("retention.masters_gone")
            removal.note_removed_masters(session, sorted(gone))
            removal.withdraw_masters(session, sorted(staying))
        failpoints.reach("retention.masters_noted")
        return Removed(masters=len(gone), master_bytes=sum(sizes[digest] for digest in gone))

    def _folder(self, digest: str) -> Path:
        folder = master_path(self._masters, digest).parent
        if not folder.is_dir():
            message = f"masters/{folder.name} is not there; run retention where the data directory is mounted"
            raise TransientFailure(message)
        return folder

    def _size(self, digest: str) -> int:
        """Return the bytes of a master; 0 where it is gone."""
        with suppress(FileNotFoundError):
            return master_path(self._masters, digest).stat().st_size
        return 0

    def _kept(self, digests: Sequence[str]) -> set[str]:
        """Return the masters that are there, under their own or a run's name, which begin alike."""
        found: set[str] = set()
        for folder in {self._folder(digest) for digest in digests}:
            with os.scandir(folder) as items:
                found |= {item.name[: len(digests[0])] for item in items}
        return found.intersection(digests)

    def _let_go(self, digest: str, before: datetime) -> None:
        """Remove a master unless somebody kept it anew."""
        path = master_path(self._masters, digest)
        aside = _aside(path, self._run)
        # another run may do the same at the same time: whoever finds nothing leaves it to that one
        with suppress(FileNotFoundError):
            path.rename(aside)
            failpoints.reach("retention.master_aside")
            if aside.stat().st_mtime >= before.timestamp():
                # the same pixels, should it have been made again meanwhile
                aside.rename(path)
            else:
                aside.unlink()
                failpoints.reach("retention.master_removed")

    def _restore(self, digest: str) -> None:
        """Give a master back its name, if a run that was cut short had taken it; one kept anew since then stays."""
        path = master_path(self._masters, digest)
        # of several the one kept last; another run may do the same at the same time
        with suppress(FileNotFoundError):
            taken = self._folder(digest).glob(_aside(path, "*").name)
            for aside in sorted(taken, key=lambda one: one.stat().st_mtime, reverse=True):
                if path.exists():
                    aside.unlink()
                else:
                    aside.rename(path)


def _aside(path: Path, run: str) -> Path:
    return path.with_name(f"{path.name}.{run}{_ASIDE}")
