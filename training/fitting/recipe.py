"""How a network is fitted, as data: stored in the bundle, and what an interrupted run is recognised by."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from imaging.spec import PreprocessSpec
from training.errors import FitFailed


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
        Whether training images pass through `training.fitting.augment`.
    backbone_weights : str or None
        For a network with a frozen backbone: where its weights come from, see `training.fitting.backbones.fill`.
    """

    architecture: str
    epochs: int = 20
    batch_size: int = 32
    learning_rate: float = 1e-3
    patience: int = 8
    label_smoothing: float = 0.05
    augmented: bool = True
    seed: int = 13
    backbone_weights: str | None = None

    @property
    def spec(self) -> PreprocessSpec:
        """How masters become the network's input: the notebook's."""
        return PreprocessSpec()

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as JSON-ready data."""
        values = asdict(self)
        if self.backbone_weights is None:
            del values["backbone_weights"]
        else:
            # the name of a file and not where it lay
            values["backbone_weights"] = Path(self.backbone_weights).name
        return values

    def fingerprint(self, data_digest: str, spec_digest: str) -> str:
        """Return what must be equal for an interrupted run to be continued, 64 hexadecimal digits."""
        return _fingerprint(self.to_dict(), data_digest, spec_digest)


@dataclass(frozen=True, slots=True)
class Stage:
    """Epochs on images of one size, pixels a side."""

    size: int
    epochs: int


@dataclass(frozen=True, slots=True)
class HardenedRecipe:
    """A fit hardened against what gives the classes away besides the lungs; see `training.fitting.hardened`.

    Attributes
    ----------
    architecture : str
        A key of `bundle.architectures.table.ARCHITECTURES`.
    stages : tuple of Stage
        One after the other; small images first are quick and teach the coarse.
    learning_rate, weight_decay : float
        AdamW's. The rate rises over the first epoch and then falls to nearly nothing as a cosine over all stages.
    label_smoothing : float
        0 to 1.
    mixup : float
        Both parameters of the beta distribution that half of the images are mixed by (Zhang et al. 2018).
    averaging : float
        Share of the averaged weights kept at each step.
    kind_weight : float
        Weight of the loss that tells bacterial from viral, a head that is not served.
    hollow : float
        Share of images shown without their middle, with both classes as likely.
    """

    architecture: str
    stages: tuple[Stage, ...]
    batch_size: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    label_smoothing: float = 0.05
    mixup: float = 0.2
    averaging: float = 0.999
    kind_weight: float = 0.3
    hollow: float = 0.04
    seed: int = 13

    @property
    def epochs(self) -> int:
        """Of all stages together."""
        return sum(stage.epochs for stage in self.stages)

    @property
    def spec(self) -> PreprocessSpec:
        """How masters become the network's input, at the last stage's size."""
        return PreprocessSpec(
            input_size=self.stages[-1].size, channels=1, scale="standard", crop=0.05, clip=(1.0, 99.0)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as JSON-ready data."""
        return {**asdict(self), "stages": [asdict(stage) for stage in self.stages]}

    def fingerprint(self, data_digest: str, spec_digest: str) -> str:
        """Return what must be equal for an interrupted run to be continued, 64 hexadecimal digits."""
        return _fingerprint(self.to_dict(), data_digest, spec_digest)

    def lasting(self, epochs: int) -> HardenedRecipe:
        """Return the recipe with so many epochs, at least one a stage, shared among the stages as they are.

        Raises
        ------
        FitFailed
            If there are more stages than epochs.
        """
        if epochs < len(self.stages):
            raise FitFailed(f"at least {len(self.stages)} epochs are needed, one for each size of image")
        *early, last = self.stages
        shares = [max(1, round(epochs * stage.epochs / self.epochs)) for stage in early]
        stages = [Stage(stage.size, share) for stage, share in zip(early, shares, strict=True)]
        return replace(self, stages=(*stages, Stage(last.size, max(1, epochs - sum(shares)))))


def _fingerprint(recipe: dict[str, Any], data_digest: str, spec_digest: str) -> str:
    whole = {"recipe": recipe, "data": data_digest, "preprocess": spec_digest}
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


AnyRecipe = Recipe | HardenedRecipe


def vary(recipe: AnyRecipe, seed: int | None = None, epochs: int | None = None) -> AnyRecipe:
    """Return a recipe with another seed or another number of epochs; None keeps its own."""
    if seed is not None:
        recipe = replace(recipe, seed=seed)
    if epochs is not None:
        recipe = recipe.lasting(epochs) if isinstance(recipe, HardenedRecipe) else replace(recipe, epochs=epochs)
    return recipe


def with_backbone(recipe: AnyRecipe, weights: str | None = None, *, as_notebook: bool = False) -> AnyRecipe:
    """Return a recipe with backbone weights from elsewhere, or with pixels as the notebook gave them to it.

    Raises
    ------
    FitFailed
        If backbone weights are given for a network that has no backbone.
    """
    if isinstance(recipe, Recipe) and recipe.backbone_weights is not None:
        ending = "_as_notebook" if as_notebook else ""
        source = weights or recipe.backbone_weights
        return replace(recipe, architecture=f"{recipe.architecture}{ending}", backbone_weights=source)
    if weights is not None:
        raise FitFailed(f"the network {recipe.architecture} has no backbone; leave --backbone-weights out")
    if as_notebook and isinstance(recipe, HardenedRecipe):
        raise FitFailed(f"the network {recipe.architecture} is none of the notebook's; leave --as-notebook out")
    return recipe


# ImageNet weights as Keras publishes them
_IMAGENET: Final = "imagenet"

RECIPES: Final[dict[str, AnyRecipe]] = {
    # The notebook's networks, to the digit. Equal weight of the classes, the falling rate and the choice of the epoch
    # on other patients are ours, and so is how `augmented` shakes its images.
    "base": Recipe("seed_base", augmented=False),
    "regularised": Recipe("seed_regularised", augmented=False),
    "augmented": Recipe("seed_regularised"),
    "vgg16": Recipe("seed_vgg16", augmented=False, backbone_weights=_IMAGENET),
    "mobilenetv2": Recipe("seed_mobilenetv2", augmented=False, backbone_weights=_IMAGENET),
    "champion": HardenedRecipe("se_resnet", (Stage(112, 10), Stage(160, 20))),
}
