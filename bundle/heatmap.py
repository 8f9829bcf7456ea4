"""A heatmap of a master under a model, in one call: for whoever has both and no score yet."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bundle.errors import BundleRefused
from bundle.load import LoadedModel
from imaging.heatmap import render


def heatmap(master: NDArray[np.uint16], model: LoadedModel) -> bytes:
    """Draw what the model's score of a master came from, by one inference; see `imaging.heatmap.render`.

    Where the map is known already (a prediction's row keeps it), `imaging.heatmap.render` alone does it.

    Parameters
    ----------
    master : ndarray of uint16, shape (rows, columns)
        See `imaging.master`.

    Returns
    -------
    bytes
        A PNG file.

    Raises
    ------
    BundleRefused
        If the model's bundle has no head, or its network offers no features.
    """
    refuse_without(model)
    seen = model.runtime.look(model.spec.apply(master)[np.newaxis])
    if model.head is None or seen.features is None:
        raise BundleRefused(f"the runtime of {model.manifest.title} gives no features")
    return render(master, model.head.heat(seen.features)[0], model.spec.crop, model.manifest.title)


def refuse_without(model: LoadedModel) -> None:
    """Raise `BundleRefused` where a model cannot make heatmaps."""
    if model.head is None:
        raise BundleRefused(
            f"{model.manifest.title} makes no heatmaps: its architecture {model.manifest.architecture} "
            "has no feature map that a score is the mean of"
        )
