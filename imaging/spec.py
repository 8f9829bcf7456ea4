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

# Counts up when the same fields would mean other numbers; part of the digest, so old predictions stay explained.
SPEC_VERSION: Final = 1
_LARGEST_SIDE: Final = 4096
_CHANNELS: Final = (1, 3)


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
    scale : {"unit"}
        ``"unit"``: stored value / 65535, 0 to 1.
    """

    triangle_size: int = 224
    input_size: int = 128
    channels: int = 3
    scale: Literal["unit"] = "unit"

    def __post_init__(self) -> None:
        for name in ("triangle_size", "input_size"):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= _LARGEST_SIDE:
                raise Misconfigured(f"preprocessing: {name} must be a whole number from 1 to {_LARGEST_SIDE}")
        if self.channels not in _CHANNELS or type(self.channels) is not int:
            raise Misconfigured("preprocessing: channels must be 1 or 3")
        if self.scale != "unit":
            raise Misconfigured("preprocessing: the only scale known is 'unit'")

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
        if version != SPEC_VERSION:
            raise Misconfigured(f"preprocessing: version {version!r} is not the one this code implements")
        expected = set(cls.__dataclass_fields__)
        if set(fields) != expected:
            raise Misconfigured(f"preprocessing: expected exactly the fields {sorted(expected)}")
        return cls(**fields)

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as JSON-ready data, version included."""
        return {"version": SPEC_VERSION, **asdict(self)}

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
            0 black to 1 white, rows first.

        Raises
        ------
        ValueError
            If `master` is no non-empty two-dimensional uint16 array.
        """
        if master.dtype != np.uint16 or master.ndim != 2 or master.size == 0:  # noqa: PLR2004 - rows and columns
            raise ValueError("a master is a non-empty two-dimensional array of uint16")
        # mode "F" keeps 32-bit floats: the 8-bit and "I;16" modes would round between the two filters
        image = Image.fromarray(master.astype(np.float32))
        for side in (self.triangle_size, self.input_size):
            if image.size != (side, side):
                image = image.resize((side, side), Image.Resampling.BILINEAR)
        plane = np.asarray(image, dtype=np.float32) / np.float32(FULL_SCALE)
        return np.repeat(plane[:, :, np.newaxis], self.channels, axis=2)


def input_digest(array: NDArray[np.float32]) -> str:
    """Return the SHA-256 of model input (shape and little-endian values), 64 hexadecimal digits."""
    digest = hashlib.sha256(f"lungwatch input {array.shape}\n".encode())
    digest.update(np.ascontiguousarray(array, dtype="<f4").tobytes())
    return digest.hexdigest()
