"""Comparing for real, on drawn pictures: through kills to the three reports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from bundle.architectures import transfer
from bundle.architectures.table import ARCHITECTURES
from cli.__main__ import run as command
from tests.factories.collections import published, write_folder, write_zip
from tests.waiting import wait_until
from training.alone import alone
from training.comparison import one_fit
from training.comparison.contenders import Name, contender
from training.comparison.one_fit import Job
from training.comparison.protocols import Fold
from training.comparison.record import read_result
from training.errors import FitFailed

pytestmark = [
    pytest.mark.tensorflow,
    # Keras' variables and NumPy 2; nothing of ours
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_zip(tmp_path_factory.mktemp("data") / "collection.zip", published(40, 60))


def backboned() -> Any:
    """Build a network of the transfer networks' make that is fitted in a second."""
    import keras  # noqa: PLC0415 - not for all who collect tests: TensorFlow takes seconds

    layers = keras.layers
    within = keras.Input((128, 128, 3))
    backbone = keras.Model(within, layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, 4)(within)), name="small")
    image = keras.Input((128, 128, 3), name="image")
    return transfer.stacked(image, image, backbone, 8, "small")


def residual(size: int | None = 160) -> Any:
    """Build a network of the champion's make that is fitted in a second."""
    import keras  # noqa: PLC0415 - not for all who collect tests: TensorFlow takes seconds

    layers = keras.layers
    image = keras.Input((size, size, 1), name="image")
    flow = layers.BatchNormalization()(layers.Conv2D(4, 3, 4, use_bias=False)(image))
    flow = layers.Dropout(0.2)(layers.GlobalAveragePooling2D(name="pooled")(flow))
    return keras.Model(image, layers.Dense(2, activation="softmax", name="label")(flow))


