"""Write stored values in each transfer syntax we accept; the decoders' opposite, for phantoms and tests only."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import uid

_NATIVE: Final = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian)
_HTJ2K: Final = (uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K)
_BASELINE_BITS: Final = 8
_EXTENDED_BITS: Final = 12
_BYTE_BITS: Final = 8
_SIZ_MARKER: Final = b"\xff\x51"
_SIZ_DEPTH: Final = 40  # Ssiz of the only component, bytes after the marker
_RLE_HEADER: Final = struct.Struct("<16L")

ENCODABLE: Final[tuple[uid.UID, ...]] = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
    uid.JPEGLossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEGLSNearLossless,
    uid.JPEG2000Lossless,
    uid.JPEG2000,
    uid.HTJ2KLossless,
    uid.HTJ2KLosslessRPCL,
    uid.HTJ2K,
    uid.RLELossless,
)
# (0028,2114) Lossy Image Compression Method, PS3.3 C.7.6.1.1.5.1
LOSSY_METHODS: Final[dict[uid.UID, str]] = {
    uid.JPEGBaseline8Bit: "ISO_10918_1",
    uid.JPEGExtended12Bit: "ISO_10918_1",
    uid.JPEGLSNearLossless: "ISO_14495_1",
    uid.JPEG2000: "ISO_15444_1",
    uid.HTJ2K: "ISO_15444_15",
}


@dataclass(frozen=True, slots=True)
class LossyQuality:
    """How much each lossy coder may lose; the defaults are what an archive would choose.

    Attributes
    ----------
    jpeg : int
        Quality of JPEG baseline and extended, 1 to 100.
    near : int
        Largest error of a sample in JPEG-LS near-lossless, stored values.
    jpeg2000 : int
        Peak signal-to-noise ratio of JPEG 2000, dB.
    htj2k : float
        Base quantisation step of HTJ2K as a share of full scale.
    """

    jpeg: int = 95
    near: int = 2
    jpeg2000: int = 60
    htj2k: float = 5e-4


def is_native(syntax: uid.UID) -> bool:
    """Return whether pixel data in this syntax are plain bytes."""
    return syntax in _NATIVE


def encode(stored: NDArray[np.uint16], bits_stored: int, syntax: uid.UID, quality: LossyQuality | None = None) -> bytes:
    """Encode one frame: a code stream, or plain little-endian bytes for the native syntaxes.

    Parameters
    ----------
    stored : ndarray of uint16, shape (rows, columns)
        Stored values, each below ``2**bits_stored``.
    bits_stored : int
        (0028,0101) *Bits Stored*; up to 8 is written in bytes, more in 16-bit words.
    syntax : UID
        One of `ENCODABLE`.
    quality : LossyQuality
        Used by the lossy syntaxes alone.

    Raises
    ------
    ValueError
        If a value exceeds the depth, or the syntax cannot carry it.

    References
    ----------
    DICOM PS3.5 section 8.2 and annexes A.4 and G.
    """
    if int(stored.max()) >> bits_stored:
        message = f"stored values reach {int(stored.max())}, more than {bits_stored} bits can say"
        raise ValueError(message)
    quality = quality or LossyQuality()
    samples = np.ascontiguousarray(stored, np.uint8 if bits_stored <= _BYTE_BITS else np.uint16)
    if syntax in _NATIVE:
        return samples.astype(samples.dtype.newbyteorder("<")).tobytes()
    if syntax == uid.RLELossless:
        return _run_lengths(samples)
    if syntax in _HTJ2K:
        return _high_throughput(samples, bits_stored, syntax, quality)
    return _by_imagecodecs(samples, bits_stored, syntax, quality)


def _by_imagecodecs(samples: NDArray[np.generic], bits: int, syntax: uid.UID, quality: LossyQuality) -> bytes:
    match syntax:
        case uid.JPEGBaseline8Bit | uid.JPEGExtended12Bit:
            depth = _BASELINE_BITS if syntax == uid.JPEGBaseline8Bit else _EXTENDED_BITS
            if bits != depth:
                message = f"{syntax.name} carries {depth} bits, not {bits}"
                raise ValueError(message)
            code = imagecodecs.jpeg8_encode(samples, level=quality.jpeg, bitspersample=bits)
        case uid.JPEGLossless | uid.JPEGLosslessSV1:
            # process 14 may use any predictor, selection value 1 is what the second UID promises
            predictor = 1 if syntax == uid.JPEGLosslessSV1 else 6
            code = imagecodecs.jpeg8_encode(samples, lossless=True, predictor=predictor, bitspersample=bits)
        case uid.JPEGLSLossless | uid.JPEGLSNearLossless:
            code = imagecodecs.jpegls_encode(samples, level=0 if syntax == uid.JPEGLSLossless else quality.near)
        case uid.JPEG2000Lossless:
            code = imagecodecs.jpeg2k_encode(samples, level=0, codecformat="j2k", reversible=True, bitspersample=bits)
        case uid.JPEG2000:
            code = imagecodecs.jpeg2k_encode(
                samples, level=quality.jpeg2000, codecformat="j2k", reversible=False, bitspersample=bits
            )
        case _:
            message = f"no encoder for transfer syntax {syntax.name}"
            raise ValueError(message)
    return bytes(code)


def _run_lengths(samples: NDArray[np.generic]) -> bytes:
    """PS3.5 annex G: one PackBits segment a byte plane, most significant first, each row by itself."""
    planes = samples.view(np.uint8).reshape(*samples.shape, samples.itemsize)[..., ::-1]
    segments = []
    for index in range(samples.itemsize):
        plane = np.ascontiguousarray(planes[..., index])
        segment = bytes(imagecodecs.packbits_encode(plane, axis=-1))
        segments.append(segment + b"\0" * (len(segment) % 2))
    offsets = [0] * 15
    position = _RLE_HEADER.size
    for index, segment in enumerate(segments):
        offsets[index] = position
        position += len(segment)
    return _RLE_HEADER.pack(len(segments), *offsets) + b"".join(segments)


def _high_throughput(samples: NDArray[np.generic], bits: int, syntax: uid.UID, quality: LossyQuality) -> bytes:
    """HTJ2K in RPCL order with TLM markers, as both lossless UIDs allow and 4.202 demands.

    The encoder declares the depth of the array's type, so the declared depth
    (SIZ marker, ISO/IEC 15444-1 A.5.1) is set right afterwards. What a reader
    then does differs by path: the reversible one adds half of the declared
    range, so values are moved by the difference of the two halves; the
    irreversible one is normalised to the declared range, so they are scaled.
    """
    container = samples.itemsize * 8
    lossless = syntax != uid.HTJ2K
    wide = samples.astype(np.uint32)
    moved = wide + ((1 << container >> 1) - (1 << bits >> 1)) if lossless else wide << (container - bits)
    code = bytearray(
        imagecodecs.htj2k_encode(
            moved.astype(samples.dtype),
            level=0 if lossless else quality.htj2k,
            reversible=lossless,
            tlm=True,
        )
    )
    code[code.index(_SIZ_MARKER) + _SIZ_DEPTH] = bits - 1
    return bytes(code)
