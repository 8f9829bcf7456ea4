"""JPEG 2000 through OpenJPEG, high-throughput JPEG 2000 through OpenJPH (PS3.5 section 8.2.4)."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from imaging.decode.codestream import check, damaged, read_jpeg_2000
from imaging.decode.finish import finish
from imaging.decode.module import PixelModule

_BOX_SIGNATURE: Final = b"\0\0\0\x0cjP  \r\n\x87\n"
_MAXIMUM_BOXES: Final = 100


def decode_jpeg_2000(code: bytes, module: PixelModule) -> NDArray[np.integer]:
    """Return stored values, shape (rows, columns); errors as `decode_htj2k`."""
    return _decode(code, module, imagecodecs.jpeg2k_decode)


def decode_htj2k(code: bytes, module: PixelModule) -> NDArray[np.integer]:
    """Return stored values, shape (rows, columns).

    Raises
    ------
    RejectedInput
        ``DECODE_FAILED`` or ``BAD_PIXEL_MODULE``.
    """
    return _decode(code, module, imagecodecs.htj2k_decode)


def _decode(code: bytes, module: PixelModule, library: Callable[[bytes], Any]) -> NDArray[np.integer]:
    stream = unboxed(code)
    declared = read_jpeg_2000(stream)
    check(declared, module)
    with _unraised() as swallowed:
        try:
            samples = library(stream)
        except (RuntimeError, ValueError) as error:  # imagecodecs' own errors are RuntimeErrors
            raise damaged("cannot be decoded as JPEG 2000") from error
    if swallowed:
        raise damaged("cannot be decoded as JPEG 2000")
    return finish(samples, declared, module)


@contextmanager
def _unraised() -> Iterator[list[type[BaseException]]]:
    """Collect errors that a decoder could not raise.

    imagecodecs copies lines out of OpenJPH in a C function that cannot raise:
    an error half way down is reported to this hook alone, and the rest of the
    array is whatever lay in that memory. One image is decoded at a time in a process.
    """
    swallowed: list[type[BaseException]] = []
    before = sys.unraisablehook
    sys.unraisablehook = lambda report: swallowed.append(report.exc_type)
    try:
        yield swallowed
    finally:
        sys.unraisablehook = before


def unboxed(code: bytes) -> bytes:
    """Return the code stream of a JP2 file: not allowed in DICOM (PS3.5 A.4.4) but met."""
    if bytes(code[: len(_BOX_SIGNATURE)]) != _BOX_SIGNATURE:
        return code
    position = 0
    for _ in range(_MAXIMUM_BOXES):
        if position + 8 > len(code):
            break
        length, kind = struct.unpack_from(">L4s", code, position)
        if kind == b"jp2c":
            return code[position + (16 if length == 1 else 8) :]
        if length < 8:  # noqa: PLR2004 - a box is at least its own header; longer forms only hold code streams
            break
        position += length
    raise damaged("is a JP2 file without a code stream")
