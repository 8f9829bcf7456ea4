"""Serving with Keras, on TensorFlow and where a GPU makes batches worth it.

The network is built by our own code and only weights come from the bundle:
Keras' own archive formats can name code to run, and `safe_mode` is no boundary.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bundle import backends
from bundle.architectures.table import ARCHITECTURES, FEATURES, LABEL
from bundle.errors import BundleRefused
from bundle.manifest import WEIGHTS
from bundle.runtime import KerasOptions, Seen, check_inputs
from bundle.tensorflow_settings import before_tensorflow

# what stands in predictions' rows
_NAME: Final = "keras"
_USUAL: Final = "tensorflow"


def network(architecture: str, weights: bytes) -> Any:
    """Build a network in code and fill it with verified weights.

    Parameters
    ----------
    architecture : str
        A key of `ARCHITECTURES`.
    weights : bytes
        Verified content of ``model.weights.h5``.

    Returns
    -------
    keras.Model

    Raises
    ------
    BundleRefused
        If we have no such architecture, or the weights do not fit it.
    """
    if architecture not in ARCHITECTURES:
        raise BundleRefused(f"the bundle's architecture {architecture!r} is not in this version of Lungwatch")
    before_tensorflow()
    model = ARCHITECTURES[architecture]()
    # Keras reads weights from a path only; ours holds the bytes that were verified, and nobody else may write there
    with tempfile.TemporaryDirectory(prefix="lungwatch-") as folder:
        path = Path(folder) / WEIGHTS
        path.write_bytes(weights)
        try:
            model.load_weights(path)
        except (ValueError, OSError, KeyError) as error:
            raise BundleRefused(f"the bundle's weights do not fit the architecture {architecture}") from error
    return model


def with_features(model: Any) -> Any:
    """Return a network that gives its last map as well, under ``features`` beside ``label``; itself where it has none.

    Both are of one pass, so the map costs nothing more.
    """
    if FEATURES not in {layer.name for layer in model.layers}:
        return model
    import keras  # noqa: PLC0415 - as TensorFlow

    return keras.Model(model.input, {LABEL: model.output, FEATURES: model.get_layer(FEATURES).output}, name=model.name)


class KerasRuntime:
    """A Keras network, on TensorFlow unless ``KERAS_BACKEND`` says otherwise.

    Where each batch size costs a compilation, batches are filled up to one of
    a few sizes, and all of those are run before the first image: nothing is
    compiled in service.

    Parameters
    ----------
    architecture, weights
        As for `network`.
    positive_column : int
        Which output column is PNEUMONIA.
    labels : int
        How many columns there must be.
    options : KerasOptions
        What it computes with.

    Attributes
    ----------
    name : str
        ``keras`` on TensorFlow, else ``keras-`` and the backend.
    batches_pay : bool
        See `bundle.runtime.Runtime.batches_pay`.

    Raises
    ------
    BundleRefused
        If the network is not what the bundle says.
    Misconfigured
        If an option cannot be met here.
    """

    def __init__(
        self,
        architecture: str,
        weights: bytes,
        positive_column: int,
        labels: int,
        options: KerasOptions = KerasOptions(),  # noqa: B008 - frozen
    ) -> None:
        backend = backends.set_up(options)
        import keras  # noqa: PLC0415 - set up first

        self._to_numpy = keras.ops.convert_to_numpy
        self.name = _NAME if keras.backend.backend() == _USUAL else f"{_NAME}-{keras.backend.backend()}"
        self.batches_pay = backend.on_gpu
        with backend.here():
            model = network(architecture, weights)
            whole = with_features(model)
        self._shape = tuple(int(side) for side in model.input_shape[1:])
        if model.output_shape[-1] != labels:
            raise BundleRefused("the bundle's network does not give one column per label")
        self._column = positive_column
        self._features = None if whole is model else tuple(model.get_layer(FEATURES).output.shape[1:])
        self._call = backend.compile(whole)
        self._sizes = batch_sizes(options.batch) if backend.fixed_shapes else ()
        for size in self._sizes:
            self._call(np.zeros((size, *self._shape), np.float32))

    def predict(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score images; see `bundle.runtime.Runtime.predict`."""
        return self.look(inputs).scores

    def look(self, inputs: NDArray[np.float32]) -> Seen:
        """Score images and give their features; see `bundle.runtime.Runtime.look`."""
        check_inputs(inputs, self._shape)
        if len(inputs) == 0:
            nothing = None if self._features is None else np.empty((0, *self._features), np.float32)
            return Seen(np.empty(0, np.float32), nothing)
        parts = [self._look(part) for part in self._parts(inputs)]
        features = None if self._features is None else np.concatenate([part.features for part in parts])
        return Seen(np.concatenate([part.scores for part in parts]), features)

    def _parts(self, inputs: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """Yield the images in batches no larger than the largest that is ready."""
        most = self._sizes[-1] if self._sizes else len(inputs)
        for start in range(0, len(inputs), most):
            yield inputs[start : start + most]

    def _look(self, inputs: NDArray[np.float32]) -> Seen:
        count = len(inputs)
        size = next((size for size in self._sizes if size >= count), count)
        found = self._call(np.concatenate([inputs, np.zeros((size - count, *self._shape), np.float32)]))
        if self._features is None:
            return Seen(self._to_numpy(found)[:count, self._column], None)
        scores, features = self._to_numpy(found[LABEL]), self._to_numpy(found[FEATURES])
        return Seen(scores[:count, self._column], features[:count])


def batch_sizes(most: int) -> tuple[int, ...]:
    """Return the powers of two below `most`, and `most`: no batch is filled up to twice its size."""
    return (*(1 << power for power in range((most - 1).bit_length())), most)
