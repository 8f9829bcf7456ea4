from __future__ import annotations

import json

import pytest

from bundle.architectures.table import ARCHITECTURES
from imaging.spec import PreprocessSpec
from training.errors import FitFailed
from training.fitting.recipe import RECIPES, HardenedRecipe, Recipe, Stage, vary

HARDENED = HardenedRecipe("se_resnet", (Stage(112, 20), Stage(160, 40)))


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_names_a_network_and_fits_into_a_manifest(name: str) -> None:
    recipe = RECIPES[name]
    assert recipe.architecture in ARCHITECTURES
    assert json.loads(json.dumps(recipe.to_dict()))["seed"] == 13
    assert PreprocessSpec.from_dict(recipe.spec.to_dict()) == recipe.spec


def test_the_notebooks_preprocessing_stays() -> None:
    assert RECIPES["regularised"].spec == PreprocessSpec()


@pytest.mark.parametrize("recipe", [Recipe("seed_regularised"), HARDENED])
def test_anything_else_is_another_run(recipe: Recipe | HardenedRecipe) -> None:
    fingerprint = recipe.fingerprint("data", "spec")
    assert fingerprint == vary(recipe).fingerprint("data", "spec")
    others = [
        recipe.fingerprint("other data", "spec"),
        recipe.fingerprint("data", "other spec"),
        vary(recipe, seed=14).fingerprint("data", "spec"),
        vary(recipe, epochs=30).fingerprint("data", "spec"),
    ]
    assert len({fingerprint, *others}) == 5


def test_stages_share_another_number_of_epochs() -> None:
    assert HARDENED.epochs == 60
    assert HARDENED.lasting(30).stages == (Stage(112, 10), Stage(160, 20))
    assert HARDENED.lasting(2).stages == (Stage(112, 1), Stage(160, 1))
    assert HARDENED.lasting(61).epochs == 61
    with pytest.raises(FitFailed, match="at least 2 epochs"):
        HARDENED.lasting(1)
