"""What tells two deliveries of one instance apart before anything is decoded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from core.errors import RejectedInput, TransientFailure
from core.part10 import LONGEST_META, PREAMBLE, TRANSFER_SYNTAX, has_preamble, meta_elements
from imaging.reasons import Rejection

_GROUP_LENGTH: Final = b"\x02\x00\x00\x00UL\x04\x00"
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Digests of one stored file.

    Attributes
    ----------
    dataset_sha256 : str or None
        SHA-256 over transfer syntax UID, a NUL and the data set's bytes as received. The file
        meta information that the listener wrote names the sender and is left out, so that one
        instance sent by two peers, or twice, is recognised. None where the file has no readable
        file meta information.
    """

    dataset_sha256: str | None


def fingerprint(path: Path, sha256: str) -> Fingerprint:
    """Check a file against the digest in its entry's name, and take its data set's digest, in one pass.

    Parameters
    ----------
    path : Path
        A Part 10 file (PS3.10 section 7.1).
    sha256 : str
        What the listener acknowledged, 64 hexadecimal digits.

    Raises
    ------
    RejectedInput
        MISSING_FILE or DIGEST_MISMATCH: what we acknowledged is not what lies on the disk.
    TransientFailure
        If the disk refuses, or the file's whole directory is not there.
    """
    try:
        with path.open("rb") as stream:
            whole, dataset = _digest(stream)
    except FileNotFoundError:
        if not path.parent.is_dir():
            message = "the directory of a received file is not there; is its disk mounted?"
            raise TransientFailure(message) from None
        detail = "the file is gone from the spool; send the study again"
        raise RejectedInput(Rejection.MISSING_FILE, detail) from None
    except OSError as error:
        message = f"a received file cannot be read (errno {error.errno}); check its disk and permissions"
        raise TransientFailure(message) from error
    if whole != sha256:
        detail = "the file changed on disk after it was acknowledged; check the disk and send the study again"
        raise RejectedInput(Rejection.DIGEST_MISMATCH, detail)
    return Fingerprint(dataset)


def _digest(stream: BinaryIO) -> tuple[str, str | None]:
    head = stream.read(len(PREAMBLE) + 12)
    whole = hashlib.sha256(head)
    meta_length = _meta_length(head)
    if meta_length is None:
        _feed(stream, whole.update)
        return whole.hexdigest(), None
    meta = stream.read(meta_length)
    whole.update(meta)
    syntax = _transfer_syntax(head + meta)
    dataset = hashlib.sha256((syntax or b"") + b"\0")

    def both(chunk: bytes) -> None:
        whole.update(chunk)
        dataset.update(chunk)

    _feed(stream, both)
    return whole.hexdigest(), None if syntax is None else dataset.hexdigest()


def _feed(stream: BinaryIO, update: Callable[[bytes], None]) -> None:
    while chunk := stream.read(_CHUNK):
        update(chunk)


def _meta_length(head: bytes) -> int | None:
    """Return (0002,0000) File Meta Information Group Length, or None where there is none."""
    at = len(PREAMBLE)
    if not has_preamble(head) or head[at : at + len(_GROUP_LENGTH)] != _GROUP_LENGTH or len(head) != at + 12:
        return None
    length = int.from_bytes(head[-4:], "little")
    # our listener writes a few hundred bytes; nothing longer is ours
    return length if length <= LONGEST_META else None


def _transfer_syntax(head: bytes) -> bytes | None:
    """Find (0002,0010) Transfer Syntax UID."""
    for element in meta_elements(head):
        if element.number == TRANSFER_SYNTAX:
            return element.value(head).rstrip(b"\0 ")
    return None
