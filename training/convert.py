"""From a Keras network to the LiteRT model that serves on CPU."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from bundle.keras import with_features
from bundle.manifest import WEIGHTS
from bundle.quiet import hush_tensorflow


def to_litert(model: Any) -> bytes:
    """Convert a network, float32 throughout, one image at a time.

    Parameters
    ----------
    model : keras.Model
        With one input and one output. A layer ``features``, if it has one, becomes a second output.

    Returns
    -------
    bytes
        Content of ``model.tflite``.
    """
    hush_tensorflow()
    import tensorflow as tf  # noqa: PLC0415 - only those who build bundles pay for it

    signature = [tf.TensorSpec((1, *model.input_shape[1:]), tf.float32)]
    # not from_concrete_functions: it leaves the weights of a Keras 3 network out, without a word
    with tempfile.TemporaryDirectory(prefix="lungwatch-") as folder:
        with_features(model).export(folder, format="tf_saved_model", input_signature=signature, verbose=False)
        content: bytes = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    return content


def to_weights(model: Any) -> bytes:
    """Return the content of ``model.weights.h5``: weights alone, no optimiser and no code."""
    with tempfile.TemporaryDirectory(prefix="lungwatch-") as folder:
        path = Path(folder) / WEIGHTS
        model.save_weights(path)
        return path.read_bytes()
