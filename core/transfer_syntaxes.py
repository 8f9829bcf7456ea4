"""Transfer syntaxes we accept: those `imaging.decode` decodes, each shown by a test, and no others.

Deflated (a small file may inflate to any size), big endian (retired) and video
are left out on purpose: a context that offers only these is rejected, and the
sender sends another form.
"""

from __future__ import annotations

from typing import Final

IMPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1"
RLE_LOSSLESS: Final = "1.2.840.10008.1.2.5"
JPEG_BASELINE: Final = "1.2.840.10008.1.2.4.50"
JPEG_EXTENDED: Final = "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS: Final = "1.2.840.10008.1.2.4.57"
JPEG_LOSSLESS_SV1: Final = "1.2.840.10008.1.2.4.70"
JPEG_LS_LOSSLESS: Final = "1.2.840.10008.1.2.4.80"
JPEG_LS_NEAR_LOSSLESS: Final = "1.2.840.10008.1.2.4.81"
JPEG_2000_LOSSLESS: Final = "1.2.840.10008.1.2.4.90"
JPEG_2000: Final = "1.2.840.10008.1.2.4.91"
HTJ2K_LOSSLESS: Final = "1.2.840.10008.1.2.4.201"
HTJ2K_LOSSLESS_RPCL: Final = "1.2.840.10008.1.2.4.202"
HTJ2K: Final = "1.2.840.10008.1.2.4.203"

# PS3.6 Table A-1; the order is the one in which we would choose.
SUPPORTED_TRANSFER_SYNTAXES: Final = (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    JPEG_LOSSLESS_SV1,
    JPEG_LOSSLESS,
    JPEG_LS_LOSSLESS,
    HTJ2K_LOSSLESS,
    HTJ2K_LOSSLESS_RPCL,
    JPEG_2000_LOSSLESS,
    RLE_LOSSLESS,
    JPEG_EXTENDED,
    JPEG_BASELINE,
    JPEG_LS_NEAR_LOSSLESS,
    HTJ2K,
    JPEG_2000,
)
ENCAPSULATED: Final = frozenset(SUPPORTED_TRANSFER_SYNTAXES) - {EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN}

# as they are called in metrics and logs: a UID that was received never is
OTHER: Final = "other"
_KEYWORDS: Final = {
    EXPLICIT_VR_LITTLE_ENDIAN: "ExplicitVRLittleEndian",
    IMPLICIT_VR_LITTLE_ENDIAN: "ImplicitVRLittleEndian",
    JPEG_LOSSLESS_SV1: "JPEGLosslessSV1",
    JPEG_LOSSLESS: "JPEGLossless",
    JPEG_LS_LOSSLESS: "JPEGLSLossless",
    HTJ2K_LOSSLESS: "HTJ2KLossless",
    HTJ2K_LOSSLESS_RPCL: "HTJ2KLosslessRPCL",
    JPEG_2000_LOSSLESS: "JPEG2000Lossless",
    RLE_LOSSLESS: "RLELossless",
    JPEG_EXTENDED: "JPEGExtended12Bit",
    JPEG_BASELINE: "JPEGBaseline8Bit",
    JPEG_LS_NEAR_LOSSLESS: "JPEGLSNearLossless",
    HTJ2K: "HTJ2K",
    JPEG_2000: "JPEG2000",
}
SYNTAX_NAMES: Final = (*_KEYWORDS.values(), OTHER)


def syntax_name(uid: str) -> str:
    """Return the keyword of a transfer syntax that we accept (PS3.6 Table A-1), "other" for whatever else was sent."""
    return _KEYWORDS.get(uid, OTHER)
