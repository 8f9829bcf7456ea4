"""Serving with TensorFlow, where a GPU makes batches worth it.

The network is built by our own code and only weights come from the bundle:
Keras' own archive formats can name code to run, and `safe_mode` is no boundary.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.architectures.table import ARCHITECTURES, FEATURES, LABEL
from bundle.errors import BundleRefused
from bundle.manifest import WEIGHTS
from bundle.quiet import hush_tensorflow
from bundle.runtime import Seen, check_inputs


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
    hush_tensorflow()
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
    """A Keras network on TensorFlow.

    Parameters
    ----------
    architecture, weights
        As for `network`.
    positive_column : int
        Which output column is PNEUMONIA.
    labels : int
        How many columns there must be.
    """

    name = "keras"

    def __init__(self, architecture: str, weights: bytes, positive_column: int, labels: int) -> None:
        hush_tensorflow()
        import tensorflow as tf  # noqa: PLC0415 - seconds and 700 MB that only this runtime pays

        for gpu in tf.config.list_physical_devices("GPU"):
            # several workers share a GPU; the default takes all of its memory
            tf.config.experimental.set_memory_growth(gpu, True)  # noqa: FBT003 - TensorFlow's signature
        model = network(architecture, weights)
        self._shape = tuple(int(side) for side in model.input_shape[1:])
        if model.output_shape[-1] != labels:
            raise BundleRefused("the bundle's network does not give one column per label")
        self._column = positive_column
        signature = tf.TensorSpec((None, *self._shape), tf.float32)
        whole = with_features(model)
        # one trace for every batch size, and a fraction of the cost of Keras' own predict
        self._call = tf.function(lambda images: whole(images, training=False), input_signature=[signature])
        self._features = None if whole is model else tuple(model.get_layer(FEATURES).output.shape[1:])

    def predict(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score images; see `bundle.runtime.Runtime.predict`."""
        return self.look(inputs).scores

    def look(self, inputs: NDArray[np.float32]) -> Seen:
        """Score images and give their features; see `bundle.runtime.Runtime.look`."""
        check_inputs(inputs, self._shape)
        if len(inputs) == 0:
            nothing = None if self._features is None else np.empty((0, *self._features), np.float32)
            return Seen(np.empty(0, np.float32), nothing)
        found = self._call(inputs)
        if self._features is None:
            return Seen(found.numpy()[:, self._column], None)
        return Seen(found[LABEL].numpy()[:, self._column], found[FEATURES].numpy())
