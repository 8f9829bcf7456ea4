"""The notebook's base network: three convolutions and one dense layer, 12,930,178 parameters."""

from __future__ import annotations

from typing import Any, Final

INPUT_SIZE: Final = 128
CHANNELS: Final = 3
PARAMETERS: Final = 12_930_178


def build() -> Any:
    """Build the network with fresh weights; pure Keras 3, so that any of its backends can run it.

    Returns
    -------
    keras.Model
        Input float32 of shape (batch, 128, 128, 3) in [0, 1]; output float32 of
        shape (batch, 2): softmax over NORMAL, PNEUMONIA, in that order.
    """
    import keras  # noqa: PLC0415 - TensorFlow takes seconds and 700 MB; only those who fit or serve with it pay

    layers = keras.layers
    # 3x3 without padding, each followed by 2x2 pooling: 128 -> 63 -> 30 -> 14, flattened to 25,088
    stack: list[Any] = [keras.Input((INPUT_SIZE, INPUT_SIZE, CHANNELS), name="image")]
    for filters in (16, 64, 128):
        stack += [layers.Conv2D(filters, 3, activation="relu"), layers.MaxPooling2D(2)]
    stack += [
        layers.Flatten(),
        layers.Dense(512, activation="relu"),
        layers.Dense(2, activation="softmax", dtype="float32", name="label"),
    ]
    return keras.Sequential(stack, name="seed_base")
