"""The bounded first look at a received file: where its elements lie, before any library parses them.

pydicom reads a value declared longer than the file without complaint, recurses
as deep as the file asks, and corrects a wrong transfer syntax silently. So
every declared length is checked here against what is there, iteratively, with
limits on depth and number, and the pixel data are found without being read.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from core.errors import RejectedInput
from core.part10 import (
    LONG_FORM,
    LONGEST_META,
    META_GROUP,
    PREAMBLE,
    SHORT_FORM,
    TRANSFER_SYNTAX,
    has_preamble,
    meta_elements,
)
from core.transfer_syntaxes import ENCAPSULATED, IMPLICIT_VR_LITTLE_ENDIAN, SUPPORTED_TRANSFER_SYNTAXES
from core.uids import LONGEST_UID
from imaging.reasons import Rejection

_UNDEFINED: Final = 0xFFFFFFFF
_PIXEL_DATA: Final = (0x7FE0, 0x0010)
_DELIMITER_GROUP: Final = 0xFFFE
_ITEM: Final = (0xFFFE, 0xE000)
_ITEM_END: Final = (0xFFFE, 0xE00D)
_SEQUENCE_END: Final = (0xFFFE, 0xE0DD)
# a sequence and its item open a level each
_MAXIMUM_NESTING: Final = 16
_MAXIMUM_LEVELS: Final = 2 * _MAXIMUM_NESTING
_MAXIMUM_ELEMENTS: Final = 200_000
_MAXIMUM_FRAGMENTS: Final = 100_000
# A DX header is tens of kilobytes; lookup tables and private blobs make a few megabytes.
_MAXIMUM_HEADER: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class PixelElement:
    """Where pixel data (7FE0,0010) lie in the file.

    Attributes
    ----------
    fragments : tuple of (int, int)
        Offset and length of each piece, bytes: one for native pixel data; for
        encapsulated data the fragments without the basic offset table.
    encapsulated : bool
        Whether the element has undefined length and is made of items.
    """

    fragments: tuple[tuple[int, int], ...]
    encapsulated: bool


@dataclass(frozen=True, slots=True)
class Skeleton:
    """What the walk found.

    Attributes
    ----------
    transfer_syntax_uid : str
        (0002,0010), one of `SUPPORTED_TRANSFER_SYNTAXES`.
    header_end : int
        Offset of the first byte after the last element before the pixel data.
    pixels : PixelElement or None
        None if the data set has no pixel data.
    """

    transfer_syntax_uid: str
    header_end: int
    pixels: PixelElement | None


@dataclass(slots=True)
class _Level:
    """An open container: `end` is where it must stop, None while a delimiter is awaited."""

    end: int | None
    explicit: bool
    holds_items: bool


@dataclass(frozen=True, slots=True)
class _Element:
    tag: tuple[int, int]
    vr: bytes
    length: int
    value: int


def walk(content: bytes | memoryview) -> Skeleton:
    """Check a whole Part 10 file's structure.

    Parameters
    ----------
    content : bytes or memoryview
        The file; a memory map costs no copy.

    Raises
    ------
    RejectedInput
        ``EMPTY``, ``NOT_DICOM``, ``TRANSFER_SYNTAX``, ``TRUNCATED`` (a length
        reaches beyond the file or its container, or an end is missing), or
        ``BAD_HEADER`` (bytes that are not what the transfer syntax says,
        nesting or number of elements over the limit).

    References
    ----------
    DICOM PS3.10 section 7.1; PS3.5 sections 7.1, 7.5 and A.4.
    """
    size = len(content)
    if size == 0:
        raise RejectedInput(Rejection.EMPTY, "the file has no bytes")
    if not has_preamble(content):
        raise RejectedInput(Rejection.NOT_DICOM, "the file is not DICOM Part 10: no DICM after the preamble")
    syntax, start = _file_meta(content)
    if syntax not in SUPPORTED_TRANSFER_SYNTAXES:
        raise RejectedInput(Rejection.TRANSFER_SYNTAX, "the transfer syntax is not one we decode")
    if start == size:
        raise RejectedInput(Rejection.EMPTY, "the file ends after its meta information: no data set")
    _refuse_mismatch(content, start, explicit=syntax != IMPLICIT_VR_LITTLE_ENDIAN)
    return _data_set(content, start, syntax)


def _file_meta(content: bytes | memoryview) -> tuple[str, int]:
    """Return the transfer syntax and where the data set begins."""
    position, syntax = len(PREAMBLE), ""
    for element in meta_elements(content):
        name = f"element (0002,{element.number:04X})"
        if element.vr not in LONG_FORM | SHORT_FORM:
            raise RejectedInput(Rejection.BAD_HEADER, f"{name} has no known VR")
        if element.length == _UNDEFINED:
            raise RejectedInput(Rejection.BAD_HEADER, f"{name} has undefined length")
        if element.end > len(content):
            there = max(0, len(content) - element.start)
            raise RejectedInput(Rejection.TRUNCATED, f"{name} declares {element.length} bytes, {there} are there")
        if element.number == TRANSFER_SYNTAX and element.length <= LONGEST_UID:
            syntax = element.value(content).rstrip(b"\0 ").decode("ascii", "replace")
        position = element.end
    if bytes(content[position : position + len(META_GROUP)]) == META_GROUP:
        if position >= LONGEST_META:
            raise RejectedInput(Rejection.BAD_HEADER, f"file meta information is longer than {LONGEST_META} bytes")
        raise RejectedInput(Rejection.TRUNCATED, "an element header is cut short")
    if not syntax:
        raise RejectedInput(Rejection.TRANSFER_SYNTAX, "file meta information names no transfer syntax")
    return syntax, position


def _refuse_mismatch(content: bytes | memoryview, start: int, *, explicit: bool) -> None:
    """Tell bytes of the other kind of VR apart by the first element; pydicom would guess and go on."""
    looks_explicit = bytes(content[start + 4 : start + 6]) in LONG_FORM | SHORT_FORM
    if explicit != looks_explicit and start + 8 <= len(content):
        said, found = ("explicit", "implicit") if explicit else ("implicit", "explicit")
        raise RejectedInput(Rejection.BAD_HEADER, f"the transfer syntax says {said} VR, the bytes are {found} VR")


def _read(content: bytes | memoryview, position: int, end: int, *, explicit: bool) -> _Element:
    """Read one element header, and check that its value ends in time."""
    if position + 8 > end:
        raise RejectedInput(Rejection.TRUNCATED, "an element header is cut short")
    group, number = struct.unpack_from("<HH", content, position)
    vr = b""
    if explicit and group != _DELIMITER_GROUP:
        vr = bytes(content[position + 4 : position + 6])
        if vr in SHORT_FORM:
            (length,) = struct.unpack_from("<H", content, position + 6)
            value = position + 8
        elif vr in LONG_FORM:
            if position + 12 > end:
                raise RejectedInput(Rejection.TRUNCATED, "an element header is cut short")
            (length,) = struct.unpack_from("<L", content, position + 8)
            value = position + 12
        else:
            raise RejectedInput(Rejection.BAD_HEADER, f"element ({group:04X},{number:04X}) has no known VR")
    else:
        (length,) = struct.unpack_from("<L", content, position + 4)
        value = position + 8
    if length != _UNDEFINED and value + length > end:
        raise RejectedInput(
            Rejection.TRUNCATED,
            f"element ({group:04X},{number:04X}) declares {length} bytes, {max(0, end - value)} are there",
        )
    return _Element((group, number), vr, length, value)


def _data_set(content: bytes | memoryview, start: int, syntax: str) -> Skeleton:
    size = len(content)
    levels = [_Level(size, syntax != IMPLICIT_VR_LITTLE_ENDIAN, holds_items=False)]
    position, elements = start, 0
    header_end, pixels = size, None
    while levels:
        level = levels[-1]
        if level.end is not None and position == level.end:
            levels.pop()
            continue
        elements += 1
        if elements > _MAXIMUM_ELEMENTS:
            raise RejectedInput(Rejection.BAD_HEADER, f"the header has more than {_MAXIMUM_ELEMENTS} elements")
        end = next(outer.end for outer in reversed(levels) if outer.end is not None)
        element = _read(content, position, end, explicit=level.explicit)
        if element.tag == _PIXEL_DATA and len(levels) == 1:
            if pixels is not None:
                raise RejectedInput(Rejection.BAD_HEADER, "the data set has pixel data twice")
            header_end = position
            pixels, position = _pixels(content, element, syntax)
        elif element.tag == _PIXEL_DATA and element.length == _UNDEFINED:
            _, position = _pixels(content, element, syntax)  # an icon image's own
        else:
            position = _enter(levels, element)
        if len(levels) > _MAXIMUM_LEVELS:
            raise RejectedInput(Rejection.BAD_HEADER, f"sequences are nested more than {_MAXIMUM_NESTING} deep")
    if header_end > _MAXIMUM_HEADER:
        raise RejectedInput(Rejection.OVER_BUDGET, f"the header is larger than {_MAXIMUM_HEADER >> 20} MiB")
    return Skeleton(syntax, header_end, pixels)


def _enter(levels: list[_Level], element: _Element) -> int:
    """Open, close or skip what an element header announces; return where the next one lies."""
    level = levels[-1]
    if element.tag in {_ITEM_END, _SEQUENCE_END}:
        closes_items = element.tag == _SEQUENCE_END
        if len(levels) == 1 or level.end is not None or level.holds_items != closes_items or element.length:
            raise RejectedInput(Rejection.BAD_HEADER, "a delimiter stands where nothing is open")
        levels.pop()
        return element.value
    if level.holds_items != (element.tag == _ITEM):
        raise RejectedInput(Rejection.BAD_HEADER, "items and elements are mixed up in a sequence")
    stop = None if element.length == _UNDEFINED else element.value + element.length
    if level.holds_items:
        levels.append(_Level(stop, level.explicit, holds_items=False))
    elif element.vr == b"SQ":
        levels.append(_Level(stop, level.explicit, holds_items=True))
    elif element.length == _UNDEFINED:
        if element.vr not in {b"UN", b""}:
            raise RejectedInput(Rejection.BAD_HEADER, "an element that is no sequence has undefined length")
        # PS3.5 6.2.2: UN of undefined length is a sequence in implicit VR
        levels.append(_Level(None, explicit=False, holds_items=True))
    else:
        assert stop is not None  # noqa: S101 - for the type checker: a defined length has an end
        return stop
    return element.value


def _pixels(content: bytes | memoryview, element: _Element, syntax: str) -> tuple[PixelElement, int]:
    encapsulated = element.length == _UNDEFINED
    if encapsulated != (syntax in ENCAPSULATED):
        raise RejectedInput(Rejection.BAD_HEADER, "pixel data are not in the form that the transfer syntax says")
    if not encapsulated:
        return PixelElement(((element.value, element.length),), encapsulated=False), element.value + element.length
    position, pieces = element.value, []
    while True:
        item = _read(content, position, len(content), explicit=False)
        if item.tag == _SEQUENCE_END:
            break
        if item.tag != _ITEM or item.length == _UNDEFINED:
            raise RejectedInput(Rejection.BAD_HEADER, "encapsulated pixel data hold something that is no fragment")
        pieces.append((item.value, item.length))
        position = item.value + item.length
        if len(pieces) > _MAXIMUM_FRAGMENTS:
            raise RejectedInput(Rejection.BAD_HEADER, f"pixel data have more than {_MAXIMUM_FRAGMENTS} fragments")
    # the first item is the basic offset table, empty or not (PS3.5 A.4); one frame needs none
    return PixelElement(tuple(pieces[1:]), encapsulated=True), item.value
