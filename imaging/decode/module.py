"""The pixel module: what the header says the pixel data are, checked before a byte of them is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from core.errors import RejectedInput
from imaging.elements import number, raw, text
from imaging.header import OVERLAY_BIT_POSITIONS
from imaging.reasons import Rejection

_LARGEST_SIDE: Final = 65535
_CONTAINERS: Final = (8, 16)
# Stray bits above Bits Stored are tolerated in this share of pixels: padding is often written wider than the image.
_STRAY_SHARE: Final = 0.01


@dataclass(frozen=True, slots=True)
class PixelModule:
    """Image pixel description, PS3.3 C.7.6.3, for one frame of one sample a pixel.

    Attributes
    ----------
    rows, columns : int
        (0028,0010), (0028,0011).
    bits_allocated : int
        (0028,0100), 8 or 16.
    bits_stored : int
        (0028,0101), 1 to `bits_allocated`.
    high_bit : int
        (0028,0102); values lie in bits ``high_bit - bits_stored + 1`` to ``high_bit``.
    signed : bool
        (0028,0103): two's complement.
    monochrome1 : bool
        (0028,0004): the smallest value is shown white.
    has_overlay_bits : bool
        Whether unused bits of the pixel data hold overlays.
    """

    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    monochrome1: bool
    has_overlay_bits: bool = False

    @property
    def shift(self) -> int:
        """Bits below the lowest stored one."""
        return self.high_bit + 1 - self.bits_stored

    @property
    def decoded_bytes(self) -> int:
        """Size of the stored values, bytes."""
        return self.rows * self.columns * self.bits_allocated // 8

    @property
    def container(self) -> np.dtype[np.unsignedinteger]:
        """Unsigned little-endian type of `bits_allocated` bits."""
        return np.dtype("u1") if self.bits_allocated == 8 else np.dtype("<u2")  # noqa: PLR2004 - bits in a byte


def read_pixel_module(dataset: Dataset) -> PixelModule:
    """Read and check the pixel module.

    Raises
    ------
    RejectedInput
        ``BAD_PIXEL_MODULE``, naming the element that is missing or impossible.
    """

    def required(keyword: str, low: int, high: int) -> int:
        value = number(dataset, keyword)
        if value is None or not low <= value <= high:
            stated = "missing" if value is None else str(value)
            raise RejectedInput(Rejection.BAD_PIXEL_MODULE, f"{keyword} is {stated}, expected {low} to {high}")
        return value

    required("SamplesPerPixel", 1, 1)
    frames = number(dataset, "NumberOfFrames")
    if frames not in {None, 1}:
        raise RejectedInput(Rejection.BAD_PIXEL_MODULE, f"NumberOfFrames is {frames}, expected 1")
    photometric = text(dataset, "PhotometricInterpretation").strip().upper()
    if photometric not in {"MONOCHROME1", "MONOCHROME2"}:
        raise RejectedInput(Rejection.BAD_PIXEL_MODULE, "PhotometricInterpretation is not MONOCHROME1 or MONOCHROME2")
    allocated = required("BitsAllocated", 1, 64)
    if allocated not in _CONTAINERS:
        raise RejectedInput(Rejection.BAD_PIXEL_MODULE, f"BitsAllocated is {allocated}; radiographs have 8 or 16")
    stored = required("BitsStored", 1, allocated)
    return PixelModule(
        rows=required("Rows", 1, _LARGEST_SIDE),
        columns=required("Columns", 1, _LARGEST_SIDE),
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=required("HighBit", stored - 1, allocated - 1),
        signed=bool(required("PixelRepresentation", 0, 1)),
        monochrome1=photometric == "MONOCHROME1",
        has_overlay_bits=any(bool(raw(dataset, tag)) for tag in OVERLAY_BIT_POSITIONS),
    )


def check_budget(module: PixelModule, maximum_decoded_bytes: int) -> None:
    """Refuse an image before it is decoded.

    Raises
    ------
    RejectedInput
        ``OVER_BUDGET``.
    """
    if module.decoded_bytes > maximum_decoded_bytes:
        raise RejectedInput(
            Rejection.OVER_BUDGET,
            f"{module.rows} x {module.columns} pixels of {module.bits_allocated} bits are "
            f"{module.decoded_bytes} bytes, the limit is {maximum_decoded_bytes}",
        )


def to_stored_values(words: NDArray[np.unsignedinteger], module: PixelModule, sign_bits: int) -> NDArray[np.integer]:
    """Turn container words into stored values.

    Parameters
    ----------
    words : ndarray of uint8 or uint16, shape (rows, columns)
        As decoded, shifted so that the lowest stored bit is bit 0.
    module : PixelModule
        What they are.
    sign_bits : int
        Width of a signed value, bits: `bits_stored`, or the smaller precision
        of the code stream.

    Returns
    -------
    ndarray of uint8, uint16 or int16, shape (rows, columns)
        Within the range of Bits Stored; int16 if signed.

    Raises
    ------
    RejectedInput
        ``BAD_PIXEL_MODULE`` if more than one pixel in a hundred has bits
        above Bits Stored that are neither overlay nor sign.

    References
    ----------
    DICOM PS3.5 section 8.1.1.
    """
    mask = (1 << module.bits_stored) - 1
    has_high_bits = int(words.max()) > mask
    narrow = words & words.dtype.type(mask) if has_high_bits else words
    values: NDArray[np.integer] = _extend_sign(narrow, sign_bits) if module.signed else narrow
    if has_high_bits and not module.has_overlay_bits:
        stray = words != narrow
        if module.signed:
            stray &= words != values.astype(words.dtype)
        if np.count_nonzero(stray) > _STRAY_SHARE * words.size:
            raise RejectedInput(
                Rejection.BAD_PIXEL_MODULE, f"pixel values need more than the {module.bits_stored} Bits Stored"
            )
    return values


def _extend_sign(words: NDArray[np.unsignedinteger], bits: int) -> NDArray[np.int16]:
    """Read the lowest `bits` of each word as two's complement."""
    half = np.uint16(1 << (bits - 1))
    low = words.astype(np.uint16) & np.uint16((1 << bits) - 1)
    # modulo 2**16, (x XOR half) - half moves the upper half below zero
    return ((low ^ half) - half).view(np.int16)
