"""Lookup tables inside a header: modality LUT and VOI LUT items, PS3.3 C.11.1.1 and C.11.2.1.1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.multival import MultiValue

from core.errors import RejectedInput
from imaging.elements import numbers, raw
from imaging.reasons import Rejection

_ENTRIES_FOR_ZERO: Final = 65536
_DEPTHS: Final = range(8, 17)
_SIGN: Final = 32768


@dataclass(frozen=True, slots=True)
class LookupTable:
    """A table and the input value its first entry is for.

    Attributes
    ----------
    entries : ndarray of uint16
        Output values.
    first : int
        Input value of `entries[0]`; smaller ones give the first entry,
        larger than the last give the last.
    full_scale : int
        The largest output the table can give: ``2**bits - 1``.
    """

    entries: NDArray[np.uint16]
    first: int
    full_scale: int

    def apply(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Look values up, rounded to whole numbers first."""
        index = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1).astype(np.int64)
        found: NDArray[np.uint16] = self.entries[index]
        return found.astype(np.float64)


def read_lut(item: Dataset, *, signed: bool) -> LookupTable:
    """Read one item of a LUT sequence.

    Parameters
    ----------
    signed : bool
        Whether input values may be negative: the second descriptor value is
        then a signed number, whichever VR it was written in.

    Raises
    ------
    RejectedInput
        ``BAD_PIXEL_MODULE`` if descriptor and data do not fit together.
    """
    descriptor = numbers(item, "LUTDescriptor")
    if len(descriptor) != 3 or not all(value.is_integer() for value in descriptor):  # noqa: PLR2004 - PS3.3 C.11.1.1
        raise RejectedInput(Rejection.BAD_PIXEL_MODULE, "a lookup table's descriptor is not three whole numbers")
    count, first, bits = (int(value) for value in descriptor)
    # 65536 entries do not fit 16 bits and are written as 0; a signed VR turns large counts negative
    count = count % _ENTRIES_FOR_ZERO or _ENTRIES_FOR_ZERO
    if signed and first >= _SIGN:
        first -= 2 * _SIGN
    elif not signed and first < 0:
        first += 2 * _SIGN
    if bits not in _DEPTHS:
        raise RejectedInput(Rejection.BAD_PIXEL_MODULE, f"a lookup table has {bits} bits an entry, expected 8 to 16")
    entries = _entries(raw(item, "LUTData"), count)
    # some tables are deeper than they say; scaled by what they say they would come out white
    depth = max(bits, int(entries.max()).bit_length())
    return LookupTable(entries, first, (1 << depth) - 1)


def _entries(data: Any, count: int) -> NDArray[np.uint16]:
    if isinstance(data, bytes):
        if len(data) >= 2 * count:
            return np.frombuffer(data, "<u2", count).astype(np.uint16)
        if len(data) >= count:  # 8-bit entries, two a word
            return np.frombuffer(data, np.uint8, count).astype(np.uint16)
    elif isinstance(data, (int, list, MultiValue)):
        values = [data] if isinstance(data, int) else list(data)
        if len(values) >= count and all(isinstance(value, int) for value in values):
            return (np.array(values[:count], np.int64) % _ENTRIES_FOR_ZERO).astype(np.uint16)
    raise RejectedInput(Rejection.BAD_PIXEL_MODULE, f"a lookup table has fewer than the {count} entries it declares")
