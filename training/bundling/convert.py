"""From a Keras network to the LiteRT model that serves on CPU."""

from __future__ import annotations

import tempfile
from typing import Any

from bundle.keras import with_features
from bundle.tensorflow_settings import before_tensorflow
from training.errors import FitFailed


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

    Raises
    ------
    FitFailed
        If there is no room for what lies between.
    """
    before_tensorflow()
    import tensorflow as tf  # noqa: PLC0415 - only those who build bundles pay for it

    signature = [tf.TensorSpec((1, *model.input_shape[1:]), tf.float32)]
    # not from_concrete_functions: it leaves the weights of a Keras 3 network out, without a word
    try:
        with tempfile.TemporaryDirectory(prefix="lungwatch-") as folder:
            with_features(model).export(folder, format="tf_saved_model", input_signature=signature, verbose=False)
            content: bytes = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    except (OSError, tf.errors.OpError) as error:
        raise FitFailed(
            f"{tempfile.gettempdir()}: the network could not be written there ({type(error).__name__}) on its way to "
            "LiteRT; make room, or name another folder in TMPDIR, and run the same command again"
        ) from error
    return content
