"""The spool: where acknowledged instances lie until the ledger has disposed of them.

::

    <data>/spool/<listener>/tmp/    files being written; worthless after a crash
    <data>/spool/<listener>/new/    acknowledged, one file an instance
    <data>/spool/<listener>/commitment/  requests for storage commitment, acknowledged and not answered yet
    <data>/stored/<shard>/          the files of new/ once their receipt is terminal

An entry is named ``<incarnation>-<sequence>-<sha256>.dcm``: which run of which
listener process wrote it, its place in that run (gapless from 1, so that a
vanished file shows as a gap) and the digest of the file's bytes. No part of a
name comes from received text.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from core.errors import LungwatchError

_ENTRY: Final = re.compile(r"([0-9a-f]{20})-([0-9]{10})-([0-9a-f]{64})")
_LISTENER: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
SUFFIX: Final = ".dcm"


class BadEntryName(LungwatchError):
    """A file in the spool has a name that the listener never gives."""


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """The name of one acknowledged instance.

    Attributes
    ----------
    incarnation : str
        20 hexadecimal digits: 12 of start time in milliseconds, 8 random.
    sequence : int
        Place within the incarnation, from 1 without gaps.
    sha256 : str
        Digest of the whole Part 10 file, 64 hexadecimal digits.
    """

    incarnation: str
    sequence: int
    sha256: str

    @property
    def name(self) -> str:
        """Return the entry as the ledger stores it."""
        return f"{self.incarnation}-{self.sequence:010d}-{self.sha256}"

    @property
    def file_name(self) -> str:
        """Return the entry as a file name."""
        return self.name + SUFFIX

    @classmethod
    def parse(cls, name: str) -> Self:
        """Read an entry or file name back.

        Raises
        ------
        BadEntryName
            If the name is not of the form above.
        """
        match = _ENTRY.fullmatch(name.removesuffix(SUFFIX))
        if match is None:
            message = "a file in the spool was not named by the listener; move it away and send its study again"
            raise BadEntryName(message)
        return cls(match[1], int(match[2]), match[3])


def new_incarnation() -> str:
    """Name one run of one listener process; sorts by start time, unique without coordination."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(4)}"


@dataclass(frozen=True, slots=True)
class Spool:
    """The directories of one listener below the data directory."""

    data: Path
    listener: str

    def __post_init__(self) -> None:
        if not _LISTENER.fullmatch(self.listener):
            message = f"a listener's name is lower-case letters, digits, '-' and '_', at most 32: {self.listener!r}"
            raise ValueError(message)

    @property
    def root(self) -> Path:
        """Return this listener's own directory."""
        return self.data / "spool" / self.listener

    @property
    def temporary(self) -> Path:
        """Return where files are being written."""
        return self.root / "tmp"

    @property
    def new(self) -> Path:
        """Return where acknowledged files lie whose receipt is not terminal yet."""
        return self.root / "new"

    @property
    def commitments(self) -> Path:
        """Return where acknowledged requests for storage commitment lie until they are answered."""
        return self.root / "commitment"

    def path(self, entry: Entry) -> Path:
        """Where the entry lies until it is stored."""
        return self.new / entry.file_name


def stored_root(data: Path) -> Path:
    """Where the files of all listeners lie once their receipts are terminal."""
    return data / "stored"


def shard_of(entry: Entry) -> str:
    """Name the folder below ``stored/`` an entry belongs in: one of 256, by its digest."""
    return entry.sha256[:2]


def stored_path(data: Path, entry: Entry) -> Path:
    """Where an entry lies once its receipt is terminal."""
    return stored_root(data) / shard_of(entry) / entry.file_name


def place(data: Path, listener: str, entry: Entry, *, stored: bool) -> Path:
    """Where the file of a receipt lies, or should.

    Parameters
    ----------
    data : Path
        The data directory.
    listener : str
        Whose entry it is.
    entry : Entry
        The receipt's.
    stored : bool
        Whether the ledger says that it was moved to ``stored/``. It says so after
        the move, so a file that has left the spool is looked for there anyhow.
    """
    final, new = stored_path(data, entry), Spool(data, listener).path(entry)
    return final if stored or (not new.exists() and final.exists()) else new


def listeners(data: Path) -> Iterator[Spool]:
    """Every listener that ever wrote below this data directory."""
    root = data / "spool"
    if root.is_dir():
        for child in sorted(root.iterdir()):
            if child.is_dir() and _LISTENER.fullmatch(child.name):
                yield Spool(data, child.name)
