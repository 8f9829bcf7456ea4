"""The notebook's MobileNetV2 transfer network: 7,567,426 parameters, of which 5,309,442 are fitted.

MobileNetV2 after Sandler et al. 2018 (arXiv 1801.04381), as Keras ships it, width 1.0 and without its
top: 4 x 4 x 1280, flattened to 20,480. It was trained on [-1, 1]; the notebook gave it [0, 1].
"""

from __future__ import annotations

from typing import Any, Final

from bundle.architectures.transfer import CHANNELS, INPUT_SIZE, stacked

PARAMETERS: Final = 7_567_426
FITTED: Final = 5_309_442
_UNITS: Final = 256


def build() -> Any:
    """Build the network with fresh weights and the preprocessing that its backbone was trained with.

    Returns
    -------
    keras.Model
        Input float32 of shape (batch, 128, 128, 3) in [0, 1]; output as `transfer.stacked` says.
    """
    import keras  # noqa: PLC0415 - TensorFlow takes seconds and 700 MB; only those who fit or serve with it pay

    image = keras.Input((INPUT_SIZE, INPUT_SIZE, CHANNELS), name="image")
    scaled = keras.layers.Rescaling(2.0, offset=-1.0)(image)
    return stacked(image, scaled, _backbone(), _UNITS, "seed_mobilenetv2")


def build_as_notebook() -> Any:
    """Build the network with fresh weights, its backbone given [0, 1] as in the notebook; else as `build`."""
    import keras  # noqa: PLC0415 - as above

    image = keras.Input((INPUT_SIZE, INPUT_SIZE, CHANNELS), name="image")
    return stacked(image, image, _backbone(), _UNITS, "seed_mobilenetv2_as_notebook")


def _backbone() -> Any:
    import keras  # noqa: PLC0415 - as above

    return keras.applications.MobileNetV2(
        weights=None, include_top=False, alpha=1.0, input_shape=(INPUT_SIZE, INPUT_SIZE, CHANNELS)
    )
