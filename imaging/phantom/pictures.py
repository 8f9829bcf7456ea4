"""An 8-bit picture as a detector would have stored it: 12 bits, exactly reversible."""

from __future__ import annotations

from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BITS: Final = 12


def stored_values(content: bytes) -> NDArray[np.uint16]:
    """Read a JPEG or PNG picture as stored values of 12 bits.

    Parameters
    ----------
    content : bytes
        The whole file; colour becomes luminance (ITU-R BT.601, as Pillow computes it).

    Returns
    -------
    ndarray of uint16, shape (rows, columns)
        0 stays 0 and 255 becomes 4095; ``values >> 4`` gives the 8 bits back.

    Raises
    ------
    PIL.UnidentifiedImageError
        If it is no picture.
    """
    with Image.open(BytesIO(content)) as picture:
        grey = np.asarray(picture.convert("L"), np.uint16)
    return np.asarray((grey << 4) | (grey >> 4), np.uint16)
