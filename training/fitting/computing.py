"""What a fit is computed with: the precision, and the devices a batch is shared among."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final

from bundle.tensorflow_settings import before_tensorflow
from core.logging import get
from training.errors import FitFailed

_log = get(__name__)

# Volta: the first whose units for half precision are faster
_HALVES_WELL: Final = (7, 0)


class Precision(StrEnum):
    """Of layers' values; weights, losses and the last layer are float32 in any case."""

    AUTO = "auto"
    FLOAT32 = "float32"
    MIXED_FLOAT16 = "mixed_float16"


@dataclass(frozen=True, slots=True)
class Computing:
    """How a fit is computed.

    Attributes
    ----------
    precision : Precision
        Not AUTO; half precision scales the loss so that small gradients do not vanish.
    devices : tuple of str
        TensorFlow's names of those that share every batch; empty leaves it to Keras, which takes the first GPU.
    """

    precision: Precision = Precision.FLOAT32
    devices: tuple[str, ...] = ()

    @property
    def shares(self) -> int:
        """Into how many a batch is parted."""
        return max(len(self.devices), 1)

    def fingerprint(self, fit: str) -> str:
        """Return a fit's fingerprint, another where epochs of other precision could not be gone on with."""
        if self.precision is Precision.FLOAT32:
            return fit
        return hashlib.sha256(f"{fit}\n{self.precision}".encode()).hexdigest()

    @contextmanager
    def building(self) -> Iterator[None]:
        """Let networks that are built and compiled within the block compute so."""
        import keras  # noqa: PLC0415 - only those who fit pay for TensorFlow

        before = keras.config.dtype_policy()
        with ExitStack() as stack:
            stack.callback(keras.config.set_dtype_policy, before)
            keras.config.set_dtype_policy(str(self.precision))
            if self.devices:
                stack.enter_context(_mirrored(self.devices).scope())
            yield

    def spread(self, network: Any) -> Any:
        """Let a network's batch norms measure over the whole batch and not over a device's share; returns it."""
        import keras  # noqa: PLC0415 - only those who fit pay for TensorFlow

        if self.devices:
            for layer in network.layers:
                if isinstance(layer, keras.layers.BatchNormalization):
                    layer.synchronized = True
        return network


PLAIN: Final = Computing()


@lru_cache
def _mirrored(devices: tuple[str, ...]) -> Any:
    """Return the strategy; one a process, since what two of them say to each other's devices is mixed up."""
    import tensorflow as tf  # noqa: PLC0415 - only those who fit pay for TensorFlow

    return tf.distribute.MirroredStrategy(list(devices))


def choose(precision: Precision, devices: int | None, batch_size: int) -> Computing:
    """Choose what to compute with from what there is: all GPUs, in half precision where all do it well.

    Parameters
    ----------
    precision : Precision
    devices : int, optional
        So many GPUs, or where there is none, so many CPUs as TensorFlow was told to make of the one; else as many
        GPUs as share a batch evenly.
    batch_size : int
        Of the recipe.

    Raises
    ------
    FitFailed
        If there are fewer, or they cannot share a batch evenly.
    """
    if precision is Precision.FLOAT32 and devices == 1:
        return PLAIN
    before_tensorflow()
    import tensorflow as tf  # noqa: PLC0415 - only those who fit pay for TensorFlow

    gpus = tf.config.list_physical_devices("GPU")
    if precision is Precision.AUTO:
        abilities = [tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) for gpu in gpus]
        well = bool(gpus) and all(ability >= _HALVES_WELL for ability in abilities)
        precision = Precision.MIXED_FLOAT16 if well else Precision.FLOAT32
    there = [device.name for device in tf.config.list_logical_devices("GPU" if gpus else "CPU")]
    wanted = devices or max(count for count in range(1, max(len(gpus), 1) + 1) if batch_size % count == 0)
    if wanted > len(there):
        raise FitFailed(f"{wanted} devices were asked for and {len(there)} are there; lower --devices")
    if batch_size % wanted:
        raise FitFailed(f"{wanted} devices cannot share a batch of {batch_size} images evenly; change --devices")
    chosen = Computing(precision, tuple(there[:wanted]) if wanted > 1 else ())
    _log.info("computing_chosen", precision=str(precision), devices=wanted, gpus=len(gpus))
    return chosen
