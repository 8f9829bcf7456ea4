"""Reading a spooled request back, as the listener left it."""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from core.commitment_request import LARGEST, Reference, RequestReader
from core.errors import RejectedInput
from core.part10 import LONGEST_META, SOURCE_ADDRESS, TRANSFER_SYNTAX, meta_elements
from core.peers import Address
from core.spool import Entry
from core.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from db.vocabulary import Unreported

_LARGEST_FILE: Final = LARGEST + LONGEST_META
_EXPLICIT: Final = {EXPLICIT_VR_LITTLE_ENDIAN: True, IMPLICIT_VR_LITTLE_ENDIAN: False}


@dataclass(frozen=True, slots=True)
class Spooled:
    """One request.

    Attributes
    ----------
    transaction_uid : str
        (0008,1195), which the report repeats.
    references : tuple of Reference
        What commitment is asked for, at least one, in order.
    source : Address or None
        Where the request came from.
    """

    transaction_uid: str
    references: tuple[Reference, ...]
    source: Address | None


def read(path: Path, entry: Entry) -> Spooled:
    """Read a request.

    Raises
    ------
    FileNotFoundError
        If it is gone.
    OSError
        If the disk fails.
    RejectedInput
        ``UNREADABLE``: not what the listener wrote, or nothing that can be answered.
    """
    with path.open("rb") as stream:
        content = stream.read(_LARGEST_FILE + 1)
    if len(content) > _LARGEST_FILE or hashlib.sha256(content).hexdigest() != entry.sha256:
        raise RejectedInput(Unreported.UNREADABLE, "the spooled request is not what the listener wrote")
    meta, start = {}, 0
    for element in meta_elements(content):
        meta[element.number] = element.value(content).rstrip(b"\0 ").decode("ascii", errors="replace")
        start = element.end
    explicit = _EXPLICIT.get(meta.get(TRANSFER_SYNTAX, ""))
    if explicit is None:
        raise RejectedInput(Unreported.UNREADABLE, "the spooled request is in a transfer syntax we do not accept")
    reader = RequestReader(explicit=explicit, keep=True)
    reader.feed(memoryview(content)[start:])
    flaw = reader.finish()
    if flaw is not None or reader.transaction_uid is None:
        raise RejectedInput(Unreported.UNREADABLE, f"nobody could answer the request ({flaw})")
    return Spooled(reader.transaction_uid, tuple(reader.references), _address(meta.get(SOURCE_ADDRESS, "")))


def _address(uri: str) -> Address | None:
    try:
        return ipaddress.ip_address(urlsplit(uri).hostname or "")
    except ValueError:
        return None
