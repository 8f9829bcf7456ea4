"""A request that is spooled before it is answered, whatever it asks for; needs neither database nor broker.

Refused as early as it can be known, and then nothing is left on disk: for its
command, an absent data set or a disk below the watermark before a byte is
written; for what the data set holds as soon as that shows. What still arrives
of a refused message is swallowed.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from core.failpoints import reach
from core.logging import get, safe_error
from core.rarely import Rarely
from core.spool import Entry
from dicom_listener.services import Request
from dicom_listener.status import Answer, Status
from dicom_listener.storage.disk import Room, Watermark
from dicom_listener.storage.instance_file import InstanceFile, SpoolWriter
from dicom_listener.turns import Turns

# a refusal or failure is logged once in so many seconds for each status, with how many were left out
_LOG_SECONDS: Final = 60.0

_log = get(__name__)


class Refused(Exception):
    """The request gets this status and leaves nothing behind."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.name)
        self.status = status


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How the requests of one service end, in statuses and in the log.

    Attributes
    ----------
    done, no_space, not_now, empty : Status
        Durable; below the watermark; failed; without a data set.
    refused_event, failed_event : str
        What the log calls a request that is refused, and one that failed.
    """

    done: Status
    no_space: Status
    not_now: Status
    empty: Status
    refused_event: str
    failed_event: str


class Spooling:
    """What all receptions of one service in one process share. Safe for threads.

    Parameters
    ----------
    writer : SpoolWriter
    watermark : Watermark
    ae_title : str
        Ours, for peers that called us by nothing printable.
    outcomes : Outcomes
    monotonic : callable
        The clock of what is logged.
    """

    def __init__(
        self,
        writer: SpoolWriter,
        watermark: Watermark,
        ae_title: str,
        outcomes: Outcomes,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.writer = writer
        self.room = Room(watermark)
        self.turns = Turns()
        self.ae_title = ae_title
        self.outcomes = outcomes
        self.monotonic = monotonic
        self.rarely = Rarely(_LOG_SECONDS, monotonic)


class SpooledReception(ABC):
    """One request being received: a `dicom_listener.services.Reception`, once it was asked to `admit`.

    Used by one thread.

    Parameters
    ----------
    spooling : Spooling
    request : Request
    """

    def __init__(self, spooling: Spooling, request: Request) -> None:
        self.request = request
        self.spooling = spooling
        self._outcomes = spooling.outcomes
        self._began = spooling.monotonic()
        self._allowance = spooling.room.allowance()
        self._turn = spooling.turns.of(known=request.sender.known is not None)
        self._meta = b""
        self._file: InstanceFile | None = None
        self._status: Status | None = None

    @abstractmethod
    def check_command(self) -> bytes:
        """Return the file meta information to write, or raise `Refused`."""

    @abstractmethod
    def look(self, fragment: memoryview) -> None:
        """Look at the next bytes of the data set, one or more, before they are written; may raise `Refused`."""

    def step_over(self, size: int) -> bool:  # noqa: ARG002 - for those that can tell
        """Take the next so many bytes without a look, if there is nothing to be seen in them, as within pixels."""
        return False

    @abstractmethod
    def look_back(self) -> None:
        """Look at what is known now that all has arrived, one byte or more; may raise `Refused`."""

    @abstractmethod
    def log_done(self, entry: Entry, size: int, seconds: float) -> None:
        """Log that the request is durable: where, how many bytes, how long it took to come."""

    def admit(self) -> None:
        """Look at the command and at the room there is; once, before all else."""
        self._attempt(self._admit)

    def write(self, fragment: memoryview) -> None:
        """Append to the file, unless the request is refused already."""
        self._attempt(lambda: self._append(fragment))

    def finish(self) -> Answer:
        """Make the request durable, unless it is refused, and return the answer."""
        self._attempt(self._commit)
        return (self._status or self._outcomes.not_now).answer

    def abandon(self) -> None:
        """Leave nothing behind; may be called at any time, also after `finish`."""
        file, self._file = self._file, None
        if file is not None:
            file.abort()
        self._allowance.end()

    def _attempt(self, step: Callable[[], None]) -> None:
        """Take a step, if the request has no status yet; whatever it meets becomes one."""
        if self._status is not None:
            return
        try:
            step()
        except Refused as refusal:
            self._status = refusal.status
            self._log_refusal(refusal.status)
        except Exception as error:  # noqa: BLE001 - the edge: what we did not foresee is "not now", never 0xC211
            self._status = self._outcomes.not_now
            self._log_failure(error)
        if self._status is not None:
            self.abandon()

    def _admit(self) -> None:
        reach("store.received")
        self._meta = self.check_command()
        if not self.request.has_data_set:
            raise Refused(self._outcomes.empty)
        self._spend(len(self._meta), files=1)
        reach("store.checked")

    def _append(self, fragment: memoryview) -> None:
        if not fragment:
            return
        # looked at before it is written: what is refused for its first fragment never touches the disk
        if not self.step_over(len(fragment)):
            with self._turn:
                self.look(fragment)
        self._spend(len(fragment))
        if self._file is None:
            self._file = self.spooling.writer.begin()
            self._file.write(self._meta)
        self._file.write(fragment)
        self._allowance.written(self._file.size)

    def _commit(self) -> None:
        if self._file is None:
            raise Refused(self._outcomes.empty)
        self.look_back()
        # the disk counts it from here on; while it is made durable nobody is to be refused for its being counted twice
        self._file.flush()
        self._allowance.end()
        entry, size = self._file.commit(), self._file.size
        self._file = None
        self._status = self._outcomes.done
        self.log_done(entry, size, self.spooling.monotonic() - self._began)

    def _spend(self, size: int, *, files: int = 0) -> None:
        if not self._allowance.spend(size, files=files):
            raise Refused(self._outcomes.no_space)

    def _log_refusal(self, status: Status) -> None:
        event = "disk_below_watermark" if status is self._outcomes.no_space else self._outcomes.refused_event
        left_out = self.spooling.rarely.due(status.name)
        if left_out is not None:
            _log.warning(event, peer=self.request.sender.ae_title, status=status.name, left_out=left_out)

    def _log_failure(self, error: Exception) -> None:
        left_out = self.spooling.rarely.due(self._outcomes.not_now.name)
        if left_out is not None:
            # the operating system's own words, such as "No space left on device", never quote received text
            facts = {"why": error.strerror} if isinstance(error, OSError) else {}
            peer = self.request.sender.ae_title
            _log.error(self._outcomes.failed_event, peer=peer, left_out=left_out, **facts, **safe_error(error))
