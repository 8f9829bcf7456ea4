"""The notebook's networks, layer for layer and to the digit; TensorFlow's import takes seconds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bundle.architectures import seed_base, seed_mobilenetv2, seed_vgg16, transfer
from bundle.architectures.table import ARCHITECTURES
from bundle.litert import LiteRTRuntime
from training.bundling.convert import to_litert

pytestmark = pytest.mark.tensorflow


def kinds(model: Any) -> list[str]:
    return [type(layer).__name__ for layer in model.layers if type(layer).__name__ != "InputLayer"]


def of(model: Any, attribute: str) -> list[Any]:
    return [getattr(layer, attribute) for layer in model.layers if hasattr(layer, attribute)]


def counts(model: Any) -> tuple[int, int, int]:
    """Count all, fitted and frozen parameters."""
    fitted, frozen = (
        sum(int(np.prod(weight.shape)) for weight in weights)
        for weights in (model.trainable_weights, model.non_trainable_weights)
    )
    return model.count_params(), fitted, frozen


def test_the_base_network_is_the_notebooks_to_the_digit() -> None:
    model = seed_base.build()
    assert counts(model) == (12_930_178, 12_930_178, 0)
    assert counts(model)[0] == seed_base.PARAMETERS
    assert (model.input_shape, model.output_shape) == ((None, 128, 128, 3), (None, 2))
    assert kinds(model) == ["Conv2D", "MaxPooling2D"] * 3 + ["Flatten", "Dense", "Dense"]
    assert of(model, "filters") == [16, 64, 128]
    assert set(of(model, "padding")) == {"valid"}
    assert of(model, "units") == [512, 2]
    assert model.layers[6].output.shape == (None, 25_088)


@pytest.mark.parametrize("name", ["seed_vgg16", "seed_vgg16_as_notebook"])
def test_the_vgg16_network_is_the_notebooks_to_the_digit(name: str) -> None:
    model = ARCHITECTURES[name]()
    assert counts(model) == (15_241_026, 526_338, 14_714_688)
    assert counts(model)[:2] == (seed_vgg16.PARAMETERS, seed_vgg16.FITTED)
    assert (model.input_shape, model.output_shape) == ((None, 128, 128, 3), (None, 2))
    head = ["Functional", "Flatten", "Dense", "Dropout", "Dense", "Dropout", "Dense"]
    assert kinds(model) == (head if "notebook" in name else ["Rescaling", *head])
    assert of(model, "units") == [512, 512, 2]
    assert transfer.backbone_of(model).output_shape == (None, 512)


@pytest.mark.parametrize("name", ["seed_mobilenetv2", "seed_mobilenetv2_as_notebook"])
def test_the_mobilenet_network_is_the_notebooks_to_the_digit(name: str) -> None:
    model = ARCHITECTURES[name]()
    assert counts(model) == (7_567_426, 5_309_442, 2_257_984)
    assert counts(model)[:2] == (seed_mobilenetv2.PARAMETERS, seed_mobilenetv2.FITTED)
    assert (model.input_shape, model.output_shape) == ((None, 128, 128, 3), (None, 2))
    head = ["Functional", "Flatten", "Dense", "Dropout", "Dense", "Dropout", "Dense"]
    assert kinds(model) == (head if "notebook" in name else ["Rescaling", *head])
    assert of(model, "units") == [256, 256, 2]
    assert transfer.backbone_of(model).output_shape == (None, 4, 4, 1280)
    assert model.get_layer(transfer.FLATTEN).output.shape == (None, 20_480)


def test_each_backbone_is_given_what_it_was_trained_with() -> None:
    import keras  # noqa: PLC0415 - not for all who collect tests: TensorFlow takes seconds

    # three different channels: greys alone would not tell which comes first
    colours = np.random.default_rng(0).random((1, 128, 128, 3), np.float32)
    for name, applications in (
        ("seed_vgg16", keras.applications.vgg16),
        ("seed_mobilenetv2", keras.applications.mobilenet_v2),
    ):
        model = ARCHITECTURES[name]()
        scaled = keras.Model(model.input, _before_backbone(model))
        expected = applications.preprocess_input(colours * 255)
        np.testing.assert_allclose(scaled(colours).numpy(), expected, atol=1e-3)
        as_notebook = ARCHITECTURES[f"{name}_as_notebook"]()
        assert _before_backbone(as_notebook) is as_notebook.input


def _before_backbone(model: Any) -> Any:
    place = model.layers.index(transfer.backbone_of(model))
    return model.layers[place - 1].output


def test_the_head_on_features_is_the_network_on_images() -> None:
    model = ARCHITECTURES["seed_mobilenetv2"]()
    frozen, head = transfer.split(model)
    images = np.random.default_rng(0).random((2, 128, 128, 3), np.float32)
    np.testing.assert_allclose(head(frozen(images)).numpy(), model(images).numpy(), atol=1e-6)
    assert len(frozen.trainable_weights) == 0
    assert head.count_params() == seed_mobilenetv2.FITTED
    # what is fitted in one is fitted in the other
    head.layers[-1].kernel.assign(np.zeros((256, 2), np.float32))
    np.testing.assert_allclose(model(images).numpy(), 0.5)


@pytest.mark.parametrize("name", ["seed_vgg16", "seed_mobilenetv2"])
def test_a_transfer_network_is_the_same_in_litert(name: str) -> None:
    model = ARCHITECTURES[name]()
    images = np.random.default_rng(1).random((2, 128, 128, 3), np.float32)
    runtime = LiteRTRuntime(to_litert(model), 1, 1, 2)
    np.testing.assert_allclose(runtime.predict(images), model(images).numpy()[:, 1], atol=1e-4)
