"""The networks themselves, in TensorFlow: its import takes seconds, so everything that needs it is in few files."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from bundle.architectures import se_resnet, seed_regularised
from bundle.architectures.table import ARCHITECTURES
from bundle.checks import decode
from bundle.errors import BundleRefused
from bundle.keras import KerasRuntime, network, with_features
from bundle.litert import LiteRTRuntime
from bundle.load import STARTER, load
from bundle.manifest import CHECKS, WEIGHTS
from bundle.runtime import KerasOptions
from bundle.signing import RELEASE_KEY, public_key
from core.errors import Misconfigured
from core.settings import RuntimeChoice
from tests.factories.bundles import make_bundle, make_key, noise, starter
from tests.factories.networks import tiny
from training.bundling.convert import to_litert
from training.bundling.head import head_of
from training.datasets.pixels import Examples
from training.fitting.weights import weights_of

pytestmark = [
    pytest.mark.tensorflow,
    # Keras' variables and NumPy 2; nothing of ours
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
]

RELEASE = [public_key(RELEASE_KEY)]
TRUSTED = [make_key().public_key()]
LITERT, KERAS = RuntimeChoice.LITERT, RuntimeChoice.KERAS


def test_the_seed_network_is_the_notebooks_to_the_digit() -> None:
    model = seed_regularised.build()
    assert model.count_params() == 2_854_658 == seed_regularised.PARAMETERS
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == 2_854_658
    assert model.input_shape == (None, 128, 128, 3)
    assert model.output_shape == (None, 2)
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == ["Conv2D", "MaxPooling2D"] * 4 + ["Flatten", "Dense", "Dropout", "Dense", "Dropout", "Dense"]
    assert [layer.filters for layer in model.layers if hasattr(layer, "filters")] == [16, 64, 128, 128]
    assert [layer.units for layer in model.layers if hasattr(layer, "units")] == [512, 512, 2]
    assert [layer.rate for layer in model.layers if hasattr(layer, "rate")] == [0.3, 0.3]
    assert {layer.padding for layer in model.layers if hasattr(layer, "filters")} == {"valid"}
    np.testing.assert_allclose(model(np.zeros((1, 128, 128, 3), np.float32)).numpy().sum(), 1.0, rtol=1e-6)


def test_our_network_takes_any_size_with_the_same_weights() -> None:
    model = se_resnet.build()
    assert model.count_params() == 1_972_426 == se_resnet.PARAMETERS
    assert model.input_shape == (None, 160, 160, 1)
    assert model.output_shape == (None, 2)
    # what the class activation map is made from
    assert model.get_layer(se_resnet.FEATURES).output.shape == (None, 5, 5, 192)
    assert model.get_layer(se_resnet.LABEL).kernel.shape == (192, 2)
    flexible = se_resnet.build(None)
    flexible.set_weights(model.get_weights())
    images = np.random.default_rng(0).standard_normal((3, 160, 160, 1), np.float32)
    np.testing.assert_allclose(flexible(images).numpy(), model(images).numpy(), atol=1e-6)
    assert flexible(images[:, ::2, ::2]).shape == (3, 2)


def test_our_network_is_the_same_in_litert() -> None:
    model = se_resnet.build()
    rng = np.random.default_rng(0)
    # fresh blocks are the identity, and fresh statistics nought and one: make every weight matter
    for layer in model.layers:
        if type(layer).__name__ == "BatchNormalization":
            shape = layer.gamma.shape
            layer.gamma.assign(rng.uniform(0.5, 1.5, shape))
            layer.moving_mean.assign(rng.normal(0, 0.1, shape))
            layer.moving_variance.assign(rng.uniform(0.5, 2, shape))
    # such features are large, and a score of 1 would agree with any other
    label = model.get_layer(se_resnet.LABEL)
    label.kernel.assign(label.kernel * 0.02)
    images = rng.standard_normal((4, 160, 160, 1), np.float32)
    runtime = LiteRTRuntime(to_litert(model), 1, 1, 2)
    assert 0.01 < runtime.predict(images).min() <= runtime.predict(images).max() < 0.99
    np.testing.assert_allclose(runtime.predict(images), model(images).numpy()[:, 1], atol=1e-5)

    # and so are the features, of the same pass
    served = KerasRuntime("se_resnet", weights_of(model), 1, 2)
    here, there = runtime.look(images), served.look(images)
    assert here.features is not None
    assert there.features is not None
    assert here.features.shape == there.features.shape == (4, 5, 5, 192)
    np.testing.assert_allclose(here.features, there.features, atol=1e-4 * float(there.features.max()))
    np.testing.assert_array_equal(here.scores, runtime.predict(images))
    assert served.look(images[:0]).features.shape == (0, 5, 5, 192)
    assert runtime.look(images[:0]).features.shape == (0, 5, 5, 192)
    for seen in (here, there):
        assert head_of(model, runtime, _examples(images)).explains(seen)


def _examples(images: np.ndarray) -> Examples:
    return Examples(images[..., 0], np.ones(len(images), np.int64), np.arange(len(images)), (None,) * len(images), 1)


def test_a_network_without_features_gives_none() -> None:
    model = seed_regularised.build()
    litert, keras = LiteRTRuntime(to_litert(model), 1, 1, 2), KerasRuntime("seed_regularised", weights_of(model), 1, 2)
    inputs = np.random.default_rng(0).random((2, 128, 128, 3), np.float32)
    for runtime in (litert, keras):
        seen = runtime.look(inputs)
        assert seen.features is None
        np.testing.assert_array_equal(seen.scores, runtime.predict(inputs))
    assert keras.look(inputs[:0]).features is None
    assert with_features(model) is model
    assert head_of(model, litert, _examples(inputs)) is None


def test_both_runtimes_of_the_starter_agree() -> None:
    litert = load(STARTER, RuntimeChoice.LITERT, None, RELEASE)
    keras = load(STARTER, RuntimeChoice.KERAS, None, RELEASE)
    assert (litert.runtime.name, keras.runtime.name) == ("litert", "keras")
    masters = decode(starter().files[CHECKS]).masters
    inputs = np.stack([litert.spec.apply(master) for master in masters])
    grain = noise(8)
    for images in (inputs, grain, grain[:1]):
        np.testing.assert_allclose(keras.runtime.predict(images), litert.runtime.predict(images), atol=1e-5)
    assert keras.runtime.predict(grain[:0]).shape == (0,)
    assert keras.runtime.predict(grain).dtype == np.float32
    with pytest.raises(ValueError, match="float32 of shape"):
        keras.runtime.predict(grain.astype(np.float64))


def test_where_sizes_are_compiled_none_is_in_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "tiny", tiny)
    weights = weights_of(tiny())
    plain = KerasRuntime("tiny", weights, 1, 2)
    compiled = KerasRuntime("tiny", weights, 1, 2, KerasOptions(batch=5, xla=True))
    call, sizes = compiled._call, []

    def watched(images: np.ndarray) -> object:
        sizes.append(len(images))
        return call(images)

    monkeypatch.setattr(compiled, "_call", watched)
    images = np.random.default_rng(0).standard_normal((12, 32, 32, 1), np.float32)
    for count in range(13):
        here, there = compiled.look(images[:count]), plain.look(images[:count])
        assert here.scores.shape == (count,)
        np.testing.assert_allclose(here.scores, there.scores, atol=1e-6)
        np.testing.assert_allclose(here.features, there.features, atol=1e-5)
    # those that were run before the first image, and no others
    assert set(sizes) == {1, 2, 4, 5}
    assert call.experimental_get_tracing_count() == 1
    # what an image lacks is not its neighbours'
    images[1] = np.nan
    scores = compiled.predict(images[:3])
    assert np.isnan(scores[1])
    assert np.isfinite(scores[[0, 2]]).all()
    assert not compiled.batches_pay, "there is no GPU here"


def test_a_backend_that_cannot_serve_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keras.backend.backend", lambda: "openvino")
    with pytest.raises(Misconfigured, match="KERAS_BACKEND=openvino cannot serve; it may be tensorflow, torch, jax"):
        KerasRuntime("seed_regularised", starter().files[WEIGHTS], 1, 2)


def test_row_26_a_payload_in_a_bundle_directory_is_never_opened(tmp_path: Path) -> None:
    import keras  # noqa: PLC0415 - makes the payload

    canary = tmp_path / "canary"

    evil = tmp_path / "model.keras"
    # only a true lambda is marshalled into the file, and none with defaults can be read back
    source = f'lambda images: (__import__("pathlib").Path({str(canary)!r}).touch(), images)[1]'
    payload = eval(source)  # noqa: S307 - a payload is what this test is about
    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(payload)])
    canary.unlink(missing_ok=True)
    model.save(evil)
    canary.unlink(missing_ok=True)

    # beside a sound bundle's files, in place of its weights, and even signed as its weights
    make_bundle(tmp_path / "beside")
    (tmp_path / "beside" / "model.keras").write_bytes(evil.read_bytes())
    make_bundle(tmp_path / "instead")
    (tmp_path / "instead" / WEIGHTS).write_bytes(evil.read_bytes())
    make_bundle(tmp_path / "signed", files={WEIGHTS: evil.read_bytes()})
    for name in ("beside", "instead", "signed"):
        with pytest.raises(BundleRefused):
            load(tmp_path / name, RuntimeChoice.KERAS, None, TRUSTED)
    assert not canary.exists()

    keras.config.enable_unsafe_deserialization()
    keras.models.load_model(evil, safe_mode=False)(np.zeros((1, 2), np.float32))
    assert canary.exists(), "the payload would not have worked, so the test shows nothing"


def test_signed_weights_that_do_not_fit_are_refused() -> None:
    with pytest.raises(BundleRefused, match="'vgg19' is not in this version"):
        network("vgg19", starter().files[WEIGHTS])
    for nonsense in (b"", b"nonsense", starter().files[WEIGHTS][:100_000]):
        with pytest.raises(BundleRefused, match="do not fit"):
            network("seed_regularised", nonsense)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("x", "y")
    with pytest.raises(BundleRefused, match="do not fit"):
        network("seed_regularised", stream.getvalue())


def test_every_architecture_can_be_built() -> None:
    for build in ARCHITECTURES.values():
        assert build().count_params() > 0
