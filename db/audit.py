"""Gathering what `db.reconcile` compares, while traffic flows and with bounded memory.

Stored files and receipts are taken a shard at a time (256 of them, by the first
two digits of the digest), so that memory holds one shard and the backlog in
``new/``. Listings and ledger are never of one moment, so whatever does not fit
is looked at again, three times in all, before it is called a finding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from heapq import merge
from pathlib import Path
from typing import Final

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session, sessionmaker

from core.clock import Clock, SystemClock
from core.spool import Entry, shard_of
from db.listing import SHARDS, list_shard, list_spools, look, strangers, wrong_digest
from db.models.receipt import Receipt
from db.reconcile import FileFact, Finding, Misfit, ReceiptFact, Reconciliation, compare, gaps
from db.request_audit import misfits
from db.vocabulary import ReceiptState

_LOOKS: Final = 3
_PAUSE_SECONDS: Final = 0.2
_NAMES_A_STATEMENT: Final = 500
_SEQUENCES_AT_ONCE: Final = 10_000


@dataclass
class _Counts:
    """The ledger and the files without receipt at one moment."""

    terminal: int = 0
    pending: int = 0
    removed: int = 0
    removing: int = 0
    acknowledged: int = 0
    waiting: int = 0
    unregistered: int = 0
    missing: dict[tuple[str, str], set[tuple[int, int]]] = field(default_factory=dict)


class Audit:
    """One reconciliation of a data directory with its ledger.

    Parameters
    ----------
    readers : sessionmaker
        From `db.base.make_readers`.
    data : Path
        The data directory, with ``spool/`` and ``stored/``.
    grace_seconds : float
        Age up to which a file in ``new/`` may be without receipt.
    clock : Clock, optional
        Against which files' ages are reckoned.
    pause : callable
        Waits between the looks at what does not fit.
    """

    def __init__(
        self,
        readers: sessionmaker[Session],
        data: Path,
        *,
        grace_seconds: float = 60.0,
        clock: Clock | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._readers = readers
        self._data = data
        self._grace_seconds = grace_seconds
        self._clock = clock or SystemClock()
        self._pause = pause
        self._findings: list[Finding] = []
        # entries that did not fit at first sight, and in which shards their files were seen
        self._doubts: dict[Entry, set[str]] = {}

    def run(
        self, *, digests: bool = False, progress: Callable[[int, int], None] = lambda _done, _of: None
    ) -> Reconciliation:
        """Compare every file and every receipt.

        Parameters
        ----------
        digests : bool
            Read every file and compare its SHA-256: takes as long as reading the whole store.
        progress : callable
            Told the shards done and all shards.
        """
        self._findings.extend(strangers(self._data))
        self._findings.extend(misfits(self._readers, self._data, self._clock.now(), self._grace_seconds, self._pause))
        files = self._compare_shards(digests=digests, progress=progress)
        unreceipted = self._look_again()
        counts = self._count(unreceipted)
        for (listener, incarnation), places in sorted(counts.missing.items()):
            for first, last in sorted(places):
                name = f"{incarnation} {first}" if first == last else f"{incarnation} {first}-{last}"
                detail = f"{last - first + 1} acknowledged, but neither file nor receipt is left"
                self._findings.append(Finding(Misfit.GAP, name, listener, detail))
        return Reconciliation(
            acknowledged=counts.acknowledged,
            terminal=counts.terminal,
            pending=counts.pending,
            waiting=counts.waiting,
            unregistered=counts.unregistered,
            files=files,
            removed=counts.removed,
            removing=counts.removing,
            digests=digests,
            findings=tuple(self._findings),
        )

    def _compare_shards(self, *, digests: bool, progress: Callable[[int, int], None]) -> int:
        spooled: dict[str, list[FileFact]] = {}
        for file in list_spools(self._data, self._findings.append):
            spooled.setdefault(shard_of(file.entry), []).append(file)
        total = 0
        for done, shard in enumerate(SHARDS):
            progress(done, len(SHARDS))
            files = spooled.pop(shard, []) + list_shard(self._data, shard, self._findings.append)
            with self._readers() as session:
                receipts = _receipts(session, _in_shard(shard))
            seen: dict[Entry, set[str]] = {}
            for file in files:
                if file.shard is not None:
                    seen.setdefault(file.entry, set()).add(file.shard)
            for entry in compare(files, receipts, self._clock.now(), self._grace_seconds):
                self._doubts.setdefault(entry, set()).update(seen.get(entry, ()))
            total += len(files)
            if digests:
                self._findings.extend(wrong for file in files if (wrong := wrong_digest(self._data, file)))
        progress(len(SHARDS), len(SHARDS))
        return total

    def _look_again(self) -> list[FileFact]:
        """Keep of the doubts what stays wrong; return the files among them that have no receipt."""
        found: dict[Entry, list[Finding]] = {}
        files: dict[Entry, list[FileFact]] = {}
        for number in range(_LOOKS):
            if not self._doubts:
                return []
            if number:
                self._pause(_PAUSE_SECONDS)
            # files first: what moves or is registered in between shows in the ledger, and the next look sees it
            files = {entry: look(self._data, entry, shards) for entry, shards in self._doubts.items()}
            receipts = self._by_name(self._doubts)
            every = (file for places in files.values() for file in places)
            found = compare(every, receipts, self._clock.now(), self._grace_seconds)
            self._doubts = {entry: shards for entry, shards in self._doubts.items() if entry in found}
        self._findings.extend(finding for entry in sorted(found) for finding in found[entry])
        known = {receipt.entry for receipt in self._by_name(found)}
        return [files[entry][0] for entry in sorted(found) if entry not in known and files[entry]]

    def _count(self, unreceipted: list[FileFact]) -> _Counts:
        """Count what is acknowledged and what became of it; places that are missing must be so at every look."""
        counts = self._count_once(unreceipted)
        for _ in range(_LOOKS - 1):
            if not counts.missing:
                break
            self._pause(_PAUSE_SECONDS)
            again = self._count_once(unreceipted)
            for run in again.missing:
                again.missing[run] = _in_both(counts.missing.get(run, set()), again.missing[run])
            again.missing = {run: places for run, places in again.missing.items() if places}
            counts = again
        lost = sum(last - first + 1 for places in counts.missing.values() for first, last in places)
        counts.acknowledged = counts.terminal + counts.pending + counts.waiting + counts.unregistered + lost
        return counts

    def _count_once(self, unreceipted: list[FileFact]) -> _Counts:
        counts = _Counts()
        files = {file.entry: file for file in (*unreceipted, *list_spools(self._data, lambda _: None))}
        known = {receipt.entry for receipt in self._by_name(files)}
        oldest = self._clock.now().timestamp() - self._grace_seconds
        extra: dict[tuple[str, str], list[int]] = {}
        with self._readers() as session:
            pending = Receipt.state == ReceiptState.PENDING
            runs = session.execute(
                select(
                    Receipt.listener,
                    Receipt.incarnation,
                    func.count(),
                    func.count().filter(pending),
                    func.max(Receipt.sequence),
                    func.count(Receipt.removed_at),
                    func.count(Receipt.removal_policy),
                ).group_by(Receipt.listener, Receipt.incarnation)
            ).all()
            heights = {(row[0], row[1]): (row[2], row[4]) for row in runs}
            counts.pending = sum(row[3] for row in runs)
            counts.terminal = sum(row[2] for row in runs) - counts.pending
            counts.removed = sum(row[5] for row in runs)
            counts.removing = sum(row[6] for row in runs) - counts.removed
            owners = {row[1]: row[0] for row in runs}
            for entry, file in files.items():
                if entry in known or _registered_since(session, entry):
                    continue
                if file.listener is not None and file.modified_at.timestamp() >= oldest:
                    counts.waiting += 1
                else:
                    counts.unregistered += 1
                run = (file.listener or owners.get(entry.incarnation, "?"), entry.incarnation)
                extra.setdefault(run, []).append(entry.sequence)
            for run in sorted(heights.keys() | extra.keys()):
                here, top = heights.get(run, (0, 0))
                places = sorted(extra.get(run, ()))
                if here + len(places) < max([top, *places]):
                    counts.missing[run] = set(gaps(merge(_sequences(session, run), places)))
        return counts

    def _by_name(self, entries: Iterable[Entry]) -> list[ReceiptFact]:
        names = [entry.name for entry in entries]
        found: list[ReceiptFact] = []
        with self._readers() as session:
            for start in range(0, len(names), _NAMES_A_STATEMENT):
                found.extend(_receipts(session, Receipt.entry.in_(names[start : start + _NAMES_A_STATEMENT])))
        return found


def _in_shard(shard: str) -> ColumnElement[bool]:
    following = int(shard, 16) + 1
    lower = Receipt.sha256 >= shard
    return lower if following == len(SHARDS) else lower & (Receipt.sha256 < SHARDS[following])


def _receipts(session: Session, condition: ColumnElement[bool]) -> list[ReceiptFact]:
    rows = session.execute(
        select(
            Receipt.entry,
            Receipt.listener,
            Receipt.size,
            Receipt.state,
            Receipt.stored_at,
            Receipt.removal_policy,
            Receipt.removed_at,
        ).where(condition)
    )
    return [
        ReceiptFact(
            Entry.parse(row.entry),
            row.listener,
            row.size,
            row.state,
            stored=row.stored_at is not None,
            removing=row.removal_policy is not None and row.removed_at is None,
            removed=row.removed_at is not None,
        )
        for row in rows
    ]


def _registered_since(session: Session, entry: Entry) -> bool:
    return session.scalar(select(Receipt.id).where(Receipt.entry == entry.name)) is not None


def _sequences(session: Session, run: tuple[str, str]) -> Iterable[int]:
    return session.scalars(
        select(Receipt.sequence)
        .where(Receipt.listener == run[0], Receipt.incarnation == run[1])
        .order_by(Receipt.sequence)
        .execution_options(yield_per=_SEQUENCES_AT_ONCE)
    )


def _in_both(one: set[tuple[int, int]], other: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """Return the places that lie in ranges of both."""
    common = set()
    right = sorted(other)
    for first, last in sorted(one):
        for start, end in right:
            if start > last:
                break
            if end >= first:
                common.add((max(first, start), min(last, end)))
    return common


def reconcile(
    readers: sessionmaker[Session],
    data: Path,
    *,
    digests: bool = False,
    grace_seconds: float = 60.0,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Reconciliation:
    """Compare every file and every receipt below a data directory; see `Audit`."""
    return Audit(readers, data, grace_seconds=grace_seconds).run(digests=digests, progress=progress)
