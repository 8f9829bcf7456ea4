"""One table from transfer syntax to decoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core import transfer_syntaxes as syntax
from core.errors import RejectedInput
from imaging.decode import jpeg
from imaging.decode.jpeg_2000 import decode_htj2k, decode_jpeg_2000
from imaging.decode.jpeg_2000_reduced import reduced_jpeg_2000
from imaging.decode.jpeg_ls import decode_jpeg_ls
from imaging.decode.jpeg_reduced import reduced_jpeg
from imaging.decode.module import PixelModule, check_budget, read_pixel_module
from imaging.decode.native import decode_native
from imaging.decode.rle import decode_rle
from imaging.elements import number
from imaging.header import Header
from imaging.reasons import Rejection
from imaging.sampling import FULL, Sampling

Decoder = Callable[[bytes, PixelModule], NDArray[np.integer]]

_DECODERS: Final[dict[str, Decoder]] = {
    syntax.IMPLICIT_VR_LITTLE_ENDIAN: decode_native,
    syntax.EXPLICIT_VR_LITTLE_ENDIAN: decode_native,
    syntax.RLE_LOSSLESS: decode_rle,
    syntax.JPEG_BASELINE: jpeg.decoder(syntax.JPEG_BASELINE),
    syntax.JPEG_EXTENDED: jpeg.decoder(syntax.JPEG_EXTENDED),
    syntax.JPEG_LOSSLESS: jpeg.decoder(syntax.JPEG_LOSSLESS),
    syntax.JPEG_LOSSLESS_SV1: jpeg.decoder(syntax.JPEG_LOSSLESS_SV1),
    syntax.JPEG_LS_LOSSLESS: decode_jpeg_ls,
    syntax.JPEG_LS_NEAR_LOSSLESS: decode_jpeg_ls,
    syntax.JPEG_2000_LOSSLESS: decode_jpeg_2000,
    syntax.JPEG_2000: decode_jpeg_2000,
    syntax.HTJ2K_LOSSLESS: decode_htj2k,
    syntax.HTJ2K_LOSSLESS_RPCL: decode_htj2k,
    syntax.HTJ2K: decode_htj2k,
}


# Streams that hold smaller images of themselves.
_REDUCED: Final[dict[str, Callable[[bytes, PixelModule], Iterator[tuple[NDArray[np.integer], Sampling]]]]] = {
    syntax.JPEG_BASELINE: reduced_jpeg,
    syntax.JPEG_2000_LOSSLESS: reduced_jpeg_2000,
    syntax.JPEG_2000: reduced_jpeg_2000,
    syntax.HTJ2K_LOSSLESS: reduced_jpeg_2000,
    syntax.HTJ2K_LOSSLESS_RPCL: reduced_jpeg_2000,
    syntax.HTJ2K: reduced_jpeg_2000,
}


def decode(
    header: Header, content: bytes | memoryview, maximum_decoded_bytes: int
) -> tuple[PixelModule, NDArray[np.integer]]:
    """Decode the one frame of an image to stored values.

    Parameters
    ----------
    header : Header
        Of this very `content`.
    content : bytes or memoryview
        The whole file.
    maximum_decoded_bytes : int
        The budget, held against the header before anything is decoded.

    Returns
    -------
    module : PixelModule
        What the values are.
    stored : ndarray of uint8, uint16 or int16, shape (rows, columns)
        Stored values, before any lookup table.

    Raises
    ------
    RejectedInput
        ``NO_PIXEL_DATA``, ``BAD_PIXEL_MODULE``, ``OVER_BUDGET``,
        ``TRUNCATED``, ``DECODE_FAILED`` or ``TRANSFER_SYNTAX``.
    """
    decoder, module, value = _open(header, content, maximum_decoded_bytes)
    return module, decoder(value, module)


def decodings(
    header: Header, content: bytes | memoryview, maximum_decoded_bytes: int, *, every_pixel: bool = False
) -> Iterator[tuple[PixelModule, NDArray[np.integer], Sampling]]:
    """Decode an image at each resolution that is enough for a master, or with `every_pixel` only in full.

    Parameters and errors are those of `decode`.

    Yields
    ------
    module : PixelModule
        What the values are; rows and columns are the whole image's.
    stored : ndarray of uint8, uint16 or int16
        Stored values; of the fewest pixels first, in the end of all.
    sampling : Sampling
        Of which pixels.
    """
    decoder, module, value = _open(header, content, maximum_decoded_bytes)
    reduced = _REDUCED.get(header.transfer_syntax_uid)
    # a mean of picture and padding, or of words with overlays in them, is neither
    means = number(header.dataset, "PixelPaddingValue") is None and not module.has_overlay_bits and not module.shift
    if reduced is not None and means and not every_pixel:
        for stored, sampling in reduced(value, module):
            yield module, stored, sampling
    yield module, decoder(value, module), FULL


def _open(
    header: Header, content: bytes | memoryview, maximum_decoded_bytes: int
) -> tuple[Decoder, PixelModule, bytes]:
    if header.pixels is None or not any(length for _, length in header.pixels.fragments):
        raise RejectedInput(Rejection.NO_PIXEL_DATA, "the image has no pixel data")
    decoder = _DECODERS.get(header.transfer_syntax_uid)
    if decoder is None:
        raise RejectedInput(Rejection.TRANSFER_SYNTAX, "the transfer syntax is not one we decode")
    module = read_pixel_module(header.dataset)
    check_budget(module, maximum_decoded_bytes)
    # one frame may be cut into several fragments (PS3.5 A.4); one piece stays where it is
    pieces = [content[start : start + length] for start, length in header.pixels.fragments]
    value = b"".join(pieces) if header.pixels.encapsulated and len(pieces) > 1 else pieces[0]
    return decoder, module, value  # type: ignore[return-value] # frombuffer and slices take a memoryview too
