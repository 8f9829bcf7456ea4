"""What a request for storage commitment asks for, read while it arrives (PS3.4 Table J.3-1).

The listener reads it to refuse at once what nobody could answer, the worker to
answer it; so both agree on what is a request. Nothing recurses, nothing is
kept but UIDs, and of those at most `MOST_REFERENCES` pairs.
"""

from __future__ import annotations

import struct
from collections.abc import Generator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from core.part10 import LONG_FORM, SHORT_FORM
from core.uids import LONGEST_UID, is_uid
from core.walking import HEADER, LONG_LENGTH, Walker, Want

STORAGE_COMMITMENT_PUSH_MODEL: Final = "1.2.840.10008.1.20.1"
WELL_KNOWN_INSTANCE: Final = "1.2.840.10008.1.20.1.1"
# action and event types of PS3.4 J.3.2 and J.3.3
REQUEST_STORAGE_COMMITMENT: Final = 1
COMMITTED: Final = 1
FAILURES_EXIST: Final = 2

# each takes some 130 bytes in the request
MOST_REFERENCES: Final = 20_000
LARGEST: Final = 4 << 20
_MOST_STEPS: Final = 400_000
_DEEPEST: Final = 16

_UNDEFINED: Final = 0xFFFFFFFF
_DELIMITERS: Final = 0xFFFE
_TRANSACTION_UID: Final = (0x0008, 0x1195)
_REFERENCED_SOP_SEQUENCE: Final = (0x0008, 0x1199)
_OF_THE_REQUEST: Final = (_TRANSACTION_UID,)
# Referenced SOP Class UID and Referenced SOP Instance UID, as in `Reference`
_OF_A_REFERENCE: Final = ((0x0008, 0x1150), (0x0008, 0x1155))


class Flaw(StrEnum):
    """Why nobody could answer a request."""

    UNPARSABLE = "UNPARSABLE"
    MISTYPED = "MISTYPED"
    BAD_TRANSACTION_UID = "BAD_TRANSACTION_UID"
    NO_REFERENCES = "NO_REFERENCES"
    BAD_REFERENCE = "BAD_REFERENCE"
    TOO_LARGE = "TOO_LARGE"


class Reference(NamedTuple):
    """One instance that commitment is asked for."""

    sop_class_uid: str
    sop_instance_uid: str


class _Flawed(Exception):
    def __init__(self, flaw: Flaw) -> None:
        super().__init__(flaw)
        self.flaw = flaw


@dataclass(frozen=True, slots=True)
class _Open:
    """A sequence or item that was entered.

    `end` is where it must stop, None while a delimiter is awaited; `ours` says
    that it is the sequence of references or one of them.
    """

    end: int | None
    explicit: bool
    holds_items: bool
    ours: bool


