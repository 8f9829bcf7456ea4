"""What a code stream says of itself, read before a decoder may believe it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from core.errors import RejectedInput
from imaging.decode.module import PixelModule
from imaging.reasons import Rejection

_MARKERS: Final = 0xFF
_START: Final = b"\xff\xd8"
_END: Final = b"\xff\xd9"
# Frame headers, ISO/IEC 10918-1 table B.1 and ISO/IEC 14495-1 C.1; C4, C8 and CC are other things
_FRAMES: Final = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
_SCAN: Final = 0xDA
_MAXIMUM_SEGMENTS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Declared:
    """Dimensions a code stream declares.

    Attributes
    ----------
    process : int
        Second byte of the JPEG frame marker; 0 for JPEG 2000.
    precision : int
        Bits of a sample.
    signed : bool
        Whether samples are two's complement; JPEG and JPEG-LS know none.
    regular : bool
        JPEG 2000: whether image and tiles begin at the origin of the reference grid and each of its points is a
        sample, so that one may say where the samples of a lower resolution lie.
    missing_tiles : int
        JPEG 2000: tiles that the image's size asks for and the stream does not have.
    """

    rows: int
    columns: int
    components: int
    precision: int
    process: int = 0
    signed: bool = False
    regular: bool = True
    missing_tiles: int = 0


def damaged(what: str) -> RejectedInput:
    """Build the rejection of a code stream that is not whole."""
    return RejectedInput(Rejection.DECODE_FAILED, f"the code stream {what}")


def check(declared: Declared, module: PixelModule) -> None:
    """Hold a code stream's dimensions against the header's.

    Raises
    ------
    RejectedInput
        ``BAD_PIXEL_MODULE`` unless they agree; it is never decoded then, so
        a small stream cannot claim memory the header's budget did not grant.
        ``DECODE_FAILED`` if tiles of the image are missing: decoders leave them black.
    """
    if (declared.rows, declared.columns) != (module.rows, module.columns):
        raise RejectedInput(
            Rejection.BAD_PIXEL_MODULE,
            f"the code stream declares {declared.rows} x {declared.columns} pixels, "
            f"the header {module.rows} x {module.columns}",
        )
    if declared.components != 1:
        raise RejectedInput(Rejection.BAD_PIXEL_MODULE, f"the code stream has {declared.components} components, not 1")
    if not 1 <= declared.precision <= module.bits_allocated:
        raise RejectedInput(
            Rejection.BAD_PIXEL_MODULE,
            f"the code stream has {declared.precision} bits a sample, the header allocates {module.bits_allocated}",
        )
    if declared.missing_tiles:
        raise damaged(f"lacks {declared.missing_tiles} of its tiles")


def _ends(code: bytes | memoryview) -> bool:
    """Return whether the last marker is the end; an odd stream is padded with 0 (PS3.5 8.2), by some with FF."""
    return bytes(code[-64:]).rstrip(b"\0\xff").endswith(_END)


def read_jpeg(code: bytes | memoryview) -> Declared:
    """Read the frame header of JPEG (ISO/IEC 10918-1) or JPEG-LS (ISO/IEC 14495-1).

    Raises
    ------
    RejectedInput
        ``DECODE_FAILED`` if the stream does not begin or end as one, or a
        segment reaches beyond it. The end matters: decoders fill what is
        missing with grey and report nothing.
    """
    if bytes(code[:2]) != _START:
        raise damaged("does not begin with a JPEG start of image")
    if not _ends(code):
        raise damaged("is cut short: it has no end of image")
    position = 2
    for _ in range(_MAXIMUM_SEGMENTS):
        while position + 4 <= len(code) and code[position] == _MARKERS and code[position + 1] == _MARKERS:
            position += 1  # fill bytes, B.1.1.2
        if position + 4 > len(code) or code[position] != _MARKERS:
            break
        marker = code[position + 1]
        (length,) = struct.unpack_from(">H", code, position + 2)
        if marker == _SCAN or position + 2 + length > len(code):
            break
        if marker in _FRAMES:
            if length < 8:  # noqa: PLR2004 - precision, rows, columns, components
                break
            precision, rows, columns, components = struct.unpack_from(">BHHB", code, position + 4)
            return Declared(rows, columns, components, precision, marker)
        position += 2 + length
    raise damaged("has no JPEG frame header before its first scan")


def read_jpeg_2000(code: bytes | memoryview) -> Declared:
    """Read the image size of a JPEG 2000 code stream and check that its tile parts are all there.

    Raises
    ------
    RejectedInput
        ``DECODE_FAILED`` if the main header or a tile part is cut short.

    References
    ----------
    ISO/IEC 15444-1 annexes A.4.2 (SOT), A.5.1 (SIZ) and B.3 (number of tiles).
    """
    if len(code) < 42 or bytes(code[:4]) != b"\xff\x4f\xff\x51":  # noqa: PLR2004 - SOC and SIZ of one component
        raise damaged("does not begin with a JPEG 2000 main header")
    right, bottom, left, top = struct.unpack_from(">4L", code, 8)
    (components,) = struct.unpack_from(">H", code, 40)
    if len(code) < 45:  # noqa: PLR2004 - Ssiz, XRsiz, YRsiz of the first component
        raise damaged("does not begin with a JPEG 2000 main header")
    depth, *steps = code[42:45]
    if right <= left or bottom <= top:
        raise damaged("declares an empty image")
    tile_width, tile_height, tile_left, tile_top = struct.unpack_from(">4L", code, 24)
    if not tile_width or not tile_height:
        raise damaged("declares empty tiles")
    tiles = -((tile_left - right) // tile_width) * -((tile_top - bottom) // tile_height)
    found = _tiles(code)
    return Declared(
        bottom - top,
        right - left,
        components,
        (depth & 0x7F) + 1,
        signed=bool(depth & 0x80),
        regular=steps == [1, 1] and not any((left, top, tile_left, tile_top)),
        missing_tiles=max(0, tiles - found),
    )


def _tiles(code: bytes | memoryview) -> int:
    """Count the tiles of a code stream whose tile parts are all there."""
    position, seen = 2, set[int]()
    for _ in range(_MAXIMUM_SEGMENTS * 10):
        if position + 2 > len(code) or code[position] != _MARKERS:
            break
        marker = code[position + 1]
        if marker == 0xD9:  # noqa: PLR2004 - EOC
            return len(seen)
        if position + 4 > len(code):
            break
        (length,) = struct.unpack_from(">H", code, position + 2)
        if marker == 0x90 and position + 12 <= len(code):  # noqa: PLR2004 - SOT
            tile, part = struct.unpack_from(">HL", code, position + 4)
            seen.add(tile)
            if part == 0:  # the last tile part, up to the end of the stream
                if _ends(code):
                    return len(seen)
                break
            if part < 12:  # noqa: PLR2004 - a tile part is at least its own header
                break
            position += part
        else:
            position += 2 + length
    raise damaged("is cut short: a tile part or the end of code stream is missing")
