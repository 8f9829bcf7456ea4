"""What pixels each transfer syntax must decode to; every decoder test runs over this table.

Two kinds of entries: files that pydicom ships, whose samples were read with
another decoder than ours (DCMTK's dcmdjpeg, dcmdjpls and dcmdrle; OpenJPEG
through Pillow; plain bytes), and generated ones whose samples follow from the
formula of `ramp`, so that they can be checked by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.data import get_testdata_file

from tests.factories.dicom_objects import part10, phantom

ROWS, COLUMNS = 64, 96


def ramp(bits: int) -> NDArray[np.uint16]:
    """Smooth, so that lossy coders keep it: row + column at 8 bits, 16 times that at 12, 256 times at 16."""
    row, column = np.mgrid[:ROWS, :COLUMNS]
    return ((row + column) << (bits - 8)).astype(np.uint16)


@dataclass(frozen=True, slots=True)
class PixelReference:
    """One image and some of its stored values.

    Attributes
    ----------
    file : str or None
        Name of a file pydicom ships; None for a generated ramp.
    bits_stored : int
        Of the generated ramp.
    samples : mapping of (int, int) to int
        (row, column) -> stored value.
    tolerance : int
        Largest difference allowed; 0 for what is lossless or was read from the same lossy stream.
    """

    transfer_syntax: str
    dtype: str
    shape: tuple[int, int]
    samples: Mapping[tuple[int, int], int]
    file: str | None = None
    bits_stored: int = 12
    tolerance: int = 0

    @property
    def name(self) -> str:
        return f"{self.file or f'ramp{self.bits_stored}'}-{uid.UID(self.transfer_syntax).keyword}"

    def content(self) -> bytes:
        if self.file is None:
            picture = ramp(self.bits_stored)
            return part10(phantom(picture=picture, bits_stored=self.bits_stored, syntax=uid.UID(self.transfer_syntax)))
        path = get_testdata_file(self.file, download=False)
        assert isinstance(path, str), f"pydicom no longer ships {self.file}"
        return Path(path).read_bytes()


def _shipped(
    file: str, syntax: str, dtype: str, shape: tuple[int, int], samples: Mapping[tuple[int, int], int]
) -> PixelReference:
    return PixelReference(syntax, dtype, shape, samples, file=file)


def _ramp(syntax: str, bits: int, tolerance: int = 0) -> PixelReference:
    scale = {8: 1, 10: 4, 12: 16, 16: 256}[bits]
    # 0 + 0, 10 + 20, 31 + 40, 63 + 0, 63 + 95
    samples = {(0, 0): 0, (10, 20): 30 * scale, (31, 40): 71 * scale, (63, 0): 63 * scale, (63, 95): 158 * scale}
    dtype = "uint8" if bits == 8 else "uint16"
    return PixelReference(syntax, dtype, (ROWS, COLUMNS), samples, bits_stored=bits, tolerance=tolerance)


# the same image in five syntaxes
_MR = {(16, 16): 929, (32, 32): 182, (32, 21): 200, (48, 32): 160, (63, 63): 862}
_NM_JPEG = {(256, 64): 23, (512, 128): 14, (512, 85): 28, (768, 128): 1, (1023, 255): 1}
_NM_J2K = {(256, 64): 13, (512, 128): 7, (512, 85): 26, (768, 128): -16, (1023, 255): 0}

REFERENCES = (
    _shipped("MR_small.dcm", uid.ExplicitVRLittleEndian, "int16", (64, 64), _MR),
    _shipped("MR_small_padded.dcm", uid.ExplicitVRLittleEndian, "int16", (64, 64), _MR),
    _shipped(
        "CT_small.dcm",
        uid.ExplicitVRLittleEndian,
        "int16",
        (128, 128),
        {(32, 32): 487, (64, 64): 1928, (64, 42): 1642, (96, 64): 1020, (127, 127): 909},
    ),
    _shipped(
        "examples_overlay.dcm",
        uid.ExplicitVRLittleEndian,
        "uint16",
        (300, 484),
        {(75, 121): 146, (150, 242): 136, (150, 161): 292, (225, 242): 96, (299, 483): 6},
    ),
    _ramp(uid.ExplicitVRLittleEndian, 8),
    _ramp(uid.ExplicitVRLittleEndian, 10),
    _ramp(uid.ExplicitVRLittleEndian, 16),
    _shipped("MR_small_implicit.dcm", uid.ImplicitVRLittleEndian, "int16", (64, 64), _MR),
    _ramp(uid.ImplicitVRLittleEndian, 12),
    _shipped("MR_small_RLE.dcm", uid.RLELossless, "int16", (64, 64), _MR),
    _ramp(uid.RLELossless, 8),
    _ramp(uid.RLELossless, 12),
    _ramp(uid.RLELossless, 16),
    _ramp(uid.JPEGBaseline8Bit, 8, tolerance=2),
    _shipped("JPEG-lossy.dcm", uid.JPEGExtended12Bit, "uint16", (1024, 256), _NM_JPEG),
    _shipped("JPGExtended.dcm", uid.JPEGExtended12Bit, "uint16", (1024, 256), _NM_JPEG),
    _ramp(uid.JPEGExtended12Bit, 12, tolerance=24),
    _ramp(uid.JPEGLossless, 8),
    _ramp(uid.JPEGLossless, 12),
    _ramp(uid.JPEGLossless, 16),
    _ramp(uid.JPEGLosslessSV1, 8),
    _ramp(uid.JPEGLosslessSV1, 12),
    _ramp(uid.JPEGLosslessSV1, 16),
    _shipped("MR_small_jpeg_ls_lossless.dcm", uid.JPEGLSLossless, "int16", (64, 64), _MR),
    _ramp(uid.JPEGLSLossless, 8),
    _ramp(uid.JPEGLSLossless, 12),
    _shipped(
        "JPEGLSNearLossless_08.dcm",
        uid.JPEGLSNearLossless,
        "uint8",
        (45, 10),
        {(11, 2): 65, (22, 5): 15, (22, 3): 15, (33, 5): 5, (44, 9): 0},
    ),
    _shipped(
        "JPEGLSNearLossless_16.dcm",
        uid.JPEGLSNearLossless,
        "uint16",
        (50, 10),
        {(12, 2): 16385, (25, 5): 255, (25, 3): 255, (37, 5): 15, (49, 9): 0},
    ),
    _ramp(uid.JPEGLSNearLossless, 12, tolerance=2),
    _shipped("MR_small_jp2klossless.dcm", uid.JPEG2000Lossless, "int16", (64, 64), _MR),
    _shipped(
        "J2K_pixelrep_mismatch.dcm",
        uid.JPEG2000Lossless,
        "int16",
        (512, 512),
        {(128, 128): -57, (256, 256): 27, (256, 170): 91, (384, 256): 14, (511, 511): -2000},
    ),
    _ramp(uid.JPEG2000Lossless, 8),
    _ramp(uid.JPEG2000Lossless, 12),
    _ramp(uid.JPEG2000Lossless, 16),
    _shipped("JPEG2000.dcm", uid.JPEG2000, "int16", (1024, 256), _NM_J2K),
    _shipped(
        "693_J2KI.dcm",
        uid.JPEG2000,
        "int16",
        (512, 512),
        {(128, 128): 72, (256, 256): 1056, (256, 170): 1037, (384, 256): 1056, (511, 511): -2016},
    ),
    _ramp(uid.JPEG2000, 12, tolerance=40),
    _ramp(uid.HTJ2KLossless, 8),
    _ramp(uid.HTJ2KLossless, 12),
    _ramp(uid.HTJ2KLossless, 16),
    _ramp(uid.HTJ2KLosslessRPCL, 12),
    _ramp(uid.HTJ2K, 12, tolerance=40),
)
