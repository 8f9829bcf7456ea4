"""The notebook's VGG-16 transfer network: 15,241,026 parameters, of which 526,338 are fitted.

VGG-16 after Simonyan and Zisserman 2014 (arXiv 1409.1556), as Keras ships it, without its top and
averaged over all places to 512 values. It was trained on BGR in 0 to 255 less the ImageNet mean; the
notebook gave it [0, 1].
"""

from __future__ import annotations

from typing import Any, Final

from bundle.architectures.transfer import CHANNELS, INPUT_SIZE, stacked

PARAMETERS: Final = 15_241_026
FITTED: Final = 526_338
# of ImageNet's blue, green and red, 0 to 255
_MEAN: Final = (103.939, 116.779, 123.68)
_UNITS: Final = 512


def build() -> Any:
    """Build the network with fresh weights and the preprocessing that its backbone was trained with.

    Returns
    -------
    keras.Model
        Input float32 of shape (batch, 128, 128, 3) in [0, 1], red first; output as `transfer.stacked` says.
    """
    import keras  # noqa: PLC0415 - TensorFlow takes seconds and 700 MB; only those who fit or serve with it pay

    image = keras.Input((INPUT_SIZE, INPUT_SIZE, CHANNELS), name="image")
    blue_first = keras.ops.flip(image, axis=-1)
    scaled = keras.layers.Rescaling(255.0, offset=[-mean for mean in _MEAN])(blue_first)
    return stacked(image, scaled, _backbone(), _UNITS, "seed_vgg16")


def build_as_notebook() -> Any:
    """Build the network with fresh weights, its backbone given [0, 1] as in the notebook; else as `build`."""
    import keras  # noqa: PLC0415 - as above

    image = keras.Input((INPUT_SIZE, INPUT_SIZE, CHANNELS), name="image")
    return stacked(image, image, _backbone(), _UNITS, "seed_vgg16_as_notebook")


def _backbone() -> Any:
    import keras  # noqa: PLC0415 - as above

    return keras.applications.VGG16(
        weights=None, include_top=False, input_shape=(INPUT_SIZE, INPUT_SIZE, CHANNELS), pooling="avg"
    )
