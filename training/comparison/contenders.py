"""Who is compared: the notebook's five networks, fitted as the notebook did, and our champion by its own recipe."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Final

from imaging.spec import PreprocessSpec
from training.errors import FitFailed
from training.fitting.recipe import RECIPES, HardenedRecipe, with_backbone

EPOCHS: Final = 20
# Keras' own defaults, which the notebook did not change as far as is known
BATCH: Final = 32
LEARNING_RATE: Final = 1e-3
SEED: Final = 13


class Name(StrEnum):
    """What a contender is called."""

    BASE = "base"
    REGULARISED = "regularised"
    AUGMENTED = "augmented"
    VGG16 = "vgg16"
    MOBILENETV2 = "mobilenetv2"
    CHAMPION = "champion"


SEED_MODELS: Final = (Name.BASE, Name.REGULARISED, Name.AUGMENTED, Name.VGG16, Name.MOBILENETV2)

# accuracy, precision, recall, as the notebook shows them; they do not fit one split, so take them as indications
NOTEBOOK: Final[dict[Name, tuple[float, float, float]]] = {
    Name.BASE: (0.918, 0.919, 0.991),
    Name.REGULARISED: (0.925, 0.920, 0.984),
    Name.AUGMENTED: (0.861, 0.981, 0.828),
    Name.VGG16: (0.907, 0.968, 0.904),
    Name.MOBILENETV2: (0.625, 0.625, 1.0),
}


@dataclass(frozen=True, slots=True)
class Contender:
    """A network and how it is fitted.

    Attributes
    ----------
    architecture : str
        A key of `bundle.architectures.table.ARCHITECTURES`.
    epochs : int
        All are run and the last one is judged: the notebook stopped nowhere.
    shaken : bool
        Whether its training images are changed at random, see `training.comparison.shaking`.
    backbone_weights : str or None
        See `training.fitting.backbones.fill`.
    recipe : HardenedRecipe or None
        In place of all this, for our own.
    """

    name: Name
    architecture: str
    epochs: int = EPOCHS
    shaken: bool = False
    backbone_weights: str | None = None
    recipe: HardenedRecipe | None = None
    seed: int = SEED

    @property
    def spec(self) -> PreprocessSpec:
        """How masters become the network's input."""
        return PreprocessSpec() if self.recipe is None else self.recipe.spec

    def to_dict(self) -> dict[str, Any]:
        """Return the contender as JSON-ready data."""
        return {**asdict(self), "name": self.name.value, "recipe": self.recipe and self.recipe.to_dict()}


def contender(
    name: Name, epochs: int | None = None, backbone_weights: str = "imagenet", *, as_notebook: bool = False
) -> Contender:
    """Return a contender by name.

    Parameters
    ----------
    epochs : int or None
        None: the notebook's 20, or the champion's own.
    as_notebook : bool
        Give backbones [0, 1] and not what they were trained with.

    Raises
    ------
    FitFailed
        If the champion is to be as in the notebook, or to have fewer epochs than sizes of image.
    """
    ending = "_as_notebook" if as_notebook else ""
    count = epochs or EPOCHS
    match name:
        case Name.BASE:
            return Contender(name, "seed_base", count)
        case Name.REGULARISED:
            return Contender(name, "seed_regularised", count)
        case Name.AUGMENTED:
            return Contender(name, "seed_regularised", count, shaken=True)
        case Name.VGG16 | Name.MOBILENETV2:
            return Contender(name, f"seed_{name}{ending}", count, backbone_weights=backbone_weights)
        case Name.CHAMPION:
            recipe = with_backbone(RECIPES["champion"], as_notebook=as_notebook)
            if not isinstance(recipe, HardenedRecipe):
                raise FitFailed("the champion's recipe is none that can be compared")
            if epochs is not None:
                recipe = recipe.lasting(epochs)
            return replace(Contender(name, recipe.architecture, recipe.epochs, recipe=recipe), seed=recipe.seed)
