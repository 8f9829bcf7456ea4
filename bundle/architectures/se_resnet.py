"""A small residual network with squeeze and excitation: 160 x 160 standardised grey, 2 M parameters.

Residual blocks after He et al. 2016 (arXiv 1512.03385), with average pooling in the
shortcut (He et al. 2018, arXiv 1812.01187) and squeeze-and-excitation gates (Hu et
al. 2018, arXiv 1709.01507). Everything up to the pooling is convolution, so the
same weights take any input size: fitting begins with small images.

The pooling head makes a class activation map cheap: the layer ``features`` times
the kernel of the layer ``label``, place by place, is the map (Zhou et al. 2016).
"""

from __future__ import annotations

from typing import Any, Final

INPUT_SIZE: Final = 160
CHANNELS: Final = 1
PARAMETERS: Final = 1_972_426
# Layers others build on: the last map, its mean over all places, the output.
FEATURES: Final = "features"
POOLED: Final = "pooled"
LABEL: Final = "label"

_STAGES: Final = (32, 64, 128, 192)
_BLOCKS: Final = 2
_SQUEEZE: Final = 8
_DROPOUT: Final = 0.2
# Statistics are measured anew on clean images when fitting ends; until then they should follow the weights closely.
_MOMENTUM: Final = 0.9


def build(size: int | None = INPUT_SIZE) -> Any:
    """Build the network with fresh weights; pure Keras 3, so that any of its backends can run it.

    Parameters
    ----------
    size : int or None
        Side of the input; None takes any, for fitting. The weights are the same.

    Returns
    -------
    keras.Model
        Input float32 of shape (batch, size, size, 1), standardised; output float32 of
        shape (batch, 2): softmax over NORMAL, PNEUMONIA, in that order.
    """
    import keras  # noqa: PLC0415 - TensorFlow takes seconds and 700 MB; only those who fit or serve with it pay

    layers = keras.layers
    image = keras.Input((size, size, CHANNELS), name="image")
    flow = _convolution(image, _STAGES[0], 3, 2)
    flow = layers.Activation("relu")(flow)
    flow = layers.MaxPooling2D(3, 2, padding="same")(flow)
    for stage, filters in enumerate(_STAGES):
        for block in range(_BLOCKS):
            last = stage == len(_STAGES) - 1 and block == _BLOCKS - 1
            stride = 2 if stage > 0 and block == 0 else 1
            flow = _block(flow, filters, stride, FEATURES if last else None)
    flow = layers.GlobalAveragePooling2D(name=POOLED)(flow)
    flow = layers.Dropout(_DROPOUT)(flow)
    # float32 whatever the precision of the rest: half of it would round probabilities near 1
    output = layers.Dense(2, activation="softmax", dtype="float32", name=LABEL)(flow)
    return keras.Model(image, output, name="se_resnet")


def _block(flow: Any, filters: int, stride: int, name: str | None) -> Any:
    """Two convolutions and a gate beside a shortcut."""
    import keras  # noqa: PLC0415 - as above

    layers = keras.layers
    shortcut = flow
    if stride > 1:
        shortcut = layers.AveragePooling2D(stride, padding="same")(shortcut)
    if stride > 1 or flow.shape[-1] != filters:
        shortcut = _convolution(shortcut, filters, 1)
    flow = layers.Activation("relu")(_convolution(flow, filters, 3, stride))
    # a gain of nought at the start makes every block the identity, and the first steps gentle
    flow = _convolution(flow, filters, 3, gain="zeros")
    gate = layers.GlobalAveragePooling2D(keepdims=True)(flow)
    gate = layers.Conv2D(filters // _SQUEEZE, 1, activation="relu")(gate)
    gate = layers.Conv2D(filters, 1, activation="sigmoid")(gate)
    flow = layers.Multiply()([flow, gate])
    return layers.Activation("relu", name=name)(layers.Add()([shortcut, flow]))


def _convolution(flow: Any, filters: int, width: int, stride: int = 1, gain: str = "ones") -> Any:
    import keras  # noqa: PLC0415 - as above

    layers = keras.layers
    flow = layers.Conv2D(filters, width, stride, padding="same", use_bias=False, kernel_initializer="he_normal")(flow)
    return layers.BatchNormalization(momentum=_MOMENTUM, gamma_initializer=gain)(flow)
