"""The list of everything a snapshot holds, one JSON line a picture, in a file named by its own SHA-256."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeVar

from core.errors import TransientFailure
from core.files import make_directories, sync_directory
from db.vocabulary import ImageClass, LabelOrigin, Share, Side
from training.datasets.items import Traits
from training.errors import DatasetError

FOLDER: Final = "snapshots"
_FORMAT: Final = 1
_DAY: Final = 86_400.0
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_Word = TypeVar("_Word", bound=StrEnum)


class Reason(StrEnum):
    """Why a labelled picture is left out of a snapshot."""

    DROPPED = "DROPPED"
    """Its data set holds the same picture out, under another patient."""
    TWIN = "TWIN"
    """The same picture was on another side first, under another patient."""
    CONTRADICTION = "CONTRADICTION"
    """The same picture is labelled otherwise under another patient."""


@dataclass(frozen=True, slots=True)
class Said:
    """A label in force."""

    label: ImageClass
    version: int
    subgroup: str | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture as a snapshot holds it.

    Attributes
    ----------
    labelled_image_id : int
        Its number in the ledger.
    master_digest, patient_digest : str
        Pixels and patient; the digest of the patient is keyed.
    side : Side
        Of the patient, for good.
    share : Share or None
        Of the frozen test set; None where it is not in it.
    label, label_version, subgroup, origin
        The frozen label where the picture is in the test set, else the one in force.
    traits : Traits
    now : Said or None
        The label in force, which of a frozen picture may be another; None where none is in force any more.
    size : tuple of int, or None
        Rows and columns of the original, where they are known.
    """

    labelled_image_id: int
    master_digest: str
    patient_digest: str
    side: Side
    share: Share | None
    label: ImageClass
    label_version: int
    subgroup: str | None
    origin: LabelOrigin
    traits: Traits
    now: Said | None
    size: tuple[int, int] | None = None

    @property
    def place(self) -> str:
        """What it is counted under: its share of the test set, else its side."""
        return (self.share or self.side).value


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A labelled picture that a snapshot leaves out, and why."""

    labelled_image_id: int
    reason: Reason


@dataclass(frozen=True)
class Manifest:
    """Everything a snapshot holds, each part by number in the ledger.

    Attributes
    ----------
    digest : str
        SHA-256 of the file; empty before it was written.
    test_set : str or None
        Digest of the version of the frozen test set.
    pictures : tuple of Picture
        With pixels.
    gone : tuple of Picture
        Labelled or frozen, and without: retention removed the master, or its file is not there.
    left_out : tuple of LeftOut
    """

    digest: str
    test_set: str | None
    pictures: tuple[Picture, ...]
    gone: tuple[Picture, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    @property
    def patients(self) -> int:
        """How many patients the pictures are of."""
        return len({picture.patient_digest for picture in self.pictures})

    def counts(self) -> dict[str, dict[str, int]]:
        """Return pictures by place (`Picture.place`) and label, every one a key."""
        found = Counter((picture.place, picture.label) for picture in self.pictures)
        return {place.value: {label.value: found[place, label] for label in ImageClass} for place in (*Side, *Share)}


def path_of(data_dir: Path, digest: str) -> Path:
    """Where a manifest lies.

    Raises
    ------
    ValueError
        If `digest` is not 64 hexadecimal digits: it must never lead out of the folder.
    """
    if not _DIGEST.fullmatch(digest):
        raise ValueError("a snapshot's digest is 64 hexadecimal digits")
    return data_dir / FOLDER / f"{digest}.jsonl"


def write(data_dir: Path, manifest: Manifest) -> Manifest:
    """Write a manifest durably, a line at a time, and return it with its digest.

    Repeating it is safe: the same content has the same name, and what lies there
    under it is replaced, should it have been damaged.

    Raises
    ------
    TransientFailure
        If the disk refuses.
    """
    folder = data_dir / FOLDER
    temporary = folder / f".{secrets.token_hex(8)}.tmp"
    digest = hashlib.sha256()
    try:
        make_directories(folder)
        _clear(folder)
        try:
            with temporary.open("xb") as stream:
                temporary.chmod(0o640)
                for line in _lines(manifest):
                    digest.update(line)
                    stream.write(line)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.rename(path_of(data_dir, digest.hexdigest()))
        finally:
            temporary.unlink(missing_ok=True)
        sync_directory(folder)
    except OSError as error:
        message = f"{folder} cannot be written (errno {error.errno}); check space and permissions"
        raise TransientFailure(message) from error
    return replace(manifest, digest=digest.hexdigest())


def read(data_dir: Path, digest: str) -> Manifest:
    """Read a manifest and check it against its digest, before anything of it is believed.

    Raises
    ------
    DatasetError
        If it is not there, damaged, or of a newer release.
    """
    path = path_of(data_dir, digest)
    try:
        with path.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != digest:
                raise DatasetError(f"{path}: its content does not have the digest it is named by; restore it")
            stream.seek(0)
            return _parse(path, digest, (json.loads(line) for line in stream))
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: the snapshot's manifest is not there; restore it") from error


def _clear(folder: Path) -> None:
    """Remove what a killed process left half-written; what another one writes now is no day old."""
    for stray in folder.glob(".*.tmp"):
        with suppress(FileNotFoundError):
            if stray.stat().st_mtime < time.time() - _DAY:
                stray.unlink()


def _lines(manifest: Manifest) -> Iterator[bytes]:
    yield _line({"format": _FORMAT, "test_set": manifest.test_set})
    for what, pictures in (("picture", manifest.pictures), ("gone", manifest.gone)):
        for picture in pictures:
            yield _line({"what": what, **_fields(picture)})
    for one in manifest.left_out:
        yield _line({"what": "left_out", "id": one.labelled_image_id, "reason": one.reason})


def _line(values: Mapping[str, Any]) -> bytes:
    # one spelling, since the digest is over it
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"


def _fields(picture: Picture) -> dict[str, Any]:
    values: dict[str, Any] = {
        "id": picture.labelled_image_id,
        "master": picture.master_digest,
        "patient": picture.patient_digest,
        "side": picture.side,
        "label": picture.label,
        "version": picture.label_version,
        "origin": picture.origin,
        "now": None if picture.now is None else [picture.now.label, picture.now.version, picture.now.subgroup],
    }
    optional = {
        "share": picture.share,
        "subgroup": picture.subgroup,
        "traits": {name: value for name, value in asdict(picture.traits).items() if value is not None},
        "size": picture.size,
    }
    return values | {name: value for name, value in optional.items() if value}


def _parse(path: Path, digest: str, lines: Iterable[Mapping[str, Any]]) -> Manifest:
    rows = iter(lines)
    head = next(rows)
    if head.get("format") != _FORMAT:
        raise DatasetError(f"{path}: written by a newer release of Lungwatch; read it with that one")
    pictures: dict[str, list[Picture]] = {"picture": [], "gone": []}
    left_out = []
    for row in rows:
        if row["what"] == "left_out":
            left_out.append(LeftOut(row["id"], Reason(row["reason"])))
        else:
            pictures[row["what"]].append(_picture(row))
    return Manifest(digest, head["test_set"], tuple(pictures["picture"]), tuple(pictures["gone"]), tuple(left_out))


def _picture(row: Mapping[str, Any]) -> Picture:
    size, now = row.get("size"), row["now"]
    return Picture(
        labelled_image_id=row["id"],
        master_digest=row["master"],
        patient_digest=row["patient"],
        side=Side(row["side"]),
        share=_optional(Share, row.get("share")),
        label=ImageClass(row["label"]),
        label_version=row["version"],
        subgroup=row.get("subgroup"),
        origin=LabelOrigin(row["origin"]),
        traits=Traits(**row.get("traits", {})),
        now=None if now is None else Said(ImageClass(now[0]), *now[1:]),
        size=None if size is None else (size[0], size[1]),
    )


def _optional(words: type[_Word], value: str | None) -> _Word | None:
    return None if value is None else words(value)
