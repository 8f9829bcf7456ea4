"""What differs between the backends of Keras when a network serves; all else of ours is pure Keras.

TensorFlow is what Lungwatch requires. Where a GPU is one that TensorFlow does not run on, whoever installs PyTorch or
JAX beside it says ``KERAS_BACKEND=torch`` or ``jax``, and the same networks serve with the same weights.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from bundle.runtime import KerasOptions
from bundle.tensorflow_settings import before_tensorflow
from core.errors import Misconfigured

# what it answers are tensors of the backend: one, or several by name
Network = Callable[[NDArray[np.float32]], Any]

_MEGABYTE: Final = 1 << 20
_CPU: Final = "cpu"


class Backend(Protocol):
    """A Keras backend, set up before the first network is built.

    Attributes
    ----------
    on_gpu : bool
        Whether it computes on one.
    fixed_shapes : bool
        Whether each new batch size costs a compilation, or a search for the fastest kernels.
    """

    on_gpu: bool
    fixed_shapes: bool

    def here(self) -> AbstractContextManager[Any]:
        """Place what is built within the block where it computes."""
        ...

    def compile(self, model: Any) -> Network:
        """Return how a network, built `here`, is called for its answer alone; from any thread."""
        ...


def set_up(options: KerasOptions) -> Backend:
    """Set up the backend that Keras was told to use; doing it again with the same options changes nothing.

    Raises
    ------
    Misconfigured
        If an option cannot be met, or the backend is none of these.
    """
    before_tensorflow()
    if os.environ.get("KERAS_BACKEND") == "jax":
        # read while it is imported; else it takes most of the GPU's memory at once
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import keras  # noqa: PLC0415 - seconds and, with TensorFlow, 700 MB that only this runtime pays

    name = keras.backend.backend()
    backends: dict[str, Callable[[KerasOptions], Backend]] = {"tensorflow": _TensorFlow, "torch": _Torch, "jax": _Jax}
    if name not in backends:
        raise Misconfigured(f"KERAS_BACKEND={name} cannot serve; it may be {', '.join(backends)}")
    return backends[name](options)


class _TensorFlow:
    def __init__(self, options: KerasOptions) -> None:
        import tensorflow as tf  # noqa: PLC0415 - as Keras

        self._tf = tf
        self._xla = options.xla
        self.on_gpu = take_gpu(tf.config, options)
        self.fixed_shapes = self.on_gpu or options.xla

    def here(self) -> AbstractContextManager[Any]:
        # it sees one GPU alone, or takes the first of itself
        return nullcontext()

    def compile(self, model: Any) -> Network:
        signature = self._tf.TensorSpec(model.input_shape, self._tf.float32)
        # one trace for every batch size, and a fraction of the cost of Keras' own predict
        traced: Network = self._tf.function(
            lambda images: model(images, training=False), input_signature=[signature], jit_compile=self._xla or None
        )
        return traced


def take_gpu(config: Any, options: KerasOptions) -> bool:
    """Let TensorFlow see the GPU that is ours and take of its memory what it may; whether there is one.

    Parameters
    ----------
    config : module
        ``tensorflow.config``.

    Raises
    ------
    Misconfigured
        If there is no GPU of that number.
    """
    gpus = config.list_physical_devices("GPU")
    if options.gpu is not None:
        check_number(options.gpu, len(gpus))
        gpus = gpus[options.gpu : options.gpu + 1]
    try:
        if options.gpu is not None:
            config.set_visible_devices(gpus, "GPU")
        for gpu in gpus:
            if options.memory_bytes is None:
                # the default takes all there is
                config.experimental.set_memory_growth(gpu, True)  # noqa: FBT003 - TensorFlow's signature
            else:
                cap = config.LogicalDeviceConfiguration(memory_limit=options.memory_bytes // _MEGABYTE)
                config.set_logical_device_configuration(gpu, [cap])
    except RuntimeError:
        # this process has computed before, as one that fits does: what was set by then stays
        pass
    return bool(gpus)


class _Torch:
    def __init__(self, options: KerasOptions) -> None:
        import torch  # noqa: PLC0415 - no requirement of ours

        self._torch = torch
        self.on_gpu = self.fixed_shapes = torch.cuda.is_available()
        self._device = _device(options, torch.cuda.device_count())
        if self.on_gpu and options.memory_bytes is not None:
            number = options.gpu or 0
            whole = torch.cuda.get_device_properties(number).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, options.memory_bytes / whole), number)

    def here(self) -> AbstractContextManager[Any]:
        import keras  # noqa: PLC0415 - as above

        scope: AbstractContextManager[Any] = keras.device(self._device)
        return scope

    def compile(self, model: Any) -> Network:
        def call(images: NDArray[np.float32]) -> Any:
            with self.here(), self._torch.no_grad():
                return model(images, training=False)

        return call


class _Jax:
    # it compiles for each
    fixed_shapes = True

    def __init__(self, options: KerasOptions) -> None:
        import jax  # noqa: PLC0415 - no requirement of ours

        if options.memory_bytes is not None:
            message = "LUNGWATCH_GPU_MEMORY_BYTES does nothing with JAX; set XLA_PYTHON_CLIENT_MEM_FRACTION instead"
            raise Misconfigured(message)
        self._jax = jax
        self.on_gpu = jax.default_backend() == "gpu"
        self._device = _device(options, jax.device_count() if self.on_gpu else 0)

    def here(self) -> AbstractContextManager[Any]:
        import keras  # noqa: PLC0415 - as above

        scope: AbstractContextManager[Any] = keras.device(self._device)
        return scope

    def compile(self, model: Any) -> Network:
        fitted, rest = (
            [one.value for one in part] for part in (model.trainable_variables, model.non_trainable_variables)
        )
        jitted = self._jax.jit(lambda images: model.stateless_call(fitted, rest, images, training=False)[0])

        def call(images: NDArray[np.float32]) -> Any:
            with self.here():
                return jitted(images)

        return call


def _device(options: KerasOptions, gpus: int) -> str:
    if options.gpu is not None:
        check_number(options.gpu, gpus)
    return _CPU if gpus == 0 else f"gpu:{options.gpu or 0}"


def check_number(gpu: int, gpus: int) -> None:
    """Raise Misconfigured unless there is a GPU of that number."""
    if gpu >= gpus:
        raise Misconfigured(
            f"LUNGWATCH_GPU is {gpu}, but Keras sees {gpus} GPUs here, counted from 0; see also CUDA_VISIBLE_DEVICES"
        )
