"""Frozen backbones for real: weights from files, features once, a bundle that carries the whole network."""

from __future__ import annotations

import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from bundle.architectures import transfer
from bundle.architectures.table import ARCHITECTURES
from bundle.load import load
from core.settings import RuntimeChoice
from tests.factories.bundles import make_key
from tests.factories.collections import published, write_zip
from training.bundling.build import Order, build
from training.errors import FitFailed
from training.fitting import backbones
from training.fitting.backbones import fill
from training.fitting.recipe import Recipe
from training.fitting.run import Epoch

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.usefixtures("few_resamples"),
    # Keras' variables and NumPy 2; nothing of ours
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
]

KEY = make_key()
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def tiny() -> Any:
    """Build a network of the transfer networks' make that is fitted in a second."""
    import keras  # noqa: PLC0415 - not for all who collect tests: TensorFlow takes seconds

    layers = keras.layers
    within = keras.Input((128, 128, 3))
    flow = layers.Conv2D(4, 3, 4, name="first")(within)
    flow = layers.BatchNormalization(name="second")(flow)
    backbone = keras.Model(within, layers.GlobalAveragePooling2D()(flow), name="tiny_backbone")
    image = keras.Input((128, 128, 3), name="image")
    return transfer.stacked(image, layers.Rescaling(2.0, offset=-1.0)(image), backbone, 8, "tiny")


def published_file(path: Path, backbone: Any, *, scale: float = 1.0) -> list[np.ndarray]:
    """Write weights in the form in which Keras publishes them: one group a layer, names as attributes."""
    rng = np.random.default_rng(5)
    written = []
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in backbone.layers]
        file.attrs["backend"] = b"tensorflow"
        file.attrs["keras_version"] = b"2.0.6"
        for layer in backbone.layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{weight.name}:0".encode() for weight in layer.weights]
            group.attrs["weight_names"] = names
            for name, weight in zip(names, layer.weights, strict=True):
                value = scale * rng.random(weight.shape).astype(np.float32)
                group[name.decode()] = value
                written.append(value)
    return written


class Watcher:
    """Hears of stages and epochs."""

    def __init__(self, die_after: int | None = None) -> None:
        self.die_after = die_after
        self.epochs: list[Epoch] = []
        self.totals: dict[str, int] = {}
        self.steps: Counter[str] = Counter()

    def stage(self, name: str, total: int) -> Callable[[], None]:
        self.totals[name] = total
        return lambda: self.steps.update([name])

    def epoch(self, epoch: Epoch) -> None:
        self.epochs.append(epoch)
        if epoch.number == self.die_after:
            raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["seed_vgg16", "seed_mobilenetv2"])
def test_weights_come_from_a_file_as_keras_publishes_it(name: str, tmp_path: Path) -> None:
    model = ARCHITECTURES[name]()
    file = tmp_path / "any name"
    written = published_file(file, transfer.backbone_of(model))
    digest = fill(model, str(file))
    found = transfer.backbone_of(model).get_weights()
    assert all(np.array_equal(one, other) for one, other in zip(found, _as_keras_orders(model, written), strict=True))
    assert fill(ARCHITECTURES[name](), str(file)) == digest


def _as_keras_orders(model: Any, written: list[np.ndarray]) -> list[np.ndarray]:
    """Keras lists a layer's weights in one order in the layer and in the whole; ours are written by layer."""
    assert sum(value.size for value in written) == transfer.backbone_of(model).count_params()
    return written


def test_weights_come_from_a_file_that_keras_writes_today(tmp_path: Path) -> None:
    one, other = tiny(), tiny()
    file = tmp_path / "own.weights.h5"
    transfer.backbone_of(one).save_weights(file)
    fill(other, str(file))
    for mine, theirs in zip(transfer.backbone_of(other).weights, transfer.backbone_of(one).weights, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())


def test_fresh_weights_are_the_same_each_time_and_finite() -> None:
    model = ARCHITECTURES["seed_mobilenetv2"]()
    assert fill(model, "none") == fill(ARCHITECTURES["seed_mobilenetv2"](), "none")
    seen = transfer.split(model)[0](np.random.default_rng(0).random((2, 128, 128, 3), np.float32)).numpy()
    assert np.isfinite(seen).all()
    assert seen.std() > 1e-3


