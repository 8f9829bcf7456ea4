"""How a network is fitted, as data: stored in the bundle, and what an interrupted run is recognised by."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything about a fit besides the data.

    Attributes
    ----------
    architecture : str
        A key of `bundle.architectures.table.ARCHITECTURES`.
    epochs : int
        At most; the learning rate falls to nearly nothing over them as a cosine.
    patience : int
        Epochs without a better loss on the watched patients before fitting stops.
    learning_rate : float
        Adam's at the start.
    label_smoothing : float
        0 to 1.
    augmented : bool
        Whether training images pass through `training.augment`.
    """

    architecture: str
    epochs: int = 20
    batch_size: int = 32
    learning_rate: float = 1e-3
    patience: int = 8
    label_smoothing: float = 0.05
    augmented: bool = True
    seed: int = 13

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as JSON-ready data."""
        return asdict(self)

    def fingerprint(self, data_digest: str, spec_digest: str) -> str:
        """Return what must be equal for an interrupted run to be continued, 64 hexadecimal digits."""
        whole = {"recipe": self.to_dict(), "data": data_digest, "preprocess": spec_digest}
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


# The notebook's best network. The network is the notebook's to the digit; the shaking of images,
# equal weight of the classes and the choice of the epoch on other patients are ours.
RECIPES: dict[str, Recipe] = {
    "regularised": Recipe("seed_regularised"),
}
