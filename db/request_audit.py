"""Holding ``commitment/`` and the ledger's requests against each other, while traffic flows; part of `db.audit`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from heapq import merge
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from core.spool import SUFFIX, BadEntryName, Entry, Spool, listeners
from db.models.commitment import Commitment
from db.reconcile import Finding, Misfit, gaps
from db.vocabulary import CommitmentState

_LOOKS: Final = 3
_PAUSE_SECONDS: Final = 0.2
_AT_ONCE: Final = 10_000
_NAMES_A_STATEMENT: Final = 500


class _File(NamedTuple):
    listener: str
    size: int
    modified_at: datetime


def misfits(
    readers: sessionmaker[Session], data: Path, now: datetime, grace_seconds: float, pause: Callable[[float], None]
) -> list[Finding]:
    """Return what does not fit at any of three looks.

    Parameters
    ----------
    readers : sessionmaker
        From `db.base.make_readers`.
    data : Path
        The data directory.
    now : datetime
        Against which files' ages are reckoned; aware.
    grace_seconds : float
        Age up to which a file may be without row, or outlive its request.
    pause : callable
        Waits between the looks.
    """
    found: set[Finding] = set()
    for number in range(_LOOKS):
        if number:
            pause(_PAUSE_SECONDS)
        again = set(_look(readers, data, now, grace_seconds))
        found = again if number == 0 else found & again
        if not found:
            break
    return sorted(found, key=lambda one: (one.name, one.misfit))


def _look(readers: sessionmaker[Session], data: Path, now: datetime, grace_seconds: float) -> Iterator[Finding]:
    # files first: what is registered or answered in between shows in the ledger
    files: dict[Entry, _File] = {}
    for spool in listeners(data):
        for path in _files(spool):
            entry = _entry(path)
            if entry is None:
                where = f"spool/{spool.listener}/commitment/{path.name}"
                yield Finding(Misfit.BAD_NAME, where, spool.listener, "was not named by the listener; move it away")
                continue
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            files[entry] = _File(spool.listener, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))
    with readers() as session:
        yield from _against_rows(session, dict(files), now, grace_seconds)
        yield from _missing(session, files)


def _against_rows(
    session: Session, files: dict[Entry, _File], now: datetime, grace_seconds: float
) -> Iterator[Finding]:
    oldest = now - timedelta(seconds=grace_seconds)
    pending = session.execute(
        select(Commitment.entry, Commitment.listener, Commitment.size).where(
            Commitment.state == CommitmentState.PENDING
        )
    )
    for row in pending:
        file = files.pop(Entry.parse(row.entry), None)
        if file is None:
            detail = f"the request is PENDING, but its file is gone from commitment/ of {row.listener}"
            yield Finding(Misfit.MISSING, row.entry, row.listener, detail)
        elif file.listener != row.listener:
            detail = f"lies in the spool of {file.listener}, its row says {row.listener}"
            yield Finding(Misfit.MISPLACED, row.entry, row.listener, detail)
        elif file.size != row.size:
            detail = f"{file.size} bytes, acknowledged were {row.size}"
            yield Finding(Misfit.SIZE, row.entry, row.listener, detail)
    ended = _ended(session, files)
    for entry, file in files.items():
        at = ended.get(entry)
        if at is not None and at < oldest:
            detail = (
                "the request was answered or given up, but its file lies in commitment/; may a worker delete there?"
            )
            yield Finding(Misfit.MISPLACED, entry.name, file.listener, detail)
        elif at is None and file.modified_at < oldest:
            detail = "lies in commitment/ without a row; does this listener's registrar run and reach the database?"
            yield Finding(Misfit.UNREGISTERED, entry.name, file.listener, detail)


def _ended(session: Session, files: Iterable[Entry]) -> dict[Entry, datetime]:
    """Return when the requests of these files came to their end."""
    names = [entry.name for entry in files]
    found: dict[Entry, datetime] = {}
    for start in range(0, len(names), _NAMES_A_STATEMENT):
        some = Commitment.entry.in_(names[start : start + _NAMES_A_STATEMENT])
        rows = session.execute(select(Commitment.entry, Commitment.finished_at).where(some))
        found.update({Entry.parse(row.entry): row.finished_at for row in rows if row.finished_at is not None})
    return found


def _missing(session: Session, files: Iterable[Entry]) -> Iterator[Finding]:
    """Name the places in a run's sequence of which there is neither file nor row."""
    names = session.scalars(select(Commitment.entry).order_by(Commitment.entry).execution_options(yield_per=_AT_ONCE))
    every = merge((Entry.parse(name) for name in names), sorted(files))
    for incarnation, run in groupby(every, key=lambda entry: entry.incarnation):
        for first, last in gaps(entry.sequence for entry in run):
            name = f"{incarnation} {first}" if first == last else f"{incarnation} {first}-{last}"
            detail = f"{last - first + 1} commitment requests acknowledged, but neither file nor row is left"
            yield Finding(Misfit.GAP, name, None, detail)


def _files(spool: Spool) -> list[Path]:
    try:
        # hidden ones are the listener's own probes
        return [path for path in spool.commitments.iterdir() if not path.name.startswith(".")]
    except FileNotFoundError:
        return []


def _entry(path: Path) -> Entry | None:
    if not path.name.endswith(SUFFIX):
        return None
    try:
        return Entry.parse(path.name)
    except BadEntryName:
        return None