class RequestReader(Walker[Flaw]):
    """Reads an encoded data set: `feed` any number of times, then `finish`.

    Parameters
    ----------
    explicit : bool
        Whether the transfer syntax, little endian, has explicit VRs.
    keep : bool
        Whether to collect the references, or only to check them.

    Attributes
    ----------
    transaction_uid : str or None
        (0008,1195), once it was read.
    references : list of Reference
        In the order of the request; empty unless `keep`.
    count : int
        How many were read.
    """

    __slots__ = ("_explicit", "_item", "_keep", "_open", "_position", "count", "references", "transaction_uid")

    def __init__(self, *, explicit: bool, keep: bool) -> None:
        self.transaction_uid: str | None = None
        self.references: list[Reference] = []
        self.count = 0
        self._keep = keep
        self._explicit = explicit
        self._open: list[_Open] = []
        self._item: dict[tuple[int, int], str] = {}
        # how far the walk has come
        self._position = 0
        super().__init__(self._walk())

    @property
    def flaw(self) -> Flaw | None:
        """What is wrong already; whatever may still come, nobody could answer it."""
        return self._found

    def finish(self) -> Flaw | None:
        """Return what is wrong with the request, now that all has arrived; None if it can be answered."""
        if self._found is None:
            self._found = self._judge()
        return self._found

    def _judge(self) -> Flaw | None:
        try:
            self._close_what_ends_here()
        except _Flawed as flawed:
            return flawed.flaw
        if self._open or not self._may_end():
            return Flaw.UNPARSABLE
        if self.transaction_uid is None:
            return Flaw.BAD_TRANSACTION_UID
        return None if self.count else Flaw.NO_REFERENCES

    def _walk(self) -> Generator[Want, bytes, Flaw]:
        try:
            for _ in range(_MOST_STEPS):
                header = yield HEADER
                self._close_what_ends_here()
                self._position += HEADER.size
                self._require_room(0)
                group, number = struct.unpack_from("<HH", header)
                if group == _DELIMITERS:
                    self._delimiter(number, *struct.unpack_from("<L", header, 4))
                else:
                    yield from self._element((group, number), header)
        except _Flawed as flawed:
            return flawed.flaw
        return Flaw.TOO_LARGE

    def _close_what_ends_here(self) -> None:
        while self._open and self._open[-1].end == self._position:
            self._close()

    def _require_room(self, size: int) -> None:
        """Refuse what reaches beyond the end of what it is in."""
        end = next((one.end for one in reversed(self._open) if one.end is not None), None)
        if end is not None and self._position + size > end:
            raise _Flawed(Flaw.UNPARSABLE)

    def _delimiter(self, number: int, length: int) -> None:
        within = self._open[-1] if self._open else None
        match number:
            case 0xE000 if within is not None and within.holds_items:
                self._enter(length, explicit=within.explicit, holds_items=False, ours=within.ours)
            case 0xE00D if within is not None and not within.holds_items and within.end is None:
                self._close()
            case 0xE0DD if within is not None and within.holds_items and within.end is None:
                self._close()
            case _:
                raise _Flawed(Flaw.UNPARSABLE)

    def _element(self, tag: tuple[int, int], header: bytes) -> Generator[Want, bytes, None]:
        within = self._open[-1] if self._open else None
        if within is not None and within.holds_items:
            raise _Flawed(Flaw.UNPARSABLE)
        explicit = self._explicit if within is None else within.explicit
        vr = header[4:6] if explicit else b""
        if not explicit:
            (length,) = struct.unpack_from("<L", header, 4)
        elif vr in SHORT_FORM:
            (length,) = struct.unpack_from("<H", header, 6)
        elif vr in LONG_FORM:
            (length,) = struct.unpack("<L", (yield LONG_LENGTH))
            self._position += LONG_LENGTH.size
        else:
            raise _Flawed(Flaw.UNPARSABLE)
        if within is None and tag == _REFERENCED_SOP_SEQUENCE:
            _expect(vr, b"SQ")
            self._enter(length, explicit=explicit, holds_items=True, ours=True)
        elif tag in (_OF_THE_REQUEST if within is None else _OF_A_REFERENCE if within.ours else ()):
            _expect(vr, b"UI")
            yield from self._uid(tag, length)
        elif length == _UNDEFINED:
            if vr not in {b"SQ", b"UN", b""}:
                raise _Flawed(Flaw.UNPARSABLE)
            # PS3.5 6.2.2: UN of undefined length is a sequence in implicit VR
            self._enter(length, explicit=explicit and vr != b"UN", holds_items=True, ours=False)
        else:
            self._require_room(length)
            yield Want(length, kept=False)
            self._position += length

    def _uid(self, tag: tuple[int, int], length: int) -> Generator[Want, bytes, None]:
        flaw = Flaw.BAD_TRANSACTION_UID if tag == _TRANSACTION_UID else Flaw.BAD_REFERENCE
        if length > LONGEST_UID:
            raise _Flawed(flaw)
        self._require_room(length)
        value = (yield Want(length, kept=True)).rstrip(b"\0 ").decode("ascii", errors="replace")
        self._position += length
        twice = self.transaction_uid is not None if tag == _TRANSACTION_UID else tag in self._item
        if twice or not is_uid(value):
            raise _Flawed(flaw)
        if tag == _TRANSACTION_UID:
            self.transaction_uid = value
        else:
            self._item[tag] = value

    def _enter(self, length: int, *, explicit: bool, holds_items: bool, ours: bool) -> None:
        if len(self._open) >= _DEEPEST:
            raise _Flawed(Flaw.UNPARSABLE)
        end = None
        if length != _UNDEFINED:
            self._require_room(length)
            end = self._position + length
        self._open.append(_Open(end, explicit, holds_items, ours))

    def _close(self) -> None:
        closed = self._open.pop()
        if not closed.ours or closed.holds_items:
            return
        item, self._item = self._item, {}
        if len(item) != len(_OF_A_REFERENCE):
            raise _Flawed(Flaw.BAD_REFERENCE)
        if self.count == MOST_REFERENCES:
            raise _Flawed(Flaw.TOO_LARGE)
        self.count += 1
        if self._keep:
            self.references.append(Reference(*(item[tag] for tag in _OF_A_REFERENCE)))


def _expect(vr: bytes, expected: bytes) -> None:
    """Refuse a VR that an explicit transfer syntax gives and PS3.6 does not."""
    if vr not in {expected, b""}:
        raise _Flawed(Flaw.MISTYPED)
