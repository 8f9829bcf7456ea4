"""Where the samples of a smaller image lie in the one it was made of; what keeps a shrunk image from shifting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self


@dataclass(frozen=True, slots=True)
class Sampling:
    """A regular grid over an image, the same along both axes.

    Attributes
    ----------
    step : int
        From one sample to the next, pixels of the original.
    centre : float
        Of the first sample, pixels from the original's edge; 0.5 is the middle of its first pixel.
    """

    step: int = 1
    centre: float = 0.5

    @property
    def is_full(self) -> bool:
        """Whether there is a sample for each pixel."""
        return self.step == 1

    def coarser(self, factor: int) -> Self:
        """Return the grid of the means of `factor` neighbours."""
        return type(self)(self.step * factor, self.centre + (factor - 1) / 2 * self.step)

    def of(self, position: float) -> float:
        """Return where a position in the original, pixels from its edge, lies among the samples."""
        return (position - self.centre) / self.step + 0.5


FULL: Final = Sampling()