def test_what_is_no_file_of_that_backbone_is_named(tmp_path: Path) -> None:
    with pytest.raises(FitFailed, match="no such file"):
        fill(tiny(), str(tmp_path / "none.h5"))
    wrong = tmp_path / "wrong.h5"
    wrong.write_bytes(b"nonsense")
    with pytest.raises(FitFailed, match=r"wrong\.h5 does not hold the weights of tiny_backbone"):
        fill(tiny(), str(wrong))
    published_file(wrong, transfer.backbone_of(tiny()))
    mobile = ARCHITECTURES["seed_mobilenetv2"]()
    before = transfer.backbone_of(mobile).get_weights()
    with pytest.raises(FitFailed, match="does not hold the weights of mobilenetv2"):
        fill(mobile, str(wrong))
    assert all(
        np.array_equal(one, other)
        for one, other in zip(before, transfer.backbone_of(mobile).get_weights(), strict=True)
    )
    published_file(wrong, transfer.backbone_of(tiny()), scale=float("nan"))
    with pytest.raises(FitFailed, match="no finite numbers"):
        fill(tiny(), str(wrong))


def test_without_the_internet_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # nothing is kept here, and nobody listens there: as on a machine without the internet
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    # urllib keeps the proxies it first met for all later requests of a process
    monkeypatch.setattr(urllib.request, "_opener", None)
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(FitFailed, match="--backbone-weights PATH, or fit on an untrained backbone"):
        fill(ARCHITECTURES["seed_mobilenetv2"](), "imagenet")


def test_a_bundle_carries_backbone_and_head_and_features_are_made_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(ARCHITECTURES, "tiny", tiny)
    made: list[int] = []
    monkeypatch.setattr(backbones, "cached", _counting(made, backbones.cached))
    recipe = Recipe(
        "tiny", epochs=3, batch_size=16, augmented=False, backbone_weights="none", patience=9, learning_rate=0.05
    )
    data = write_zip(tmp_path / "c.zip", published(30, 60))
    order = Order(recipe, data, tmp_path / "out", "tiny", "1", required_sensitivity=0.3, cache=tmp_path / "cache")
    watcher = Watcher(die_after=2)
    with pytest.raises(KeyboardInterrupt):
        build(order, KEY, NOW, watcher)
    assert sum(made) == watcher.totals["read fit"] + watcher.totals["read watch"]
    assert watcher.steps["features of the backbone"] == watcher.totals["features of the backbone"] == sum(made)
    made.clear()
    # nor by another seed's run
    with pytest.raises(KeyboardInterrupt):
        build(replace(order, recipe=replace(recipe, seed=14), out=tmp_path / "other"), KEY, NOW, Watcher(die_after=1))
    watcher = Watcher()
    manifest, digest = build(order, KEY, NOW, watcher)
    # from the third epoch on, and not one feature anew
    assert [epoch.number for epoch in watcher.epochs] == [3]
    assert made == []
    assert manifest.training["backbone_weights"] == "none"
    images = np.random.default_rng(0).random((4, 128, 128, 3), np.float32)
    litert, whole = (
        load(order.out, choice, digest, [KEY.public_key()]) for choice in RuntimeChoice if choice != "auto"
    )
    np.testing.assert_allclose(litert.runtime.predict(images), whole.runtime.predict(images), atol=1e-5)
    assert litert.runtime.predict(images).std() > 0


def test_a_run_goes_on_with_the_weights_it_began_with_and_no_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(ARCHITECTURES, "tiny", tiny)
    file = tmp_path / "backbone.h5"
    published_file(file, transfer.backbone_of(tiny()))
    data = write_zip(tmp_path / "c.zip", published(30, 60))
    recipe = Recipe("tiny", epochs=2, batch_size=16, augmented=False, backbone_weights=str(file))
    order = Order(recipe, data, tmp_path / "out", "tiny", "1", required_sensitivity=0.3)
    with pytest.raises(KeyboardInterrupt):
        build(order, KEY, NOW, Watcher(die_after=1))
    # the same from elsewhere
    (tmp_path / "elsewhere").mkdir()
    moved = replace(recipe, backbone_weights=str(file.rename(tmp_path / "elsewhere" / file.name)))
    watcher = Watcher(die_after=2)
    with pytest.raises(KeyboardInterrupt):
        build(replace(order, recipe=moved), KEY, NOW, watcher)
    assert [epoch.number for epoch in watcher.epochs] == [2]
    # others under the same name
    published_file(file, transfer.backbone_of(tiny()), scale=0.5)
    with pytest.raises(FitFailed, match="another recipe"):
        build(order, KEY, NOW, Watcher())
    # none are missed before a picture is read
    file.unlink()
    with pytest.raises(FitFailed, match=r"backbone\.h5: no such file"):
        build(replace(order, out=tmp_path / "new"), KEY, NOW, Watcher())
    assert not (tmp_path / "new.partial").exists()


def _counting(made: list[int], real: Callable[..., Any]) -> Callable[..., Any]:
    def counting(folder: Path, digest: str, shape: tuple[int, ...], make: Callable[[slice], Any], *rest: Any) -> Any:
        def counted(rows: slice) -> Any:
            made.append(rows.stop - rows.start)
            return make(rows)

        return real(folder, digest, shape, counted, *rest)

    return counting
