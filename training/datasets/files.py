"""The files of a data set, in a folder or a zip of it, by their path inside it."""

from __future__ import annotations

import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Final, Protocol

from training.errors import DatasetError

LARGEST_FILE: Final = 128 << 20
# what zipfile raises for damaged, encrypted and exotically compressed members, and what a disk does
UNREADABLE: Final = (OSError, KeyError, ValueError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error)


class Files(Protocol):
    """Files by their path inside a data set; safe to use from several threads.

    Both methods raise one of `UNREADABLE` where a file cannot be read or is too large.
    """

    names: tuple[str, ...]
    above: tuple[str, ...]

    def read(self, name: str) -> bytes:
        """Return a file's content."""
        ...

    def local(self, name: str) -> AbstractContextManager[Path]:
        """Lend a file on disk that nobody writes to while it is lent."""
        ...


class Folder:
    """A folder, links followed; `above` holds its parent's name and its own."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self.above = self._root.parts[-2:]
        try:
            self.names = tuple(sorted(path.relative_to(self._root).as_posix() for path in _below(self._root)))
        except OSError as error:
            raise DatasetError(
                f"{error.filename} cannot be looked into ({error.strerror}); mend it, or move it out of the data set"
            ) from error

    def read(self, name: str) -> bytes:
        """Return a file's content."""
        _refuse_large((self._root / name).stat().st_size)
        return (self._root / name).read_bytes()

    def local(self, name: str) -> AbstractContextManager[Path]:
        """Lend the file itself."""
        _refuse_large((self._root / name).stat().st_size)
        return nullcontext(self._root / name)


class Zip:
    """A zip; `above` holds its own name: ``test.zip`` may be what ``test/`` was."""

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        self._archive = archive
        self.above: tuple[str, ...] = (name,)
        self.names = tuple(sorted(name for name in archive.namelist() if not name.endswith("/")))

    def read(self, name: str) -> bytes:
        """Return a member's content."""
        # the declared size bounds what is inflated: zipfile stops there and checks the CRC
        _refuse_large(self._archive.getinfo(name).file_size)
        return self._archive.read(name)

    @contextmanager
    def local(self, name: str) -> Iterator[Path]:
        """Lend a copy under a name of ours: a member's own may lead anywhere."""
        with tempfile.NamedTemporaryFile(prefix="lungwatch-") as copy:
            copy.write(self.read(name))
            copy.flush()
            yield Path(copy.name)


@contextmanager
def open_files(location: Path) -> Iterator[Files]:
    """Open a folder or zip for as long as the block lasts.

    Raises
    ------
    DatasetError
        If it is missing, neither folder nor zip, or has a folder that cannot be looked into.
    """
    if location.is_dir():
        yield Folder(location)
    elif location.is_file():
        try:
            archive = zipfile.ZipFile(location)
        except (zipfile.BadZipFile, OSError) as error:
            raise DatasetError(f"{location}: neither a folder nor a readable zip") from error
        with archive:
            yield Zip(archive, location.stem)
    else:
        raise DatasetError(f"{location}: no such folder or zip; --data wants the collection's folder or a zip of it")


def is_rubbish(name: str) -> bool:
    """Whether a path is hidden, or what macOS leaves in zips."""
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


def _below(root: Path) -> Iterator[Path]:
    """Find the files in a folder and in those that it links to, none of them twice by one way around.

    Raises
    ------
    OSError
        Where a folder cannot be looked into: what lies there must not be missed without a word.
    """
    within: dict[str, frozenset[tuple[int, int]]] = {}
    for folder, names, files in os.walk(root, followlinks=True, onerror=_refuse):
        known = Path(folder).stat()
        way = within.pop(folder, frozenset()) | {(known.st_dev, known.st_ino)}
        here = Path(folder)
        # a link to a folder that we are in would lead around for ever
        names[:] = [name for name in names if not _leads_back(here / name, way)]
        within |= {str(here / name): way for name in names}
        yield from (path for name in files if (path := here / name).is_file())


def _refuse(error: OSError) -> None:
    raise error


def _leads_back(folder: Path, way: frozenset[tuple[int, int]]) -> bool:
    known = folder.stat()
    return (known.st_dev, known.st_ino) in way


def _refuse_large(size: int) -> None:
    if size > LARGEST_FILE:
        raise ValueError("larger than any picture")
