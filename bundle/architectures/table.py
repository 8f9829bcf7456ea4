"""Which networks a bundle may name: weights are loaded into one of these and into nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from bundle.architectures import se_resnet, seed_base, seed_mobilenetv2, seed_regularised, seed_vgg16

# The layers a network of ours goes by: its last map, the mean of that over all places, its output. A network that has
# a layer called FEATURES offers it to whoever serves it, beside its score.
FEATURES: Final = se_resnet.FEATURES
LABEL: Final = se_resnet.LABEL

# Without arguments, the network at the size it serves at. Those of convolutions alone also take another side, or None.
ARCHITECTURES: Final[dict[str, Callable[..., Any]]] = {
    "seed_base": seed_base.build,
    "seed_regularised": seed_regularised.build,
    "seed_vgg16": seed_vgg16.build,
    "seed_vgg16_as_notebook": seed_vgg16.build_as_notebook,
    "seed_mobilenetv2": seed_mobilenetv2.build,
    "seed_mobilenetv2_as_notebook": seed_mobilenetv2.build_as_notebook,
    "se_resnet": se_resnet.build,
}
