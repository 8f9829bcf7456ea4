"""Training for real, on drawn pictures: from a data set to a signed bundle that serves and is measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from bundle.errors import BundleRefused
from bundle.load import load
from bundle.manifest import FITTED_PATIENTS, MODEL_CARD, parse
from bundle.store import verify
from cli.__main__ import run as run_command
from core.settings import RuntimeChoice
from tests.factories.bundles import make_key, write_private
from tests.factories.collections import picture, published, write_folder, write_zip
from training.alone import alone
from training.bundling.build import Order, build
from training.bundling.card_figures import FIGURES
from training.datasets.assignment import assign
from training.datasets.dataset import Dataset, open_dataset
from training.datasets.patients import Split, patient_digest, split_of
from training.errors import DatasetError, FitFailed
from training.examination.evaluate import Evaluation, evaluate
from training.examination.part import Part, choose
from training.fitting.recipe import Recipe
from training.fitting.run import Epoch

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.usefixtures("few_resamples"),
    # Keras' variables and NumPy 2; nothing of ours
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
]

KEY = make_key()
TRUSTED = [KEY.public_key()]
NOW = datetime(2026, 1, 2, tzinfo=UTC)
RECIPE = Recipe("seed_regularised", epochs=2, batch_size=16)
FILES = published(40, 90)


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


def order(root: Path, data: Path, name: str = "bundle") -> Order:
    return Order(RECIPE, data, root / name, "tiny", "1", required_sensitivity=0.6)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    root = tmp_path_factory.mktemp("built")
    data = write_zip(root / "collection.zip", FILES)
    _, digest = build(order(root, data), KEY, NOW, Watcher())
    return root / "bundle", data, digest


def test_the_bundle_serves_and_says_what_it_is(built: tuple[Path, Path, str]) -> None:
    directory, _, digest = built
    found = verify(directory, digest, TRUSTED)
    manifest = found.manifest
    assert (manifest.title, manifest.created_at) == ("tiny 1", "2026-01-02T00:00:00+00:00")
    assert set(manifest.data.images) == {"fit", "watch", "validation", "test"}
    assert sum(sum(counts.values()) for counts in manifest.data.images.values()) == len(FILES)
    assert manifest.operating_point.sensitivity_lower_bound >= 0.6
    assert set(manifest.metrics) == {"validation", "test"}
    assert manifest.training["epochs"] == 2
    card = found.files[MODEL_CARD].decode()
    assert "CC BY 4.0" in card
    assert f"{manifest.metrics['test']['auc'].value:.3f}" in card
    # measured, drawn and listed
    assert set(manifest.predictive_values) == set(manifest.subgroups) == {"validation", "test"}
    assert {"bacterial", "viral", "size: under 0.25 megapixels"} == set(manifest.subgroups["test"])
    for name in FIGURES:
        assert found.files[name].startswith(b"<?xml")
        assert f"]({name})" in card
    assert "`watch` chose the epoch" in card
    assert parse(manifest.encode()) == manifest
    for choice in (RuntimeChoice.LITERT, RuntimeChoice.KERAS):
        load(directory, choice, digest, TRUSTED)


def test_nobody_of_the_frozen_test_share_was_fitted_on(built: tuple[Path, Path, str]) -> None:
    fitted = set(verify(built[0], None, TRUSTED).files[FITTED_PATIENTS].decode().split())
    everyone = {f"train/IM-{number:04}" for number in range(1, 41)} | {f"train/person{n}" for n in range(1, 91)}
    by_split = {split: {patient for patient in everyone if split_of(patient) is split} for split in Split}
    assert fitted == {patient_digest(patient) for patient in by_split[Split.FIT] | by_split[Split.WATCH]}


def test_an_interrupted_run_ends_as_if_it_had_not_been(
    built: tuple[Path, Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, data, _ = built
    again = order(tmp_path, data)
    opened: list[str] = []
    render = Dataset.render
    monkeypatch.setattr(Dataset, "render", lambda self, item: opened.append(item.key) or render(self, item))
    with pytest.raises(Interrupted):
        build(again, KEY, NOW, Watcher(die_after=1))
    assert not again.out.exists()
    # every image to look for copies, and to keep it, before the first epoch; none of them again
    assert sorted(opened) == sorted([*FILES, *FILES])
    opened.clear()
    watcher = Watcher()
    build(again, KEY, NOW, watcher)
    assert opened == []
    assert [epoch.number for epoch in watcher.epochs] == [2]
    inputs = np.random.default_rng(0).random((4, 128, 128, 3), np.float32)
    one, other = (load(path, RuntimeChoice.LITERT, None, TRUSTED) for path in (whole, again.out))
    # not bit for bit everywhere: threads may add in another order
    np.testing.assert_allclose(one.runtime.predict(inputs), other.runtime.predict(inputs), atol=1e-4)


def test_a_second_run_of_the_same_order_is_refused(built: tuple[Path, Path, str], tmp_path: Path) -> None:
    twice = order(tmp_path, built[1])
    with alone(twice.partial), pytest.raises(FitFailed, match=r"bundle\.partial: another run of it is at work there"):
        build(twice, KEY, NOW, Watcher())
    assert not twice.out.exists()


def test_evaluate_gives_the_agreed_shape_on_any_layout(built: tuple[Path, Path, str], tmp_path: Path) -> None:
    directory, data, digest = built
    model = load(directory, RuntimeChoice.LITERT, digest, TRUSTED)
    fitted = frozenset(verify(directory, None, TRUSTED).files[FITTED_PATIENTS].decode().split())

    def measured(location: Path, part: Part = Part.TEST) -> Evaluation:
        with choose(location, part) as chosen:
            return evaluate(model, fitted, chosen)

    own = measured(data)
    assert own.patients_fitted_on == 0
    assert own.metrics["auc"].value == model.manifest.metrics["test"]["auc"].value
    assert measured(data, Part.TRAIN).patients_fitted_on > 0

    only_test = write_folder(tmp_path / "chest_xray", published(4, 6, "test"))
    for location in (only_test, only_test / "test", write_zip(tmp_path / "t.zip", published(4, 6, "test"))):
        found = measured(location).to_dict()
        assert (found["n"], found["split"], found["model"]) == (10, "test", "tiny 1")
        assert found["operating_point"]["score_threshold"] == model.manifest.operating_point.threshold
        assert set(found["metrics"]) == {
            *("auc", "accuracy", "sensitivity", "specificity", "precision", "average_precision", "brier", "ece")
        }
        assert all(set(interval) == {"value", "low", "high"} for interval in found["metrics"].values())
        assert set(found["calibration"]) == {
            *("ece_debiased", "log_loss", "calibration_slope", "calibration_intercept")
        }
        assert [values["prevalence"] for values in found["predictive_values"]] == [0.05, 0.1, 0.2]
        assert set(found["predictive_values"][0]["ppv"]) == {"value", "low", "high"}
        assert set(found["subgroups"]) == {"bacterial", "viral", "size: under 0.25 megapixels"}
        assert {name: group["few"] for name, group in found["subgroups"].items()} == dict.fromkeys(
            found["subgroups"], True
        )
        json.dumps(found, allow_nan=False)

    one_class = write_folder(tmp_path / "normals", published(5, 0, "test"))
    found = measured(one_class).to_dict()
    assert found["metrics"]["auc"] == {"value": None, "low": None, "high": None}
    assert found["metrics"]["specificity"]["value"] is not None
    with pytest.raises(DatasetError, match="no image in the split validation"):
        measured(one_class, Part.VALIDATION)


def test_what_cannot_become_a_bundle_leaves_none(built: tuple[Path, Path, str], tmp_path: Path) -> None:
    _, data, _ = built
    with pytest.raises(BundleRefused, match="never overwritten"):
        build(replace(order(tmp_path, data), out=built[0]), KEY, NOW, Watcher())
    normals = write_zip(tmp_path / "normals.zip", published(20, 0))
    with pytest.raises(DatasetError, match="no image of class PNEUMONIA"):
        build(order(tmp_path, normals), KEY, NOW, Watcher())
    few = write_zip(tmp_path / "few.zip", published(30, 2))
    with pytest.raises(FitFailed, match="no image of class PNEUMONIA falls to the patients"):
        build(order(tmp_path, few), KEY, NOW, Watcher())
    with pytest.raises(FitFailed, match="too few validation patients"):
        build(replace(order(tmp_path, data, "strict"), required_sensitivity=0.97), KEY, NOW, Watcher())
    assert [path.name for path in tmp_path.iterdir() if path.is_dir() and not path.name.endswith(".partial")] == []


FIRST = next(name for name in FILES if "NORMAL" in name)
BAD_INPUT = [
    ({FIRST: b"no picture"}, r"IM-0001-0001\.jpeg is no readable picture"),
    ({FIRST: b""}, r"IM-0001-0001\.jpeg is empty"),
    ({"train/COVID/IM-0001-0001.jpeg": FILES[FIRST]}, r"train/COVID/IM-0001-0001\.jpeg lies under the label 'COVID'"),
    ({"val/NORMAL/IM-0001-0002.jpeg": picture("NORMAL", 7)}, "patient train/IM-0001 is in two splits"),
    (
        {"val/PNEUMONIA/person900_virus_1.jpeg": FILES[FIRST]},
        r"different labels: .*IM-0001-0001\.jpeg, .*person900_virus_1\.jpeg",
    ),
]


@pytest.mark.parametrize(("files", "said"), BAD_INPUT)
def test_bad_input_names_the_file_or_patient_and_leaves_nothing(
    tmp_path: Path, files: dict[str, bytes], said: str
) -> None:
    data = write_zip(tmp_path / "c.zip", {**FILES, **files})
    with pytest.raises(DatasetError, match=said):
        build(order(tmp_path, data), KEY, NOW, Watcher())
    assert [path.name for path in tmp_path.iterdir()] == ["c.zip"]


def test_a_picture_in_two_splits_counts_where_it_is_held_out(tmp_path: Path) -> None:
    # the same picture in test/ and under a patient of train/: it is scored, and neither fitted on nor counted twice
    files = {**FILES, "test/NORMAL/IM-0900-0001.jpeg": FILES[FIRST], **published(3, 4, "test", first=500)}
    with open_dataset(write_zip(tmp_path / "c.zip", files)) as dataset:
        found = assign(dataset)
    assert [item.key for item in found.dropped] == [FIRST]
    assert "test/NORMAL/IM-0900-0001.jpeg" in {item.key for item in found.items[Split.TEST]}


def test_a_loss_that_is_no_number_stops_the_fit(built: tuple[Path, Path, str], tmp_path: Path) -> None:
    wild = replace(RECIPE, learning_rate=1e30, augmented=False)
    with pytest.raises(FitFailed, match=r"no finite number .* data explore, .* another --seed"):
        build(replace(order(tmp_path, built[1]), recipe=wild), KEY, NOW, Watcher())
    assert not (tmp_path / "bundle").exists()


def test_a_full_disk_is_told_with_the_options_that_there_are(
    built: tuple[Path, Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key = write_private(KEY, tmp_path / "key.pem")
    key.chmod(0o600)
    monkeypatch.setenv("LUNGWATCH_SIGNING_KEY_FILE", str(key))
    monkeypatch.setattr("training.datasets.cache._SPARE", 1 << 60)
    words = ["--data", str(built[1]), "--out", str(tmp_path / "out"), "--sensitivity", "0.6"]
    assert run_command(["train", "base", *words]) == 2
    said = capsys.readouterr().err
    assert "keep it on another disk: --cache is where decoded images lie" in said
    assert not (tmp_path / "out").exists()
