"""What has come into the spool since we last looked; nothing here needs the database."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from core.clock import Clock
from core.logging import get, safe_error
from core.spool import SUFFIX, BadEntryName, Entry, Spool
from dicom_listener.storage.instance_file import TEMPORARY_SUFFIX

# a directory whose time has not changed is listed again after this long all the same: file systems round times
_RELIST_SECONDS: Final = 1.0
# nobody writes to a temporary file for an hour, where a message has the minutes that it has by default
LEFTOVER_AGE: Final = timedelta(hours=1)

_log = get(__name__)


@dataclass(frozen=True, slots=True)
class Listing:
    """One look into a directory of the spool.

    Attributes
    ----------
    arrived : list of Entry
        Those not known to be registered, in the order they were received.
    horizon : datetime
        Everything that was acknowledged before this is in the listing.
    """

    arrived: list[Entry]
    horizon: datetime


class Arrivals:
    """Remembers which entries of one spool are registered, for as long as they lie there.

    Parameters
    ----------
    spool : Spool
    clock : Clock
    directory : Path, optional
        Which directory of the spool; its ``new/`` unless said.
    """

    def __init__(self, spool: Spool, clock: Clock, directory: Path | None = None) -> None:
        self._spool = spool
        self._directory = spool.new if directory is None else directory
        self._clock = clock
        self._registered: set[str] = set()
        self._bad: set[str] = set()
        self._directory_time = 0
        self._listed = float("-inf")
        self._all_registered = False

    def look(self) -> Listing | None:
        """List the directory.

        Returns
        -------
        Listing or None
            None where nothing can have changed since everything was registered.

        Raises
        ------
        OSError
            If the directory cannot be read.
        """
        horizon = self._clock.now()
        directory_time = self._directory.stat().st_mtime_ns
        fresh = self._clock.monotonic() - self._listed < _RELIST_SECONDS
        if self._all_registered and fresh and directory_time == self._directory_time:
            return None
        with os.scandir(self._directory) as found:
            names = {file.name for file in found if not file.name.startswith(".")}
        self._directory_time, self._listed = directory_time, self._clock.monotonic()
        # what a worker has moved away need not be remembered
        self._registered &= names
        self._bad &= names
        arrived = [entry for name in names - self._registered - self._bad if (entry := self._parse(name)) is not None]
        self._all_registered = not arrived
        return Listing(sorted(arrived, key=self._when), horizon)

    def _when(self, entry: Entry) -> tuple[int, Entry]:
        """Sort by arrival: names alone count within one association process, and a listener has several."""
        try:
            return (self._directory / entry.file_name).stat().st_mtime_ns, entry
        except OSError:
            # a worker has it already, or it cannot be read: whoever describes it will find that out, and for it alone
            return 0, entry

    def registered(self, entries: Iterable[Entry]) -> None:
        """Note that these have receipts, committed."""
        self._registered.update(entry.file_name for entry in entries)

    def _parse(self, name: str) -> Entry | None:
        try:
            if not name.endswith(SUFFIX):
                raise BadEntryName  # noqa: TRY301 - the same to us as a name that cannot be read
            return Entry.parse(name)
        except BadEntryName:
            # left where it is: `reconcile` names it and a person decides
            self._bad.add(name)
            _log.warning("spool_has_foreign_file", listener=self._spool.listener, foreign=len(self._bad))
            return None


def received_at(file: os.stat_result, clock: Clock) -> datetime:
    """Return when a spooled file became durable: its time of modification, in UTC.

    A clock that was wrong may have left any time; one ahead of us would put
    off both settling and OVERDUE, so no time is later than now.
    """
    return datetime.fromtimestamp(max(0.0, min(file.st_mtime, clock.now().timestamp())), UTC)


def leftover_age(message_timeout: float) -> timedelta:
    """Return for how long a temporary file that is still received may not have been written to.

    Parameters
    ----------
    message_timeout : float
        Seconds; a small instance is written at its end.
    """
    return max(LEFTOVER_AGE, 2 * timedelta(seconds=message_timeout))


def sweep_leftovers(spool: Spool, now: datetime, age: timedelta = LEFTOVER_AGE) -> int:
    """Delete temporary files that a crash has left, and return how many.

    None of them was ever acknowledged: those in ``tmp/`` were being received,
    those elsewhere are what a listener tried at its start whether it could
    write. Only what nobody has written to for so long goes (`leftover_age`), so
    no run that still lives loses a file.
    """
    swept = sum(_sweep(directory, now - age) for directory in (spool.temporary, spool.new, spool.commitments))
    if swept:
        _log.info("leftovers_swept", listener=spool.listener, files=swept)
    return swept


def _sweep(directory: Path, before: datetime) -> int:
    swept = 0
    # a listener makes its directories as it starts; the registrar may be there before it
    with contextlib.suppress(FileNotFoundError), os.scandir(directory) as found:
        for file in found:
            if not file.name.endswith(TEMPORARY_SUFFIX):
                continue
            try:
                changed = datetime.fromtimestamp(file.stat(follow_symlinks=False).st_mtime, UTC)
                if changed < before:
                    (directory / file.name).unlink()
                    swept += 1
            except FileNotFoundError:
                # finished meanwhile, or abandoned
                continue
            except OSError as error:
                # nothing of ours, such as a directory: it must not keep the others
                _log.warning("leftover_not_swept", directory=directory.name, **safe_error(error))
    return swept
