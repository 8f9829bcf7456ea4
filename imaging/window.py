"""VOI windows, PS3.3 C.11.2.1.2 and C.11.2.1.3."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray


class VoiFunction(StrEnum):
    """VOILUTFunction (0028,1056)."""

    LINEAR = "LINEAR"
    LINEAR_EXACT = "LINEAR_EXACT"
    SIGMOID = "SIGMOID"


@dataclass(frozen=True, slots=True)
class Window:
    """One window; `width` is at least 1 for LINEAR, more than 0 for the others."""

    centre: float
    width: float
    function: VoiFunction = VoiFunction.LINEAR

    def apply(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map modality values onto 0 (black end) to 1.

        References
        ----------
        LINEAR: PS3.3 C.11.2.1.2.1, whose half-pixel offsets let a window of
        width 256 at centre 128 map 0 to 255 exactly onto the whole range;
        LINEAR_EXACT: C.11.2.1.3.2; SIGMOID: C.11.2.1.3.1.
        """
        match self.function:
            case VoiFunction.LINEAR if self.width == 1:
                # the ramp has no length: a threshold
                return (values > self.centre - 0.5).astype(np.float64)
            case VoiFunction.LINEAR:
                shown = (values - (self.centre - 0.5)) / (self.width - 1) + 0.5
            case VoiFunction.LINEAR_EXACT:
                shown = (values - self.centre) / self.width + 0.5
            case VoiFunction.SIGMOID:
                # beyond ±500 the exponential has long saturated and would only overflow
                shown = 1 / (1 + np.exp(np.clip(-4 * (values - self.centre) / self.width, -500, 500)))
        return np.clip(shown, 0.0, 1.0)


def first_usable_window(centres: tuple[float, ...], widths: tuple[float, ...], function: str) -> Window | None:
    """Choose the window a viewer would open with.

    Parameters
    ----------
    centres, widths : tuple of float
        (0028,1050), (0028,1051), pairs of alternatives.
    function : str
        (0028,1056); empty means LINEAR. Of an unknown one no window is used.

    Returns
    -------
    Window or None
        The first whose width the standard allows; None if there is none.
    """
    try:
        kind = VoiFunction(function.strip().upper() or VoiFunction.LINEAR)
    except ValueError:
        return None
    for centre, width in itertools.zip_longest(centres, widths):
        if centre is not None and width is not None and (width >= 1 if kind is VoiFunction.LINEAR else width > 0):
            return Window(centre, width, kind)
    return None
