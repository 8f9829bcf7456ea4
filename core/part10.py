"""File meta information, read one element after the other; the tables that tell how long an element's header is.

Everybody who looks into a received file before a parser does (the registrar,
the fingerprint, the first look of the decode helper) looks through here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

PREAMBLE: Final = bytes(128) + b"DICM"
# PS3.5 tables 7.1-1 and 7.1-2: the first have a 32-bit length after two reserved bytes, the others one of 16 bits
LONG_FORM: Final = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
SHORT_FORM: Final = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
# devices write some hundred bytes; no element of file meta begins further in than this
LONGEST_META: Final = 1 << 16
META_GROUP: Final = b"\x02\x00"
SOP_CLASS_UID: Final = 0x0002
SOP_INSTANCE_UID: Final = 0x0003
TRANSFER_SYNTAX: Final = 0x0010
SENDING_AE_TITLE: Final = 0x0017
SOURCE_ADDRESS: Final = 0x0026
_SHORT_HEADER: Final = 8
_LONG_HEADER: Final = 12


@dataclass(frozen=True, slots=True)
class MetaElement:
    """One element of group 0002.

    Attributes
    ----------
    number : int
        Its element number.
    vr : bytes
        As it stands there, known or not.
    start : int
        Offset of its value in the file, bytes.
    length : int
        As declared, bytes; may reach beyond what was given.
    """

    number: int
    vr: bytes
    start: int
    length: int

    @property
    def end(self) -> int:
        """Return the offset after the declared value."""
        return self.start + self.length

    def value(self, head: bytes | memoryview) -> bytes:
        """Return what is there of the value, of the bytes it was found in."""
        return bytes(head[self.start : self.end])


def has_preamble(head: bytes | memoryview) -> bool:
    """Return whether this begins like a Part 10 file: ``DICM`` after 128 bytes of anything (PS3.10 section 7.1)."""
    return bytes(head[128 : len(PREAMBLE)]) == PREAMBLE[128:]


def meta_elements(head: bytes | memoryview) -> Iterator[MetaElement]:
    """Walk over file meta information, which is explicit VR little endian whatever follows it (PS3.10 section 7.1).

    Never fails: it ends where another group begins, where an element's header
    is not wholly there, and `LONGEST_META` bytes into the file.

    Parameters
    ----------
    head : bytes or memoryview
        A Part 10 file from its first byte, as much of it as the caller cares to read.
    """
    if not has_preamble(head):
        return
    position = len(PREAMBLE)
    while position < LONGEST_META and position + _SHORT_HEADER <= len(head):
        group, number, vr, length = struct.unpack_from("<2sH2sH", head, position)
        if group != META_GROUP:
            return
        start = position + _SHORT_HEADER
        # PS3.5 7.1.2: a VR that is yet to be invented has the long form too
        if vr not in SHORT_FORM:
            start = position + _LONG_HEADER
            if start > len(head):
                return
            (length,) = struct.unpack_from("<L", head, position + _SHORT_HEADER)
        element = MetaElement(number, vr, start, length)
        yield element
        position = element.end
