"""The hardened fit on drawn pictures: to a bundle that serves, through a crash, and refused where it fails."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bundle.architectures.table import ARCHITECTURES
from bundle.heatmap import heatmap
from bundle.load import load
from cli.__main__ import run as run_command
from core.settings import RuntimeChoice
from imaging.eight_bit import master_from_picture
from tests.factories.bundles import make_key, write_public
from tests.factories.collections import picture, published, write_zip
from tests.factories.networks import tiny
from training.bundling.build import Order, build
from training.bundling.claims import Claims
from training.datasets.assignment import assign
from training.datasets.collection import INTENDED_USE
from training.datasets.dataset import open_dataset
from training.datasets.patients import Split
from training.datasets.pixels import Squares, load_squares
from training.errors import FitFailed
from training.familiarity.unlike import REPORTED
from training.fitting.hardened import fit_hardened
from training.fitting.hardened_batches import DisguisedBatches, targets
from training.fitting.recipe import HardenedRecipe, Stage
from training.fitting.run import Epoch, Run

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.usefixtures("few_resamples"),
    # Keras' variables and NumPy 2; nothing of ours
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
]

KEY = make_key()
NOW = datetime(2026, 1, 2, tzinfo=UTC)
RECIPE = HardenedRecipe("tiny", (Stage(24, 1), Stage(32, 1)), batch_size=16, averaging=0.5)


class Interrupted(Exception):
    """Stands for a crash between two epochs."""


class Watcher:
    """Hears of epochs, and may die after one."""

    def __init__(self, die_after: int | None = None) -> None:
        self.die_after = die_after
        self.epochs: list[Epoch] = []

    def stage(self, name: str, total: int) -> Callable[[], None]:
        assert name
        assert total >= 0
        return lambda: None

    def epoch(self, epoch: Epoch) -> None:
        self.epochs.append(epoch)
        if epoch.number == self.die_after:
            raise Interrupted


@pytest.fixture(autouse=True)
def _architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "tiny", tiny)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_zip(tmp_path_factory.mktemp("data") / "collection.zip", published(30, 60))


@pytest.fixture(scope="module")
def squares(data: Path) -> dict[Split, Squares]:
    with open_dataset(data) as dataset:
        items = assign(dataset).items
        return {split: load_squares(dataset, items[split], RECIPE.spec) for split in (Split.FIT, Split.WATCH)}


def order(root: Path, data: Path) -> Order:
    return Order(RECIPE, data, root / "bundle", "tiny", "1", required_sensitivity=0.3, board=root / "board")


def points(folder: Path | None) -> dict[str, dict[int, float]]:
    """Return what TensorBoard would show, by name and epoch, without installing it."""
    import tensorflow as tf  # noqa: PLC0415 - takes seconds
    from tensorflow.core.util.event_pb2 import Event  # noqa: PLC0415 - likewise

    found: dict[str, dict[int, float]] = defaultdict(dict)
    assert folder is not None
    for path in sorted(folder.iterdir()):
        for record in tf.data.TFRecordDataset(str(path)):
            event = Event.FromString(record.numpy())
            for value in event.summary.value:
                assert value.metadata.plugin_data.plugin_name == "scalars"
                assert event.step not in found[value.tag]
                found[value.tag][event.step] = float(tf.make_ndarray(value.tensor))
    return dict(found)


def test_an_interrupted_run_ends_as_if_it_had_not_been(data: Path, tmp_path: Path) -> None:
    whole, again = order(tmp_path / "whole", data), order(tmp_path / "again", data)
    manifest, digest = build(whole, KEY, NOW, Watcher())
    assert manifest.architecture == "tiny"
    assert manifest.training["precision"] == "float32"
    assert manifest.preprocess["version"] == 2
    assert manifest.training["stages"] == [{"size": 24, "epochs": 1}, {"size": 32, "epochs": 1}]
    with pytest.raises(Interrupted):
        build(again, KEY, NOW, Watcher(die_after=1))
    assert not again.out.exists()
    watcher = Watcher()
    build(again, KEY, NOW, watcher)
    assert [epoch.number for epoch in watcher.epochs] == [2]
    # a point an epoch, though the second was shown by another process
    board = points(again.board)
    assert set(board) == {"loss", "watched/loss", "watched/balanced_accuracy", "learning_rate", "seconds"}
    assert all(sorted(values) == [1, 2] for values in board.values())
    assert board["watched/loss"][2] == pytest.approx(watcher.epochs[0].watch_loss)
    assert board["learning_rate"][1] == pytest.approx(RECIPE.learning_rate)

    trusted = [KEY.public_key()]
    one = load(whole.out, RuntimeChoice.LITERT, digest, trusted)
    other = load(again.out, RuntimeChoice.KERAS, None, trusted)
    inputs = np.random.default_rng(0).standard_normal((4, 32, 32, 1), np.float32)
    for model in (one, other):
        seen = model.runtime.look(inputs)
        assert seen.features is not None
        assert seen.features.shape == (4, 16, 16, 8)
        assert model.head is not None
        assert model.head.explains(seen)
    assert one.manifest.familiarity is not None
    assert set(one.manifest.familiarity.false_alarms) == {"validation", "test"}
    assert one.manifest.familiarity.noticed == {}
    # not bit for bit everywhere: threads may add in another order
    np.testing.assert_allclose(one.runtime.predict(inputs), other.runtime.predict(inputs), atol=1e-4)


def test_a_bundle_with_features_shows_where_its_scores_come_from(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "keys").mkdir()
    write_public(KEY, tmp_path / "keys" / "key.pem")
    monkeypatch.setenv("LUNGWATCH_TRUSTED_KEYS_DIR", str(tmp_path / "keys"))
    monkeypatch.setenv("LUNGWATCH_RUNTIME", "litert")
    monkeypatch.setattr("training.familiarity.noticing.REPORTED", REPORTED[4:6])
    monkeypatch.setattr("training.bundling.build.REPORTED", REPORTED[4:6])
    use = INTENDED_USE.model_copy(update={"population": "The children of one ward."})
    made = replace(order(tmp_path, data), unlike=2, claims=Claims("our ward", "ours alone", use))
    manifest, _ = build(made, KEY, NOW, Watcher())
    assert (manifest.data.name, manifest.attribution, manifest.intended_use) == ("our ward", "ours alone", use)
    assert manifest.familiarity is not None
    assert {name: found.n for name, found in manifest.familiarity.noticed.items()} == {"inverted": 2, "rotated 90": 2}
    assert "| inverted | 2 |" in (made.out / "MODEL_CARD.md").read_text()

    # pictures of one name from two folders
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "one.jpeg").write_bytes(picture("PNEUMONIA", 7, size=300))
    files = [str(tmp_path / folder / "one.jpeg") for folder in ("a", "b")]
    maps = tmp_path / "maps"
    capsys.readouterr()
    assert run_command(["predict", "--json", "--model", str(made.out), "--heatmap", str(maps), *files]) in {0, 1}
    rows = json.loads(capsys.readouterr().out)
    assert [row["file"] for row in rows] == files
    assert "heatmap" not in rows[0]
    assert sorted(path.name for path in maps.iterdir()) == ["one-2.heatmap.png", "one.heatmap.png"]
    with Image.open(maps / "one.heatmap.png") as drawn:
        assert "NOT LOCALISATION" in drawn.text["Warning"]
    # the same without the ledger's help, in one call
    model = load(made.out, RuntimeChoice.LITERT, None, [KEY.public_key()])
    assert heatmap(master_from_picture(Path(files[0])), model)[:4] == b"\x89PNG"

    monkeypatch.setattr("training.familiarity.noticing.COUNT", 2)
    assert run_command(["evaluate", "--data", str(data), "--model", str(made.out), "--unfamiliar", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["unfamiliar"]
    assert set(found["noticed"]) == {"inverted", "rotated 90"}
    assert found["threshold"] == manifest.familiarity.threshold
    assert 0 <= found["false_alarms"]["value"] <= 1


def test_batches_depend_on_seed_epoch_and_number_alone(squares: dict[Split, Squares]) -> None:
    fitted = squares[Split.FIT]
    weights = np.full(len(fitted), 1 / len(fitted))

    def batches(recipe: HardenedRecipe = RECIPE) -> DisguisedBatches:
        return DisguisedBatches(fitted, weights, recipe, recipe.spec, 24)

    first = batches()
    images, found = first.batch(1, 1)
    assert (images.shape, images.dtype) == ((16, 24, 24, 1), np.float32)
    np.testing.assert_array_equal(images, batches().batch(1, 1)[0])
    assert not np.array_equal(images, batches().batch(2, 1)[0])
    assert not np.array_equal(images, batches(replace(RECIPE, seed=14)).batch(1, 1)[0])
    # the last batch is as full as the others
    assert len(first.batch(1, len(first) - 1)[0]) == 16
    np.testing.assert_allclose(found["label"].sum(axis=1), 1, rtol=1e-6)
    assert (found["kind"].sum(axis=1) <= found["label"][:, 1] + 1e-6).all()


def test_dropout_depends_on_seed_and_epoch_alone() -> None:
    import keras  # noqa: PLC0415 - TensorFlow takes seconds

    from training.fitting.keras_hooks import EachEpoch  # noqa: PLC0415 - likewise

    network = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.5)])

    def state(seed: int, epoch: int) -> list[int]:
        callback = EachEpoch(seed, lambda *_: False, lambda *_: None)
        callback.set_model(network)
        callback.on_epoch_begin(epoch)
        return network.layers[0].seed_generator.state.numpy().tolist()

    states = [state(seed, epoch) for seed in (13, 14) for epoch in (0, 1)]
    assert len({tuple(found) for found in states}) == 4
    assert state(13, 1) == states[1]


def test_the_kind_is_told_of_pneumonias_only(squares: dict[Split, Squares]) -> None:
    fitted = squares[Split.FIT]
    kind = targets(fitted)["kind"]
    for row, item in enumerate(fitted.items):
        assert kind[row].sum() == (item.label == "PNEUMONIA")
    assert kind.sum(axis=0).min() > 0


def test_a_loss_that_is_no_number_ends_the_fit(squares: dict[Split, Squares], tmp_path: Path) -> None:
    run = Run.start_or_resume(tmp_path / "run", "f")
    wild = replace(RECIPE, learning_rate=float("nan"))
    watch = squares[Split.WATCH].finished(RECIPE.spec)
    with pytest.raises(FitFailed, match=r"no finite number in epoch 1\. .* data explore, .* another --seed"):
        fit_hardened(wild, RECIPE.spec, run, "f", squares[Split.FIT], watch)
    assert not Run.start_or_resume(tmp_path / "run", "f").epochs
