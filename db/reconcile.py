"""Holding the spool, the stored files and the receipts against each other (promise 2).

Pure comparison of facts; `db.audit` gathers them. Nothing here is repaired:
every entry that does not fit is named, and a person decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from core.spool import Entry, shard_of
from db.vocabulary import ReceiptState


class Misfit(StrEnum):
    """What is wrong with an entry."""

    UNREGISTERED = "UNREGISTERED"
    """A file in ``new/`` that has had no receipt for longer than registering takes."""
    NO_RECEIPT = "NO_RECEIPT"
    """A file in ``stored/`` without receipt: nothing moves there before its receipt is terminal."""
    MISSING = "MISSING"
    """A receipt whose file is in neither place, and which no policy removed."""
    REMOVED = "REMOVED"
    """A file that retention removed, and that is there again."""
    TWICE = "TWICE"
    """A file in both places, or in two spools."""
    MISPLACED = "MISPLACED"
    """A file in another spool or shard than its receipt and name say."""
    SIZE = "SIZE"
    """A file of another size than the one acknowledged."""
    DIGEST = "DIGEST"
    """A file whose bytes are not those acknowledged."""
    UNREADABLE = "UNREADABLE"
    """A file that cannot be read to check its digest."""
    BAD_NAME = "BAD_NAME"
    """A file that the listener did not name."""
    GAP = "GAP"
    """Places in a listener's sequence of which there is neither file nor receipt."""


@dataclass(frozen=True, slots=True)
class FileFact:
    """A file as listed.

    Attributes
    ----------
    entry : Entry
        From its name.
    listener : str or None
        In whose ``new/`` it lies; None in ``stored/``.
    size : int
        Bytes.
    modified_at : datetime
        When it was written; aware.
    shard : str or None
        The folder below ``stored/``.
    """

    entry: Entry
    listener: str | None
    size: int
    modified_at: datetime
    shard: str | None = None


@dataclass(frozen=True, slots=True)
class ReceiptFact:
    """A receipt as far as its file goes.

    Attributes
    ----------
    removing : bool
        A policy decided that the file goes: it may be there or not.
    removed : bool
        It is gone.
    """

    entry: Entry
    listener: str
    size: int
    state: ReceiptState
    stored: bool
    removing: bool = False
    removed: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """One entry that does not fit.

    Attributes
    ----------
    misfit : Misfit
        What is wrong.
    name : str
        The entry, the file's name, or ``incarnation first-last`` of a gap.
    listener : str or None
        Whose, where that is known.
    detail : str
        One sentence for a person.
    """

    misfit: Misfit
    name: str
    listener: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """How spool, stored files and receipts stand to each other.

    Attributes
    ----------
    acknowledged : int
        By the names alone: of every run of a listener the highest place in its sequence.
    terminal, pending : int
        Receipts.
    waiting, unregistered : int
        Files without receipt: too young to worry, and not.
    files : int
        Files seen.
    removed, removing : int
        Receipts whose file a policy removed, and is removing: a run was cut short, or runs now.
    digests : bool
        Whether stored bytes were read and compared.
    findings : tuple of Finding
        Every entry that does not fit.
    """

    acknowledged: int
    terminal: int
    pending: int
    waiting: int
    unregistered: int
    files: int
    removed: int
    removing: int
    digests: bool
    findings: tuple[Finding, ...]

    @property
    def balanced(self) -> bool:
        """Whether acknowledged = terminal + pending + not yet registered."""
        return self.acknowledged == self.terminal + self.pending + self.waiting + self.unregistered

    @property
    def clean(self) -> bool:
        """Whether everything fits."""
        return self.balanced and not self.findings


def compare(
    files: Iterable[FileFact], receipts: Iterable[ReceiptFact], now: datetime, grace_seconds: float
) -> dict[Entry, list[Finding]]:
    """Match files and receipts of the same entries; return those that do not fit.

    Parameters
    ----------
    files : iterable of FileFact
        From every spool and from ``stored/``.
    receipts : iterable of ReceiptFact
        Of the same entries or more.
    now : datetime
        Against which the files' ages are reckoned; aware.
    grace_seconds : float
        Age up to which a file in ``new/`` may be without receipt.
    """
    by_entry: dict[Entry, list[FileFact]] = {}
    for file in files:
        by_entry.setdefault(file.entry, []).append(file)
    findings: dict[Entry, list[Finding]] = {}
    for receipt in receipts:
        if wrong := list(_against_receipt(receipt, by_entry.pop(receipt.entry, []))):
            findings[receipt.entry] = wrong
    for entry, places in by_entry.items():
        if wrong := list(_without_receipt(entry, places, now - timedelta(seconds=grace_seconds))):
            findings[entry] = wrong
    return findings


def _without_receipt(entry: Entry, places: Sequence[FileFact], oldest: datetime) -> Iterator[Finding]:
    file = places[0]
    if len(places) > 1:
        yield Finding(Misfit.TWICE, entry.name, file.listener, _places(places) + ", and no receipt names it")
    elif file.listener is None:
        detail = "lies in stored/ but no receipt names it; was the ledger restored from an older backup?"
        yield Finding(Misfit.NO_RECEIPT, entry.name, None, detail)
    elif file.modified_at < oldest:
        detail = "lies in new/ without a receipt; does this listener's registrar run and reach the database?"
        yield Finding(Misfit.UNREGISTERED, entry.name, file.listener, detail)


def _against_receipt(receipt: ReceiptFact, places: Sequence[FileFact]) -> Iterator[Finding]:
    name = receipt.entry.name
    if not places and (receipt.removing or receipt.removed):
        return
    if places and receipt.removed:
        detail = f"{_places(places)}, though retention removed it; was it restored from a backup? It may be deleted"
        yield Finding(Misfit.REMOVED, name, receipt.listener, detail)
        return
    if not places:
        where = "stored/" if receipt.stored else f"new/ of {receipt.listener} and from stored/"
        yield Finding(
            Misfit.MISSING, name, receipt.listener, f"receipt is {receipt.state}, but its file is gone from {where}"
        )
        return
    if len(places) > 1:
        yield Finding(Misfit.TWICE, name, receipt.listener, _places(places))
    for file in places:
        if file.listener is not None and file.listener != receipt.listener:
            detail = f"lies in the spool of {file.listener}, its receipt says {receipt.listener}"
            yield Finding(Misfit.MISPLACED, name, receipt.listener, detail)
        elif file.listener is not None and receipt.stored and len(places) == 1:
            yield Finding(Misfit.MISPLACED, name, receipt.listener, "lies in new/, its receipt says stored/")
        if file.shard is not None and file.shard != shard_of(receipt.entry):
            detail = f"lies in stored/{file.shard}/, belongs in stored/{shard_of(receipt.entry)}/"
            yield Finding(Misfit.MISPLACED, name, receipt.listener, detail)
        if file.size != receipt.size:
            detail = f"{file.size} bytes, acknowledged were {receipt.size}"
            yield Finding(Misfit.SIZE, name, receipt.listener, detail)


def gaps(sequences: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield first and last place of each gap in ascending places that should run from 1.

    The end of a sequence that vanished from files and ledger alike leaves no
    gap; nothing in either could tell.
    """
    expected = 1
    for sequence in sequences:
        if sequence > expected:
            yield expected, sequence - 1
        expected = max(expected, sequence + 1)


def _places(places: Sequence[FileFact]) -> str:
    names = sorted(f"new/ of {file.listener}" if file.listener else f"stored/{file.shard}/" for file in places)
    return "lies in " + " and in ".join(names)
