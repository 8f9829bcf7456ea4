"""Listing the spool and the stored files for `db.audit`: names, sizes, ages, and digests on request."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from core.spool import SUFFIX, BadEntryName, Entry, Spool, listeners, shard_of, stored_path, stored_root
from db.reconcile import FileFact, Finding, Misfit

SHARDS: Final = tuple(f"{number:02x}" for number in range(256))


def list_spools(data: Path, report: Callable[[Finding], None]) -> list[FileFact]:
    """Return what lies in every listener's ``new/``."""
    return [file for spool in listeners(data) for file in _list(spool.new, spool.listener, None, report)]


def list_shard(data: Path, shard: str, report: Callable[[Finding], None]) -> list[FileFact]:
    """Return what lies in one folder of ``stored/``."""
    return list(_list(stored_root(data) / shard, None, shard, report))


def strangers(data: Path) -> Iterator[Finding]:
    """Name what lies in ``stored/`` itself and is none of its folders."""
    for item in _scan(stored_root(data)):
        if item.name not in SHARDS or not item.is_dir(follow_symlinks=False):
            yield Finding(Misfit.BAD_NAME, f"stored/{item.name}", None, "is none of the folders of stored/")


def look(data: Path, entry: Entry, shards: Iterable[str]) -> list[FileFact]:
    """Return the places where an entry lies now: any spool, its own shard, or one of `shards`."""
    spooled = [_fact(spool.path(entry), entry, spool.listener, None) for spool in listeners(data)]
    stored = [
        _fact(stored_root(data) / shard / entry.file_name, entry, None, shard)
        for shard in sorted({shard_of(entry), *shards})
    ]
    return [file for file in (*spooled, *stored) if file is not None]


def path_of(data: Path, file: FileFact) -> Path:
    """Return where a listed file lay."""
    if file.listener is None:
        return stored_root(data) / str(file.shard) / file.entry.file_name
    return Spool(data, file.listener).path(file.entry)


def wrong_digest(data: Path, file: FileFact) -> Finding | None:
    """Read a file and compare its digest with its name; None if it fits or has moved on."""
    for path in (path_of(data, file), stored_path(data, file.entry)):
        try:
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except FileNotFoundError:
            continue
        except OSError as error:
            detail = f"cannot be read ({os.strerror(error.errno or 0)}); its digest is unknown"
            return Finding(Misfit.UNREADABLE, file.entry.name, file.listener, detail)
        if digest == file.entry.sha256:
            return None
        detail = "holds other bytes than those acknowledged; restore it from a backup or send its study again"
        return Finding(Misfit.DIGEST, file.entry.name, file.listener, detail)
    return None


def _list(
    folder: Path, listener: str | None, shard: str | None, report: Callable[[Finding], None]
) -> Iterator[FileFact]:
    for item in _scan(folder):
        entry = _entry(item)
        if entry is None:
            where = f"stored/{shard}/" if listener is None else f"spool/{listener}/new/"
            report(Finding(Misfit.BAD_NAME, where + item.name, listener, "was not named by the listener; move it away"))
            continue
        file = _fact(Path(item.path), entry, listener, shard)
        if file is not None:
            yield file


def _entry(item: os.DirEntry[str]) -> Entry | None:
    if not item.name.endswith(SUFFIX) or not item.is_file(follow_symlinks=False):
        return None
    try:
        return Entry.parse(item.name)
    except BadEntryName:
        return None


def _scan(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as items:
            yield from items
    except FileNotFoundError:
        return


def _fact(path: Path, entry: Entry, listener: str | None, shard: str | None) -> FileFact | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return FileFact(entry, listener, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC), shard)
