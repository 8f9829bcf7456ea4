"""Master images: the only thing model input, thumbnails and heatmaps are made from.

A master is 16-bit grey, 0 black to 65535 white, longest side at most 512
pixels, aspect kept, never enlarged. It lies in the masters directory as a
PNG named by the digest of its pixels.

The shrink to the master is Lanczos, not the triangle that model input goes
through afterwards (`imaging.spec`): two triangles one after the other blur
more than one, and sharpness is what must not change. Measured on originals
against a direct triangle to 224 pixels, Lanczos keeps the mean gradient
within 0.1 %, a triangle loses 3 to 4 % (docs/decisions/0004-master-filter.md).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.errors import TransientFailure
from core.files import write_durably
from imaging.reading import Quality
from imaging.sampling import FULL, Sampling

LONGEST_SIDE: Final = 512
# white, in every 16-bit grey there is here
FULL_SCALE: Final = 65535
_PNG_CHUNKS: Final = 4096
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
# Noise does not compress. This filter and strategy give files a few per cent larger than libpng's own choice does, in a
# fifth of the time.
_PNG: Final = {"level": 1, "strategy": imagecodecs.PNG.STRATEGY.RLE, "filter": imagecodecs.PNG.FILTER.UP}
_BAND_ROWS: Final = 64
# How much larger than the master an image stays whose blocks are averaged before the filter: a mean of blocks is less
# sharp than the filter, and twice the size is where that is no longer seen.
OVERSAMPLING: Final = 2

T = TypeVar("T", bound=np.generic)
Grey = NDArray[np.uint16] | NDArray[np.float32]


class MissingMaster(TransientFailure):
    """A master is not in the masters directory, or not as it was written; reading its instance again makes it anew."""


def shrink(
    stored: NDArray[T],
    render: Callable[[NDArray[T]], Grey] | None = None,
    sampling: Sampling = FULL,
    shape: tuple[int, int] | None = None,
) -> NDArray[np.uint16]:
    """Make the master of an image.

    Parameters
    ----------
    stored : ndarray, shape (rows, columns)
        The image, or what was decoded of it at reduced resolution.
    render : callable, optional
        Makes grey, whole numbers from 0 black to 65535 white, of some rows of `stored`; which holds grey already if
        there is none. Rendering comes before averaging: the mean of what a window clips is not what the window makes
        of the mean.
    sampling : Sampling
        Which pixels of the image `stored` holds.
    shape : (int, int), optional
        Rows and columns of the image, where `stored` holds less.

    Returns
    -------
    ndarray of uint16
        The rendered image itself where its longest side is at most 512; else a copy
        shrunk by an anti-aliased Lanczos filter, overshoot cut off.

    Notes
    -----
    Blocks of 2 x 2, 4 x 4 ... pixels are averaged first, as long as the longest side stays twice the master's: the
    filter then takes a fifth of the time, and the image is never held as floats at full size
    (docs/decisions/0018-reduced-decoding.md).
    """
    render = render or _as_it_is
    rows, columns = shape or stored.shape
    longest = max(rows, columns)
    if longest <= LONGEST_SIDE:
        return render(stored).astype(np.uint16, copy=False)
    # half up, in integers: round() would go to even, and floats differ between machines
    size = [max(1, (2 * side * LONGEST_SIDE + longest) // (2 * longest)) for side in (columns, rows)]
    factor = 1
    while max(stored.shape) // (2 * factor) >= OVERSAMPLING * LONGEST_SIDE:
        factor *= 2
    plane, sampling = _mean_of_blocks(stored, render, factor), sampling.coarser(factor)
    left, right, lower = sampling.of(0), sampling.of(columns), sampling.of(rows)
    if right > plane.shape[1] or lower > plane.shape[0]:
        # the first sample of a reduced image lies on its first pixel: the last one ends before the image does
        plane = np.pad(plane, (0, 1), mode="edge")
    box = (left, left, right, lower)
    shrunk = Image.fromarray(plane).resize((size[0], size[1]), Image.Resampling.LANCZOS, box)
    rounded: NDArray[np.float32] = np.rint(np.asarray(shrunk, dtype=np.float32))
    return rounded.clip(0, FULL_SCALE).astype(np.uint16)


def _as_it_is(grey: NDArray[Any]) -> Grey:
    return grey


def _mean_of_blocks(stored: NDArray[T], render: Callable[[NDArray[T]], Grey], factor: int) -> NDArray[np.float32]:
    """Render and average blocks of `factor` x `factor` pixels; the last of odd rows and columns counts twice.

    Exactly up to 16 x 16; beyond, for sides of 32,768 and more, to a hundredth of a grey level.

    In bands that fit the processor's cache, so that the rendered image is never held at full size.
    """
    rows, columns = stored.shape
    plane = np.empty((-(-rows // factor), -(-columns // factor)), np.float32)
    height = max(1, _BAND_ROWS // factor)
    for start in range(0, len(plane), height):
        band = render(stored[start * factor : (start + height) * factor]).astype(np.float32, copy=False)
        lacking = (-band.shape[0] % factor, -band.shape[1] % factor)
        if any(lacking):
            band = np.pad(band, ((0, lacking[0]), (0, lacking[1])), mode="edge")
        means = plane[start : start + height]
        _sum_of_blocks(band, factor, means)
        means *= np.float32(1 / factor**2)
    return plane


def _sum_of_blocks(band: NDArray[np.float32], factor: int, total: NDArray[np.float32]) -> None:
    """Add neighbours up, two by two: float32 is exact up to 2**24, which are blocks of 16 x 16."""
    while factor > 1:
        rows = band[::2] + band[1::2]
        factor //= 2
        band = np.add(rows[:, ::2], rows[:, 1::2], out=total if factor == 1 else None)
    if band is not total:
        total[:] = band


def quality(master: NDArray[np.uint16], shorter_side: int) -> Quality:
    """Measure what `worker.decide` judges; `shorter_side` is of the original, pixels."""
    low, high = np.percentile(master, (1, 99))
    ends = np.count_nonzero((master == 0) | (master == FULL_SCALE))
    return Quality(float(high - low) / FULL_SCALE, float(ends) / master.size, shorter_side)


def master_digest(master: NDArray[np.uint16]) -> str:
    """Return the SHA-256 of shape and pixels, 64 hexadecimal digits; it does not depend on the file format."""
    digest = hashlib.sha256(f"lungwatch master {master.shape}\n".encode())
    digest.update(np.ascontiguousarray(master, dtype="<u2").tobytes())
    return digest.hexdigest()


def master_path(masters: Path, digest: str) -> Path:
    """Where a master lies, 256 shards by digest.

    Raises
    ------
    ValueError
        If `digest` is not 64 hexadecimal digits: it must never lead out of the directory.
    """
    if not _DIGEST.fullmatch(digest):
        raise ValueError("a master's digest is 64 hexadecimal digits")
    return masters / digest[:2] / f"{digest}.png"


def save_master(masters: Path, master: NDArray[np.uint16]) -> str:
    """Keep a master durably and return its digest.

    Repeating it is safe: a sound file that is already there stays, a damaged
    one is replaced.

    Raises
    ------
    TransientFailure
        If the disk refuses.
    """
    digest = master_digest(master)
    path = master_path(masters, digest)
    try:
        load_master(masters, digest)
        # a sign of use: retention removes none that was kept anew a moment ago (`worker.retention.masters`)
        os.utime(path)
    except (TransientFailure, OSError):
        # by itself it reserves too little for some narrow images
        room = 2 * master.nbytes + 8 * len(master) + _PNG_CHUNKS
        content = imagecodecs.png_encode(np.ascontiguousarray(master), out=room, **_PNG)
        try:
            write_durably(path, bytes(content))
        except OSError as error:
            message = f"the masters directory cannot be written (errno {error.errno}); check space and permissions"
            raise TransientFailure(message) from error
    return digest


def load_master(masters: Path, digest: str) -> NDArray[np.uint16]:
    """Read a master back and check it against its digest.

    Returns
    -------
    ndarray of uint16, shape (rows, columns)
        Read-only.

    Raises
    ------
    MissingMaster
        If the file is absent or damaged.
    TransientFailure
        If the disk refuses to show it.
    """
    path = master_path(masters, digest)
    try:
        with Image.open(path, formats=("PNG",)) as image:
            if image.mode != "I;16" or max(image.size) > LONGEST_SIDE:
                raise MissingMaster("a master image on disk is not 16 bit or too large; it will be made again")
            master = np.asarray(image).astype(np.uint16)
    except FileNotFoundError as error:
        raise MissingMaster("a master image is not in the masters directory; it will be made again") from error
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for damaged files
        if isinstance(error, OSError) and error.errno is not None:
            # from the system, not from Pillow
            message = f"the masters directory cannot be read (errno {error.errno}); check its disk and permissions"
            raise TransientFailure(message) from error
        raise MissingMaster("a master image on disk is unreadable; it will be made again") from error
    if master_digest(master) != digest:
        raise MissingMaster("a master image on disk does not match its digest; it will be made again")
    master.flags.writeable = False
    return master
