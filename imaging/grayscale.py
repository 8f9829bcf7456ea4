"""From stored values to what a person would see: modality LUT, VOI LUT or window, polarity, padding.

Stored values have at most 16 bits, so the whole pipeline is computed once for
each value there is, in float64, and applied to the image as one table: exact,
and fifty times cheaper than floats at full size. The table itself is every
parameter of the pipeline, which makes it what `pixels_digest` hashes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from core.errors import RejectedInput
from imaging.decode.module import PixelModule
from imaging.elements import items, number, numbers, text
from imaging.lut import LookupTable, read_lut
from imaging.master import FULL_SCALE
from imaging.reasons import Rejection
from imaging.window import Window, first_usable_window

# Without VOI LUT and window: stretch between these percentiles. A collimated border or a burnt-in letter is more
# than half a per cent of a film's area, noise and dead pixels are less.
LOW_PERCENTILE: Final = 0.5
HIGH_PERCENTILE: Final = 99.5
# Up to this depth stored values are taken for grey as it was shown, like the 8-bit pictures models are trained on.
_DISPLAY_BITS: Final = 8
_BAND_ROWS: Final = 64
_SOME_ROWS: Final = 16


@dataclass(frozen=True, slots=True)
class Rendering:
    """The grayscale pipeline of one image.

    Attributes
    ----------
    table : ndarray of uint16, shape (2**bits_stored,)
        Grey, 0 black to 65535 white, for each stored value, indexed by its
        lowest `bits_stored` bits.
    """

    table: NDArray[np.uint16]

    def apply(self, stored: NDArray[np.integer]) -> NDArray[np.float32]:
        """Render stored values: grey as whole numbers of float32, what sums and filters take; shape kept."""
        table = self.table.astype(np.float32)
        grey = np.empty(stored.shape, np.float32)
        for start, words in _bands(stored, len(table)):
            # every word is below the table's length, so "wrap" changes nothing but skips a check and a copy; "clip",
            # which would do so too, takes a quarter longer
            np.take(table, words, out=grey[start : start + len(words)], mode="wrap")
        return grey


def render(stored: NDArray[np.integer], module: PixelModule, dataset: Dataset) -> Rendering:
    """Find out how an image is rendered.

    Parameters
    ----------
    stored : ndarray of uint8, uint16 or int16, shape (rows, columns)
        As `imaging.decode.dispatch` returns them.
    module : PixelModule
        Likewise.
    dataset : Dataset
        The header.

    Returns
    -------
    Rendering
        Pixel padding comes out black.

    Raises
    ------
    RejectedInput
        ``BLANK`` if every pixel that is no padding has one value, before or
        after the pipeline; ``BAD_PIXEL_MODULE`` or ``BAD_HEADER`` for
        parameters that make no sense.
    """
    padding = _padding(dataset, module)

    def counted(pixels: NDArray[np.integer]) -> NDArray[np.int64]:
        return np.where(padding, 0, _histogram(pixels, module))

    rendering = build_rendering(module, dataset, lambda: counted(stored), padding)
    # some rows of an image that shows something nearly always show something: seldom are all of them counted
    if not _shows(rendering, counted(stored[::_SOME_ROWS])):
        everything = counted(stored)
        if np.count_nonzero(everything) <= 1:
            raise RejectedInput(Rejection.BLANK, "every pixel of the image has the same value")
        if not _shows(rendering, everything):
            raise RejectedInput(Rejection.BLANK, "the window of the image shows nothing of its values")
    return rendering


def _shows(rendering: Rendering, histogram: NDArray[np.int64]) -> bool:
    seen = rendering.table[histogram > 0]
    return bool(seen.size and seen.min() != seen.max())


def build_rendering(
    module: PixelModule, dataset: Dataset, histogram: Callable[[], NDArray[np.int64]], padding: NDArray[np.bool_]
) -> Rendering:
    """Compute the pipeline for every stored value.

    Parameters
    ----------
    histogram : callable
        Counts how often each value occurs outside of padding, shape (2**bits_stored,); called only if percentiles
        are needed.
    padding : ndarray of bool, shape (2**bits_stored,)
        Which values are padding.

    References
    ----------
    DICOM PS3.3 C.11.1 (modality), C.11.2 (VOI), C.7.6.3.1.2 (polarity),
    C.7.5.1.1.2 (padding), C.11.6 (presentation LUT shape); PS3.4 N.2.
    """
    values, is_identity = _modality_values(module, dataset)
    shown = _voi(values, dataset, module)
    if shown is None:
        if is_identity and module.bits_stored <= _DISPLAY_BITS and not module.signed:
            shown = values / ((1 << module.bits_stored) - 1)
        else:
            shown = _stretch(values, histogram())
    if _is_inverted(module, dataset):
        shown = 1.0 - shown
    table = np.rint(np.clip(shown, 0.0, 1.0) * FULL_SCALE).astype(np.uint16)
    table[padding] = 0
    return Rendering(table)


def stored_values(module: PixelModule) -> NDArray[np.int64]:
    """Return the stored value that each index of a table stands for."""
    values = np.arange(1 << module.bits_stored)
    if module.signed:
        values[len(values) // 2 :] -= len(values)
    return values


def _histogram(stored: NDArray[np.integer], module: PixelModule) -> NDArray[np.int64]:
    size = 1 << module.bits_stored
    histogram = np.zeros(size, np.int64)
    for _, words in _bands(stored, size):
        histogram += np.bincount(words.ravel(), minlength=size)
    return histogram


def _bands(stored: NDArray[np.integer], size: int) -> Iterator[tuple[int, NDArray[np.unsignedinteger]]]:
    """Cut an image into bands of rows, as indices of a table.

    NumPy turns indices into 64-bit integers first: at full size that is four
    times the image, and five times as slow as in bands that fit the cache.
    """
    for start in range(0, len(stored), _BAND_ROWS):
        words = stored[start : start + _BAND_ROWS].view(f"u{stored.itemsize}")
        yield start, words & words.dtype.type(size - 1) if stored.dtype.kind == "i" else words


def _padding(dataset: Dataset, module: PixelModule) -> NDArray[np.bool_]:
    """Mark stored values that are padding: PixelPaddingValue (0028,0120), up to PixelPaddingRangeLimit (0028,0121)."""
    values = stored_values(module)
    first = number(dataset, "PixelPaddingValue")
    if first is None:
        return np.zeros(len(values), np.bool_)
    last = number(dataset, "PixelPaddingRangeLimit")
    low, high = sorted((first, first if last is None else last))
    padding: NDArray[np.bool_] = (values >= low) & (values <= high)
    if module.signed:
        # a negative value is often written as the unsigned number of the same bits
        padding[first & (len(values) - 1)] = True
    return padding


def _modality_values(module: PixelModule, dataset: Dataset) -> tuple[NDArray[np.float64], bool]:
    """Apply the modality LUT (0028,3000), else rescale slope and intercept, PS3.3 C.11.1."""
    values = stored_values(module).astype(np.float64)
    table = _first_lut(dataset, "ModalityLUTSequence", signed=module.signed)
    if table is not None:
        return table.apply(values), False
    slope = numbers(dataset, "RescaleSlope")
    intercept = numbers(dataset, "RescaleIntercept")
    if not slope and not intercept:
        return values, True
    factor, offset = (slope or (1.0,))[0], (intercept or (0.0,))[0]
    if factor == 0:
        raise RejectedInput(Rejection.BAD_PIXEL_MODULE, "RescaleSlope is 0: every value would become the same")
    return values * factor + offset, (factor, offset) == (1.0, 0.0)


def _voi(values: NDArray[np.float64], dataset: Dataset, module: PixelModule) -> NDArray[np.float64] | None:
    """Apply the first VOI LUT (0028,3010), else the first usable window, PS3.3 C.11.2; None if there is neither.

    Where several are given they are alternatives to choose from; the first
    is the one a viewer opens with.
    """
    signed = module.signed or bool(values.min() < 0)
    table = _first_lut(dataset, "VOILUTSequence", signed=signed)
    if table is not None:
        return table.apply(values) / table.full_scale
    window: Window | None = first_usable_window(
        numbers(dataset, "WindowCenter"), numbers(dataset, "WindowWidth"), text(dataset, "VOILUTFunction")
    )
    return None if window is None else window.apply(values)


def _first_lut(dataset: Dataset, keyword: str, *, signed: bool) -> LookupTable | None:
    found = items(dataset, keyword)
    return read_lut(found[0], signed=signed) if found else None


def _stretch(values: NDArray[np.float64], histogram: NDArray[np.integer]) -> NDArray[np.float64]:
    """Map the span between two percentiles of the pixels that are no padding onto 0 to 1."""
    if np.count_nonzero(histogram) <= 1:
        raise RejectedInput(Rejection.BLANK, "every pixel of the image has the same value")
    order = np.argsort(values, kind="stable")
    share = np.cumsum(histogram[order]) / histogram.sum()
    low, high = (
        values[order[np.searchsorted(share, percentile / 100)]] for percentile in (LOW_PERCENTILE, HIGH_PERCENTILE)
    )
    if high <= low:  # nearly all pixels have one value: show what there is
        present = values[histogram > 0]
        low, high = present.min(), present.max()
    stretched: NDArray[np.float64] = (values - low) / max(high - low, np.finfo(np.float64).tiny)
    return stretched


def _is_inverted(module: PixelModule, dataset: Dataset) -> bool:
    """Return whether the smallest value is shown white.

    PresentationLUTShape (2050,0020) INVERSE goes with MONOCHROME1 in DX
    objects (PS3.3 C.8.11.3.1.2) and says the same thing once more: two
    inversions would be none.
    """
    return module.monochrome1 or text(dataset, "PresentationLUTShape").strip().upper() == "INVERSE"


def pixels_digest(stored: NDArray[np.integer], rendering: Rendering) -> str:
    """Return the SHA-256 of stored values and pipeline, 64 hexadecimal digits; `stored` holds every pixel."""
    digest = hashlib.sha256(f"lungwatch pixels {stored.shape} {stored.dtype.kind}\n".encode())
    digest.update(rendering.table.astype("<u2").tobytes())
    # 8 bits in 16-bit words are the same pixels as 8 bits in bytes
    words = "<u2" if stored.dtype.kind == "u" else "<i2"
    for start in range(0, len(stored), _BAND_ROWS):
        digest.update(np.ascontiguousarray(stored[start : start + _BAND_ROWS], words).data)
    return digest.hexdigest()
