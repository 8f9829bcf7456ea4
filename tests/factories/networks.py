"""Networks of the same make as ours that compile in a second."""

from __future__ import annotations

from typing import Any


def tiny(size: int | None = 32) -> Any:
    """Build convolution, batch norm, pooling, dropout and a label, for one grey plane."""
    import keras  # noqa: PLC0415 - TensorFlow takes seconds

    layers = keras.layers
    image = keras.Input((size, size, 1), name="image")
    flow = layers.Conv2D(8, 3, 2, padding="same", use_bias=False)(image)
    flow = layers.Activation("relu", name="features")(layers.BatchNormalization()(flow))
    flow = layers.Dropout(0.2)(layers.GlobalAveragePooling2D(name="pooled")(flow))
    return keras.Model(image, layers.Dense(2, activation="softmax", dtype="float32", name="label")(flow))


def small(size: int | None = 32) -> Any:
    """Build what tells drawn chests (`tests.factories.chests`) within a few epochs: two convolutions instead of one."""
    import keras  # noqa: PLC0415 - TensorFlow takes seconds

    layers = keras.layers
    image = keras.Input((size, size, 1), name="image")
    flow = layers.Conv2D(16, 5, 2, padding="same", use_bias=False)(image)
    flow = layers.Activation("relu")(layers.BatchNormalization()(flow))
    flow = layers.Conv2D(32, 3, 2, padding="same", use_bias=False)(flow)
    flow = layers.Activation("relu", name="features")(layers.BatchNormalization()(flow))
    flow = layers.GlobalAveragePooling2D(name="pooled")(flow)
    return keras.Model(image, layers.Dense(2, activation="softmax", dtype="float32", name="label")(flow))
