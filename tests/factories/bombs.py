"""Small objects that would cost a naive reader its memory, its time or its life.

    from tests.factories.bombs import BOMBS

`BOMBS` names each and says in which state it must end, and why.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import imagecodecs
import numpy as np
from pydicom import Dataset, uid
from pydicom.encaps import encapsulate

from db.vocabulary import ReceiptState
from tests.factories.dicom_objects import part10, phantom
from tests.peers.data_sets import ITEM_END, SEQUENCE_END, UNDEFINED, element, item

WIDEST: Final = 65535
_EXPLICIT: Final = b"1.2.840.10008.1.2.1\0"
_DEFLATED: Final = b"1.2.840.10008.1.2.1.99"


def rle_fragment(rows: int, columns: int, frames: int | None = None) -> bytes:
    """An RLE header and one run: 66 bytes."""
    fragment = struct.pack("<16L", 1, 64, *[0] * 14) + b"\x81\x00"
    assert len(fragment) == 66
    return part10(_with_pixels(_of(rows, columns, frames, bits=8), fragment))


def code_stream(rows: int, columns: int, *, declared: int = WIDEST) -> bytes:
    """A JPEG 2000 code stream of one pixel that says it has `declared` squared."""
    stream = bytearray(imagecodecs.jpeg2k_encode(np.zeros((1, 1), np.uint8), codecformat="j2k", reversible=True))
    # XSiz and YSiz, then those of the tile (ITU-T T.800 A.5.1)
    struct.pack_into(">2L", stream, stream.index(b"\xff\x51") + 6, declared, declared)
    struct.pack_into(">2L", stream, stream.index(b"\xff\x51") + 22, declared, declared)
    dataset = _of(rows, columns, None, bits=8, syntax=uid.JPEG2000Lossless)
    return part10(_with_pixels(dataset, bytes(stream) + bytes(len(stream) % 2)))


def rle_runs(rows: int, columns: int, pixels: int) -> bytes:
    """Two planes of runs of zeros that come to so many pixels, whatever the header says."""
    plane = b"\x81\x00" * (-(-pixels // 128))
    fragment = struct.pack("<16L", 2, 64, 64 + len(plane), *[0] * 13) + plane + plane
    return part10(_with_pixels(_of(rows, columns, None, bits=12), fragment))


def deflated(megabytes: int = 2048) -> bytes:
    """A data set in the deflated syntax, zeros after its first elements: a thousandth of what it inflates to."""
    content = part10(phantom())
    start = content.index(b"\x08\x00\x05\x00CS")
    packer = zlib.compressobj(wbits=-15)
    head = packer.compress(content[start:]) + packer.flush(zlib.Z_FULL_FLUSH)
    # after a full flush each block stands for itself, so that one may be repeated
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    syntax = content.index(_EXPLICIT)
    meta = content[: syntax - 2] + struct.pack("<H", len(_DEFLATED)) + _DEFLATED
    return meta + content[syntax + len(_EXPLICIT) : start] + head + block * megabytes + packer.flush()


def nested(levels: int) -> bytes:
    """Sequences of undefined length, one in the other."""
    content = part10(phantom())
    start = content.index(b"\x08\x00\x05\x00CS")
    opened = element(0x00081140, "SQ", b"", length=UNDEFINED) + item(b"", length=UNDEFINED)
    return content[:start] + opened * levels + (ITEM_END + SEQUENCE_END) * levels + content[start:]


def native(rows: int, columns: int) -> bytes:
    """Uncompressed pixels, of which there are far fewer than declared."""
    dataset = phantom()
    dataset.Rows, dataset.Columns = rows, columns
    return part10(dataset)


@dataclass(frozen=True)
class Bomb:
    """One of them, and how it must end."""

    make: Callable[[], bytes]
    state: ReceiptState
    reason: str


_QUARANTINED: Final = ReceiptState.QUARANTINED
BOMBS: Final = {
    "66 bytes of RLE, widest": Bomb(lambda: rle_fragment(WIDEST, WIDEST), _QUARANTINED, "OVER_BUDGET"),
    "66 bytes of RLE, 1000 frames": Bomb(
        lambda: rle_fragment(WIDEST, WIDEST, 1000), ReceiptState.OUT_OF_SCOPE, "MULTI_FRAME"
    ),
    "a JPEG 2000 of one pixel, widest": Bomb(lambda: code_stream(WIDEST, WIDEST), _QUARANTINED, "OVER_BUDGET"),
    "a JPEG 2000 wider than its header": Bomb(lambda: code_stream(64, 64), _QUARANTINED, "BAD_PIXEL_MODULE"),
    "native, widest": Bomb(lambda: native(WIDEST, WIDEST), _QUARANTINED, "OVER_BUDGET"),
    "RLE of 20000 squared": Bomb(lambda: rle_runs(20_000, 20_000, 20_000**2), _QUARANTINED, "OVER_BUDGET"),
    "RLE that holds more than its header says": Bomb(
        lambda: rle_runs(96, 128, 20_000**2), _QUARANTINED, "DECODE_FAILED"
    ),
    "deflated from 2 GB": Bomb(deflated, _QUARANTINED, "TRANSFER_SYNTAX"),
    "200 nested sequences": Bomb(lambda: nested(200), _QUARANTINED, "BAD_HEADER"),
    "50,000 nested sequences": Bomb(lambda: nested(50_000), _QUARANTINED, "BAD_HEADER"),
}


def _of(rows: int, columns: int, frames: int | None, *, bits: int, syntax: uid.UID = uid.RLELossless) -> Dataset:
    dataset = phantom(bits_stored=bits, syntax=syntax)
    dataset.Rows, dataset.Columns = rows, columns
    if frames is not None:
        dataset.NumberOfFrames = frames
    return dataset


def _with_pixels(dataset: Dataset, fragment: bytes) -> Dataset:
    dataset.PixelData = encapsulate([fragment])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return dataset