def test_killed_at_any_moment_the_same_command_goes_on(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["compare", str(data), "--protocol", "seed", "--models", "regularised", "--epochs", "2"]
    arguments += ["--out", str(out), "--sensitivity", "0.3", "--resamples", "20"]
    environment = {**os.environ, "LUNGWATCH_DATA_DIR": str(tmp_path / "none")}
    process = subprocess.Popen([sys.executable, "-m", "cli", *arguments], env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: any("number" in text for text in _progress(out)), 120, "the first epoch")
    finally:
        fitting = psutil.Process(process.pid).children()
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(fitting) == 1
    # whoever fitted dies with whoever started it
    wait_until(lambda: not fitting[0].is_running() or fitting[0].status() == psutil.STATUS_ZOMBIE, 30, "its end")
    assert not (out / "report.html").exists()

    assert command(arguments) == 0
    shown = capsys.readouterr()
    assert "regularised" in shown.out
    assert "epoch  1" not in shown.err or "epoch  2" in shown.err
    report = json.loads((out / "report.json").read_text())
    (model,) = report["models"]
    assert [point["number"] for point in model["curves"][0]] == [1, 2]
    assert model["parameters"] == {"total": 2_854_658, "trainable": 2_854_658, "frozen": 0}
    assert model["peak_memory_bytes"] > 200 << 20
    assert model["argmax"]["metrics"]["accuracy"]["value"] is not None
    assert [len(report["folds"]), report["folds"][0]["fit"], report["folds"][0]["scored"]] == [1, 80, 20]
    assert (out / "report.html").stat().st_size > 10_000
    assert (out / "report.md").read_text().startswith("# Comparison")

    # all is done: again without a fit
    assert command([*arguments, "--json"]) == 0
    again = capsys.readouterr()
    assert "epoch" not in again.err
    assert json.loads(again.out) == report
    # nor while another run is at work there
    with alone(out):
        assert command(arguments) == 2
    assert "another run of it is at work there" in capsys.readouterr().err
    # another protocol does not mix in
    assert command([*arguments[:3], "patient", *arguments[4:]]) == 2
    assert "another protocol" in capsys.readouterr().err


def test_a_picture_that_cannot_be_read_leaves_nothing_in_the_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = published(10, 10)
    bad = next(iter(files))
    out = tmp_path / "out"
    arguments = ["compare", str(tmp_path / "c"), "--protocol", "seed", "--models", "regularised", "--epochs", "1"]
    arguments += ["--out", str(out), "--sensitivity", "0.1", "--resamples", "20"]
    write_folder(tmp_path / "c", {**files, bad: b"no picture"})
    assert command(arguments) == 2
    assert f"{bad} is no readable picture" in capsys.readouterr().err
    assert not out.exists()
    write_folder(tmp_path / "c", files)
    assert command(arguments) == 0
    assert (out / "report.html").exists()


def _progress(out: Path) -> list[str]:
    return [path.read_text() for path in out.glob("fits/*/progress.json")]


def job(data: Path, root: Path, name: Name, epochs: int, **options: Any) -> Job:
    rows = np.random.default_rng(0).permutation(100).astype(np.int64)
    fold = Fold("one", rows[:60], rows[60:80], rows[80:])
    return Job(data, root / "cache", "d", f"{name}", contender(name, epochs, **options), fold)


def said(events: list[dict[str, Any]]) -> Callable[..., None]:
    def say(event: str, **facts: Any) -> None:
        events.append({"event": event, **facts})

    return say


def test_a_backbone_sees_each_image_once(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "seed_vgg16", backboned)
    todo = job(data, tmp_path, Name.VGG16, 2, backbone_weights="none")
    events: list[dict[str, Any]] = []
    one_fit.run(todo, tmp_path / "fit", said(events))
    found = read_result(tmp_path / "fit", "vgg16")
    assert found is not None
    assert (len(found.tuned), len(found.scored), len(found.points)) == (20, 20, 2)
    assert found.parameters.frozen > 0
    assert [event["name"] for event in events if event["event"] == "stage"] == [
        *("read pictures", "features of the backbone", "fit", "score"),
    ]
    # pixels and features, each once for all fits
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 2
    assert Job.from_dict(json.loads(json.dumps(todo.to_dict(_options(todo))))).contender == todo.contender


def _options(todo: Job) -> dict[str, Any]:
    one = todo.contender
    return {"name": one.name, "epochs": one.epochs, "backbone_weights": one.backbone_weights, "as_notebook": False}


def test_our_champion_is_fitted_by_its_own_recipe(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "se_resnet", residual)
    one_fit.run(job(data, tmp_path, Name.CHAMPION, 2), tmp_path / "fit", said([]))
    found = read_result(tmp_path / "fit", "champion")
    assert found is not None
    assert len(found.points) == 2
    assert found.points[0].accuracy is None
    assert len(found.scored) == 20


def test_a_champion_gone_on_with_knows_the_memory_it_took_before(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ARCHITECTURES, "se_resnet", residual)
    todo = job(data, tmp_path, Name.CHAMPION, 2)
    much = 1 << 40

    def die(event: str, **facts: Any) -> None:
        if (event, facts.get("number")) == ("epoch", 1):
            raise KeyboardInterrupt

    with monkeypatch.context() as once:
        once.setattr(one_fit, "_peak", lambda: much)
        with pytest.raises(KeyboardInterrupt):
            one_fit.run(todo, tmp_path / "fit", die)
    one_fit.run(todo, tmp_path / "fit", said([]))
    found = read_result(tmp_path / "fit", "champion")
    assert found is not None
    assert [point.number for point in found.points] == [1, 2]
    assert found.peak_memory == much


def test_a_loss_that_is_no_number_ends_the_fit(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "seed_mobilenetv2", backboned)
    monkeypatch.setattr("training.comparison.notebook_fit.LEARNING_RATE", 1e38)
    with pytest.raises(FitFailed, match=r"no finite number after epoch \d of mobilenetv2\. .* data explore, "):
        one_fit.run(job(data, tmp_path, Name.MOBILENETV2, 3, backbone_weights="none"), tmp_path / "fit", said([]))
    assert not (tmp_path / "fit" / "result.json").exists()


def test_what_fails_in_the_process_that_fits_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "none.zip"
    todo = job(missing, tmp_path, Name.BASE, 1)
    (tmp_path / "job.json").write_text(json.dumps(todo.to_dict(_options(todo))))
    failed = subprocess.run(
        [sys.executable, "-m", "training.comparison.one_fit", str(tmp_path), str(os.getpid())],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert failed.returncode == 1
    assert json.loads(failed.stdout.splitlines()[-1]) == {
        "event": "failed",
        "message": f"{missing}: no such folder or zip; --data wants the collection's folder or a zip of it",
    }
    assert capfd.readouterr().out == ""


def test_a_backbone_without_weights_is_an_error_of_its_own(data: Path, tmp_path: Path) -> None:
    with pytest.raises(FitFailed, match="no such file"):
        one_fit.run(
            job(data, tmp_path, Name.MOBILENETV2, 1, backbone_weights=str(tmp_path / "x.h5")),
            tmp_path / "fit",
            said([]),
        )
