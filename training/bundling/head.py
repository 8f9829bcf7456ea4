"""Taking the last layer out of a fitted network, for heatmaps without the network."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from bundle.architectures.table import FEATURES, LABEL
from bundle.head import Head
from bundle.manifest import POSITIVE
from bundle.runtime import Runtime
from training.datasets.dataset import LABELS
from training.datasets.pixels import Examples

_BATCH: Final = 64
_SMALLEST: Final = 1e-3


def head_of(model: Any, runtime: Runtime, held_out: Examples) -> Head | None:
    """Return a network's head; None where it offers no features.

    Parameters
    ----------
    model : keras.Model
        Fitted.
    runtime : Runtime
        With the same network; what the scale of heatmaps is measured with.
    held_out : Examples
        Of patients it was not fitted on.
    """
    if FEATURES not in {layer.name for layer in model.layers}:
        return None
    kernel, bias = model.get_layer(LABEL).get_weights()
    positive = LABELS.index(POSITIVE)
    head = Head(kernel[:, positive] - kernel[:, 1 - positive], float(bias[positive] - bias[1 - positive]), 1.0)
    ill = np.flatnonzero(held_out.labels == positive)
    strongest = []
    for start in range(0, len(ill), _BATCH):
        seen = runtime.look(held_out.inputs(ill[start : start + _BATCH]))
        if seen.features is not None:
            strongest.append(head.contributions(seen.features).max(axis=(1, 2)))
    full = max(float(np.median(np.concatenate(strongest))), _SMALLEST)
    return Head(head.towards, head.offset, full)
