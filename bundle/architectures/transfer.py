"""A frozen backbone under a small head: what the notebook's two transfer networks have in common.

The backbone is one nested layer, as in the notebook, so that Keras' published weights fit it and
the rest is layer for layer what the notebook's summary lists. It is frozen here and not where it
is fitted: a frozen batch norm keeps its statistics, so all that depends on an image can be
computed once (`split`).
"""

from __future__ import annotations

from typing import Any, Final

INPUT_SIZE: Final = 128
CHANNELS: Final = 3
# Where the frozen part ends and what is fitted begins.
FLATTEN: Final = "flatten"
# The notebook names its rate for its own networks only; the same here.
_DROPOUT: Final = 0.3


def stacked(image: Any, scaled: Any, backbone: Any, units: int, name: str) -> Any:
    """Put the notebook's head on a backbone.

    Parameters
    ----------
    image, scaled : KerasTensor
        The network's input, and what the backbone is given of it.
    backbone : keras.Model
        Without top; is frozen.
    units : int
        Of each of the two dense layers.

    Returns
    -------
    keras.Model
        Output float32 of shape (batch, 2): softmax over NORMAL, PNEUMONIA, in that order.
    """
    import keras  # noqa: PLC0415 - TensorFlow takes seconds and 700 MB; only those who fit or serve with it pay

    layers = keras.layers
    backbone.trainable = False
    flow = layers.Flatten(name=FLATTEN)(backbone(scaled, training=False))
    for _ in range(2):
        flow = layers.Dense(units, activation="relu")(flow)
        flow = layers.Dropout(_DROPOUT)(flow)
    output = layers.Dense(2, activation="softmax", dtype="float32", name="label")(flow)
    return keras.Model(image, output, name=name)


def backbone_of(model: Any) -> Any:
    """Return the nested backbone of a network that `stacked` made."""
    import keras  # noqa: PLC0415 - as above

    return next(layer for layer in model.layers if isinstance(layer, keras.Model))


def split(model: Any) -> tuple[Any, Any]:
    """Return the frozen part, from image to features, and the head, from features to output.

    Both share their weights with `model`: fitting the head fits the network.
    """
    import keras  # noqa: PLC0415 - as above

    flat = model.get_layer(FLATTEN)
    after = model.layers[model.layers.index(flat) + 1 :]
    head = keras.Sequential([keras.Input(flat.output.shape[1:], name="features"), *after], name=f"{model.name}_head")
    return keras.Model(model.input, flat.output), head
