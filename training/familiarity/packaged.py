"""Pictures that come with libraries: photographs and other scans, to try an unfamiliarity score on.

Read where they are installed, never copied. pydicom is a required library and matplotlib one of the
extra ``train``; where scikit-image or scikit-learn happen to be installed, their sample photographs count as well.
"""

from __future__ import annotations

import gzip
import warnings
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image

Plane = NDArray[np.float32]

# package, folder in it, names that are photographs and no drawings
_PHOTOGRAPHS: Final = {
    "matplotlib": ("mpl-data/sample_data", ("grace_hopper.jpg",)),
    "skimage": (
        "data",
        (
            "astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "grass.png",
            "gravel.png", "hubble_deep_field.jpg", "ihc.png", "moon.png", "motorcycle_left.png", "retina.jpg",
            "rocket.jpg",
        ),
    ),
    "sklearn": ("datasets/images", ("china.jpg", "flower.jpg")),
}  # fmt: skip
_SCANS: Final = (
    "693_J2KI.dcm",
    "CT_small.dcm",
    "MR_small.dcm",
    "JPEG2000.dcm",
    "J2K_pixelrep_mismatch.dcm",
    "examples_jpeg2k.dcm",
    "examples_overlay.dcm",
    "examples_rgb_color.dcm",
    "examples_palette.dcm",
    "image_dfl.dcm",
)
# of matplotlib's sample data: 256 x 256, 16 bits, big-endian
_MR: Final = "s1045.ima.gz"
_MR_SIDE: Final = 256


@lru_cache(maxsize=1)
def photographs() -> tuple[Plane, ...]:
    """Return the photographs there are, grey from 0 to 1; one at least where matplotlib is installed."""
    return tuple(_photographs())


@lru_cache(maxsize=1)
def scans() -> tuple[Plane, ...]:
    """Return other scans, grey from 0 to 1: CT, MR, scintigrams and ultrasound of pydicom and matplotlib."""
    return tuple(_scans())


def _photographs() -> Iterator[Plane]:
    for package, (folder, names) in _PHOTOGRAPHS.items():
        for name in names:
            if (path := _installed(package, folder) / name).is_file():
                with Image.open(path) as image:
                    yield np.asarray(image.convert("L"), np.float32) / np.float32(255)


def _scans() -> Iterator[Plane]:
    folder = _installed("pydicom", "data/test_files")
    with warnings.catch_warnings():
        # odd on purpose: they are pydicom's tests
        warnings.simplefilter("ignore")
        for name in _SCANS:
            if (path := folder / name).is_file():
                pixels = np.asarray(pydicom.dcmread(path).pixel_array, np.float32)
                yield _stretched(pixels.mean(axis=2) if pixels.ndim == 3 else pixels)  # noqa: PLR2004 - colour
    if (path := _installed("matplotlib", "mpl-data/sample_data") / _MR).is_file():
        pixels = np.frombuffer(gzip.decompress(path.read_bytes()), ">u2")
        yield _stretched(pixels.reshape(_MR_SIDE, _MR_SIDE).astype(np.float32))


def _installed(package: str, folder: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return Path("/nowhere")
    return Path(next(iter(spec.submodule_search_locations))) / folder


def _stretched(pixels: Plane) -> Plane:
    low, high = np.percentile(pixels, (1, 99))
    stretched: Plane = np.clip((pixels - low) / max(high - low, 1), 0, 1).astype(np.float32)
    return stretched
