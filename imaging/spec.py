"""How a master becomes model input. The bundle carries the spec, so settings can never change what a model sees."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.errors import Misconfigured
from imaging.master import FULL_SCALE

# Part of the digest, so old predictions stay explained. What the first fields alone can say is written as version 1, so
# that bundles in the field keep their digest; what needs a later field is version 2, which older code refuses.
_PLAIN: Final = 1
_STANDARDISED: Final = 2
_LATER_FIELDS: Final = ("crop", "clip")
_LARGEST_SIDE: Final = 4096
_CHANNELS: Final = (1, 3)
_SCALES: Final = ("unit", "standard")
_LARGEST_CROP: Final = 0.25
# Standard deviations on the 0 to 1 scale below this are an empty image: dividing by them would blow noise up.
_FLAT: Final = 1e-3


@dataclass(frozen=True, slots=True)
class PreprocessSpec:
    """The whole of preprocessing after the master, as data.

    The published training copies were squashed to 224x224 by Pillow's
    bilinear filter, an anti-aliased triangle, and sharpness alone tells the
    classes of that collection apart. So whatever the network's own input
    size, every image passes through the same triangle at the same size first.

    Attributes
    ----------
    triangle_size : int
        Side of the first square, pixels; the aspect ratio is given up here,
        as it was for the training copies.
    input_size : int
        Side of the network's input, pixels; reached by a second triangle.
    channels : int
        1, or 3 equal ones.
    scale : {"unit", "standard"}
        ``"unit"``: stored value / 65535, 0 to 1. ``"standard"``: mean 0 and
        standard deviation 1 over each image, so that exposure and window tell nothing.
    crop : float
        Share of the first square cut off on each side before the second triangle, 0 to 0.25.
    clip : tuple of float or None
        Percentiles of the image that become its darkest and brightest value,
        such as ``(1, 99)``: a burnt-in letter then weighs no more than bone.
    """

    triangle_size: int = 224
    input_size: int = 128
    channels: int = 3
    scale: Literal["unit", "standard"] = "unit"
    crop: float = 0.0
    clip: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for name in ("triangle_size", "input_size"):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= _LARGEST_SIDE:
                raise Misconfigured(f"preprocessing: {name} must be a whole number from 1 to {_LARGEST_SIDE}")
        if self.channels not in _CHANNELS or type(self.channels) is not int:
            raise Misconfigured("preprocessing: channels must be 1 or 3")
        if self.scale not in _SCALES:
            raise Misconfigured(f"preprocessing: scale must be one of {', '.join(_SCALES)}")
        if type(self.crop) is not float or not 0 <= self.crop <= _LARGEST_CROP:
            raise Misconfigured(f"preprocessing: crop must be a share from 0.0 to {_LARGEST_CROP}")
        if self.clip is not None:
            _check_clip(self.clip)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read what `to_dict` wrote.

        Raises
        ------
        Misconfigured
            If a field is missing, unknown or out of range, or if the version
            is not the one this code implements.
        """
        fields = dict(values)
        version = fields.pop("version", None)
        if version not in {_PLAIN, _STANDARDISED} or type(version) is not int:
            raise Misconfigured(f"preprocessing: version {version!r} is not one this code implements")
        expected = set(cls.__dataclass_fields__)
        if version == _PLAIN:
            expected -= set(_LATER_FIELDS)
        if set(fields) != expected:
            raise Misconfigured(f"preprocessing: expected exactly the fields {sorted(expected)}")
        if isinstance(fields.get("clip"), list):
            # JSON has no tuples
            fields["clip"] = tuple(fields["clip"])
        spec = cls(**fields)
        if spec._version != version:
            raise Misconfigured(f"preprocessing: these fields are version {spec._version}, not {version}")
        return spec

    @property
    def _version(self) -> int:
        later = self.scale != "unit" or self.crop != 0 or self.clip is not None
        return _STANDARDISED if later else _PLAIN

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as JSON-ready data, version included."""
        values = {"version": self._version, **asdict(self)}
        if self.clip is not None:
            values["clip"] = list(self.clip)
        if self._version == _PLAIN:
            for name in _LATER_FIELDS:
                del values[name]
        return values

    def digest(self) -> str:
        """Return the SHA-256 of the spec's canonical JSON, 64 hexadecimal digits."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def apply(self, master: NDArray[np.uint16]) -> NDArray[np.float32]:
        """Make model input of a master.

        Parameters
        ----------
        master : ndarray of uint16, shape (rows, columns)
            0 black to 65535 white.

        Returns
        -------
        ndarray of float32, shape (input_size, input_size, channels)
            0 black to 1 white, or mean 0 and standard deviation 1 (an image
            of one grey is all 0), as `scale` says; rows first.

        Raises
        ------
        ValueError
            If `master` is no non-empty two-dimensional uint16 array.
        """
        return self.finish(self.square(master))

    def square(self, master: NDArray[np.uint16]) -> NDArray[np.float32]:
        """Make the first square of a master: what training shakes before it finishes as serving does.

        Returns
        -------
        ndarray of float32, shape (triangle_size, triangle_size)
            0 black to 65535 white.

        Raises
        ------
        ValueError
            If `master` is no non-empty two-dimensional uint16 array.
        """
        if master.dtype != np.uint16 or master.ndim != 2 or master.size == 0:  # noqa: PLR2004 - rows and columns
            raise ValueError("a master is a non-empty two-dimensional array of uint16")
        # mode "F" keeps 32-bit floats: the 8-bit and "I;16" modes would round between the two filters
        return _triangle(master.astype(np.float32), self.triangle_size, 0.0)

    def finish(self, square: NDArray[np.float32]) -> NDArray[np.float32]:
        """Make model input of the first square; see `apply`."""
        plane = _triangle(square, self.input_size, self.crop) / np.float32(FULL_SCALE)
        return np.repeat(self.normalise(plane)[:, :, np.newaxis], self.channels, axis=2)

    def normalise(self, plane: NDArray[np.float32]) -> NDArray[np.float32]:
        """Bring grey values to the network's scale.

        Parameters
        ----------
        plane : ndarray of float32, shape (rows, columns)
            0 black to 1 white.
        """
        if self.clip is not None:
            low, high = np.percentile(plane, self.clip)
            plane = np.clip(plane, np.float32(low), np.float32(high))
        if self.scale == "unit":
            return plane
        # sums in 64 bits: float32 ones depend on the order a processor adds in
        mean, deviation = float(plane.mean(dtype=np.float64)), float(plane.std(dtype=np.float64))
        return (plane - np.float32(mean)) / np.float32(max(deviation, _FLAT))


def _triangle(plane: NDArray[np.float32], side: int, crop: float) -> NDArray[np.float32]:
    """Shrink by Pillow's anti-aliased triangle to a square, `crop` of each side left out."""
    image = Image.fromarray(plane)
    width, height = image.size
    if (width, height) == (side, side) and crop == 0:
        return plane
    box = (crop * width, crop * height, (1 - crop) * width, (1 - crop) * height)
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box), dtype=np.float32)


def _check_clip(clip: object) -> None:
    numbers = isinstance(clip, tuple) and len(clip) == 2 and all(type(end) in {int, float} for end in clip)  # noqa: PLR2004 - two ends
    if not (numbers and isinstance(clip, tuple) and 0 <= clip[0] < clip[1] <= 100):  # noqa: PLR2004 - per cent
        raise Misconfigured("preprocessing: clip must be two rising percentiles from 0 to 100, or null")


def input_digest(array: NDArray[np.float32]) -> str:
    """Return the SHA-256 of model input (shape and little-endian values), 64 hexadecimal digits."""
    digest = hashlib.sha256(f"lungwatch input {array.shape}\n".encode())
    digest.update(np.ascontiguousarray(array, dtype="<f4").tobytes())
    return digest.hexdigest()
