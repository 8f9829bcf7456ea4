"""The second entrance: 8-bit pictures (the training collection, `predict` on image files) straight to the master.

A picture has been through somebody's window already, so grey 0 to 255 maps
onto 0 to 65535 and nothing else happens before the shrink. A DICOM image
whose window covers exactly its 8 bits takes the same values (parity test).
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from core.errors import RejectedInput
from imaging.master import shrink
from imaging.reasons import Rejection

# 255 x 257 = 65535: white stays white
TO_SIXTEEN_BIT: Final = 257
MAXIMUM_PIXELS: Final = 64_000_000
# Mean distance between a pixel's largest and smallest channel, grey levels: JPEG chroma noise stays
# under 3, tinted film under 30.
_COLOURED: Final = 40.0


def grey_from_picture(source: Path | bytes) -> NDArray[np.uint8]:
    """Read a JPEG or PNG as grey.

    Parameters
    ----------
    source : Path or bytes
        The file, or its content.

    Returns
    -------
    ndarray of uint8, shape (rows, columns)
        0 black to 255 white. Equal RGB channels give that channel exactly.
        EXIF orientation is ignored, as it was when the models were trained.

    Raises
    ------
    RejectedInput
        ``NOT_DICOM`` if it is no JPEG or PNG, ``OVER_BUDGET`` if it has more
        than 64 million pixels, ``BAD_PIXEL_MODULE`` if it is not 8-bit grey
        or RGB, or in colour, ``DECODE_FAILED`` if it is damaged, ``EMPTY``
        if it has no bytes.
    OSError
        If the file itself cannot be read.
    """
    content = source if isinstance(source, bytes) else source.read_bytes()
    if not content:
        raise RejectedInput(Rejection.EMPTY, "the picture has no bytes")
    try:
        with warnings.catch_warnings():
            # we have our own limit; Pillow's would warn first and raise at twice its size
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(content), formats=("JPEG", "PNG"))
    except (UnidentifiedImageError, SyntaxError) as error:
        raise RejectedInput(Rejection.NOT_DICOM, "the file is neither DICOM nor a JPEG or PNG picture") from error
    except Image.DecompressionBombError as error:
        raise RejectedInput(Rejection.OVER_BUDGET, "the picture declares more pixels than we read") from error
    except (OSError, ValueError) as error:
        raise RejectedInput(Rejection.DECODE_FAILED, "the picture's header is damaged") from error
    with image:
        if image.width * image.height > MAXIMUM_PIXELS:
            raise RejectedInput(Rejection.OVER_BUDGET, "the picture declares more pixels than we read")
        if image.mode not in ("L", "RGB"):
            raise RejectedInput(Rejection.BAD_PIXEL_MODULE, f"the picture is {image.mode}, not 8-bit grey or RGB")
        try:
            image.load()
        except (OSError, SyntaxError, ValueError) as error:
            raise RejectedInput(Rejection.DECODE_FAILED, "the picture is damaged or cut short") from error
        if image.mode == "RGB":
            _refuse_colour(np.asarray(image))
        return np.asarray(image.convert("L"))


def _refuse_colour(pixels: NDArray[np.uint8]) -> None:
    sample = pixels[::4, ::4]
    if float(np.mean(sample.max(axis=2) - sample.min(axis=2))) > _COLOURED:
        raise RejectedInput(Rejection.BAD_PIXEL_MODULE, "the picture is in colour; a radiograph is grey")


def master_from_picture(source: Path | bytes) -> NDArray[np.uint16]:
    """Make the master of an 8-bit picture; errors as `grey_from_picture`.

    Returns
    -------
    ndarray of uint16, shape (rows, columns)
        Longest side at most 512.
    """
    return shrink(grey_from_picture(source), to_sixteen_bit)


def to_sixteen_bit(grey: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Spread 8-bit grey over 16 bits: 255 becomes 65535."""
    return grey.astype(np.uint16) * np.uint16(TO_SIXTEEN_BIT)
