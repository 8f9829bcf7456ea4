"""What runs a network: LiteRT on CPU, Keras on TensorFlow where a GPU is visible, both behind one protocol."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from core.settings import RuntimeChoice, Settings

# where Linux shows an NVIDIA GPU: the driver's device nodes, or WSL's
_GPU_NODES: Final = ("nvidia[0-9]*", "dxg")


@dataclass(frozen=True, slots=True)
class KerasOptions:
    """What a Keras network computes with.

    Attributes
    ----------
    batch : int
        The largest batch to be ready for.
    gpu : int or None
        Number of the GPU, among those that are visible; None takes the first.
    memory_bytes : int or None
        Most of its memory; None lets it grow as needed.
    xla : bool
        Compile with XLA; TensorFlow's alone, JAX has nothing else.
    """

    batch: int = 32
    gpu: int | None = None
    memory_bytes: int | None = None
    xla: bool = False

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Take what is set."""
        return cls(settings.inference_batch, settings.gpu, settings.gpu_memory_bytes, settings.inference_xla)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a network made of some images.

    Attributes
    ----------
    scores : ndarray of float32, shape (n,)
        As `Runtime.predict` gives them.
    features : ndarray of float32, shape (n, rows, columns, channels), or None
        The last map before pooling; None where the network offers none.
    """

    scores: NDArray[np.float32]
    features: NDArray[np.float32] | None


class Runtime(Protocol):
    """A network ready to score."""

    @property
    def name(self) -> str:
        """``litert`` or ``keras``; stored with every prediction."""
        ...

    @property
    def batches_pay(self) -> bool:
        """Whether many images at once cost much less than one by one, so that one may wait for others."""
        ...

    def predict(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score images.

        Parameters
        ----------
        inputs : ndarray of float32, shape (n, height, width, channels)
            As the bundle's `PreprocessSpec` makes them.

        Returns
        -------
        ndarray of float32, shape (n,)
            The network's output for PNEUMONIA as it comes: whoever uses it
            must expect that it may not be finite.

        Raises
        ------
        ValueError
            If the inputs have another shape or dtype than the network's.
        """
        ...

    def look(self, inputs: NDArray[np.float32]) -> Seen:
        """Score images and give the features they were scored by, in one inference; else as `predict`."""
        ...


def gpu_is_visible(devices: Path = Path("/dev")) -> bool:
    """Whether TensorFlow could see a GPU, told without importing it (that takes seconds and 700 MB)."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in {"", "-1"}:
        return False
    return any(True for pattern in _GPU_NODES for _ in devices.glob(pattern))


def choose(choice: RuntimeChoice) -> RuntimeChoice:
    """Resolve AUTO."""
    if choice is not RuntimeChoice.AUTO:
        return choice
    return RuntimeChoice.KERAS if gpu_is_visible() else RuntimeChoice.LITERT


def check_inputs(inputs: NDArray[np.float32], shape: tuple[int, ...]) -> None:
    """Raise ValueError unless `inputs` is float32 of (n, *shape)."""
    if inputs.dtype != np.float32 or inputs.ndim != len(shape) + 1 or inputs.shape[1:] != shape:
        raise ValueError(f"the network takes float32 of shape (n, {', '.join(map(str, shape))})")
