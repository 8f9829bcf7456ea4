"""Which instances a peer waits to hear of: what storage commitment was asked for and is not answered yet."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.orm import Session

from core.errors import RejectedInput, TransientFailure
from core.spool import Entry, Spool
from db import commitments
from worker.commitment import spooled


class Asked:
    """Reads the requests that wait, each once.

    Parameters
    ----------
    data : Path
        The data directory.
    """

    def __init__(self, data: Path) -> None:
        self._data = data
        self._known: dict[Entry, frozenset[str]] = {}

    def __call__(self, session: Session) -> set[str]:
        """Return the SOP Instance UIDs that waiting requests name.

        Raises
        ------
        TransientFailure
            If a request waits whose file is not on this host: it may name anything.
        """
        found: set[str] = set()
        waiting = commitments.waiting(session)
        self._known = {entry: named for entry, named in self._known.items() if entry in waiting}
        for entry, listener in waiting.items():
            if entry not in self._known:
                self._known[entry] = self._read(entry, listener)
            found |= self._known[entry]
        return found

    def _read(self, entry: Entry, listener: str) -> frozenset[str]:
        spool = Spool(self._data, listener)
        try:
            request = spooled.read(spool.commitments / entry.file_name, entry)
        except FileNotFoundError:
            if not spool.root.is_dir():
                message = f"commitment requests wait in spool/{listener}, which is not on this host; mount it"
                raise TransientFailure(message) from None
            # answered this moment, or lost: then nothing will be vouched for
            return frozenset()
        except RejectedInput:
            return frozenset()
        except OSError as error:
            message = f"a commitment request cannot be read (errno {error.errno}); check the disk and permissions"
            raise TransientFailure(message) from error
        return frozenset(reference.sop_instance_uid for reference in request.references)
