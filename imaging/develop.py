"""From pixel data to the master: decode, render, shrink, with no more of the image than the master needs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from core.errors import RejectedInput
from imaging.decode.dispatch import decodings
from imaging.decode.module import PixelModule
from imaging.estimate import missed
from imaging.grayscale import Rendering, pixels_digest, render
from imaging.header import Header
from imaging.master import shrink
from imaging.sampling import Sampling

# Grey levels of 255: up to this estimate no image that was tried was off by more than 0.8 (0018).
_MOST_MISSED: Final = 0.38


@dataclass(frozen=True, slots=True)
class Developed:
    """What became of an image.

    Attributes
    ----------
    master : ndarray of uint16, shape (rows, columns)
        Longest side at most 512; 0 black to 65535 white.
    stored : ndarray of uint8, uint16 or int16
        What was decoded.
    rendering : Rendering
        Of it.
    shorter_side : int
        Of the image, pixels.
    sampling : Sampling
        Which pixels were decoded.
    """

    master: NDArray[np.uint16]
    stored: NDArray[np.integer] = field(repr=False)
    rendering: Rendering = field(repr=False)
    shorter_side: int
    sampling: Sampling

    @property
    def pixels_digest(self) -> str | None:
        """See `imaging.reading.MasterReference`; made when it is asked for, because it takes as long as a filter."""
        return pixels_digest(self.stored, self.rendering) if self.sampling.is_full else None


def develop(
    header: Header,
    content: bytes | memoryview,
    maximum_decoded_bytes: int,
    seconds: dict[str, float] | None = None,
    *,
    every_pixel: bool = False,
) -> Developed:
    """Make the master of an image.

    Parameters
    ----------
    header, content, maximum_decoded_bytes
        As for `imaging.decode.dispatch.decode`.
    seconds : dict, optional
        Takes how long each step took.
    every_pixel : bool
        Decode in full, also where less would do.

    Raises
    ------
    RejectedInput
        As `imaging.decode.dispatch.decode` and `imaging.grayscale.render`.
    """
    seconds = {} if seconds is None else seconds
    found = decodings(header, content, maximum_decoded_bytes, every_pixel=every_pixel)
    rendering = None
    while rendering is None:
        with timed(seconds, "decode"):
            module, stored, sampling = next(found)
        with timed(seconds, "grayscale"):
            rendering = _rendering(stored, module, header.dataset, sampling)
    with timed(seconds, "master"):
        master = shrink(stored, rendering.apply, sampling, (module.rows, module.columns))
    return Developed(master, stored, rendering, min(module.rows, module.columns), sampling)


def _rendering(
    stored: NDArray[np.integer], module: PixelModule, dataset: Dataset, sampling: Sampling
) -> Rendering | None:
    """Find out how to render; None where more pixels are needed for it."""
    if sampling.is_full:
        return render(stored, module, dataset)
    try:
        rendering = render(stored, module, dataset)
    except RejectedInput:
        # what a smaller image does not show, all pixels may
        return None
    return rendering if missed(rendering, stored, module, sampling.step) <= _MOST_MISSED else None


@contextmanager
def timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    """Add the time that a step takes to what it took before."""
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[step] = round(seconds.get(step, 0.0) + time.perf_counter() - start, 6)
