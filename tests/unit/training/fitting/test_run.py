from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.limits import writing_at_most
from training.errors import FitFailed
from training.fitting.averaging import Average
from training.fitting.recipe import RECIPES
from training.fitting.run import Epoch, Run
from training.fitting.weights import save_weights


def epoch(number: int, watch_loss: float) -> Epoch:
    return Epoch(number, 0.5, watch_loss, 0.9, 1.0)


def recorded(folder: Path, losses: list[float]) -> Run:
    run = Run.start_or_resume(folder, "f")
    for number, loss in enumerate(losses, start=1):
        run.weights(number).write_bytes(b"w")
        run = run.after(epoch(number, loss), "f")
    return run


def test_a_run_goes_on_where_it_stopped_and_keeps_best_and_latest(tmp_path: Path) -> None:
    run = recorded(tmp_path / "r", [0.5, 0.3, 0.4, 0.35])
    assert run.best.number == 2
    again = Run.start_or_resume(tmp_path / "r", "f")
    assert again == run
    assert sorted(path.name for path in again.folder.glob("*.h5")) == ["epoch-002.weights.h5", "epoch-004.weights.h5"]


def test_when_a_run_is_finished(tmp_path: Path) -> None:
    run = recorded(tmp_path / "r", [0.5, 0.3, 0.4, 0.35])
    assert run.finished(epochs=4, patience=10)
    assert run.finished(epochs=20, patience=2)
    assert not run.finished(epochs=20, patience=3)
    assert not Run(tmp_path, ()).finished(epochs=1, patience=1)


def test_another_recipe_or_data_is_not_continued(tmp_path: Path) -> None:
    recorded(tmp_path / "r", [0.5])
    with pytest.raises(FitFailed, match="another recipe"):
        Run.start_or_resume(tmp_path / "r", "g")
    recipe = RECIPES["regularised"]
    assert recipe.fingerprint("a", "b") == recipe.fingerprint("a", "b") != recipe.fingerprint("b", "a")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"fingerprint": "f"}', '{"fingerprint": "f", "epochs": [{}]}'])
def test_a_damaged_record_is_named(tmp_path: Path, content: str) -> None:
    recorded(tmp_path / "r", [0.5])
    (tmp_path / "r" / "progress.json").write_text(content)
    with pytest.raises(FitFailed, match=r"progress\.json is damaged"):
        Run.start_or_resume(tmp_path / "r", "f")


class Model:
    """Writes what Keras' `save_weights` writes, with h5py as Keras does."""

    variables = (np.zeros(200_000, np.float32),)
    optimizer = None

    def save_weights(self, path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["weights"] = self.variables[0]


def test_an_epoch_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    run = Run.start_or_resume(tmp_path / "r", "f")
    average = Average([np.zeros(200_000, np.float32)], 0.9)
    # as on a full disk, where HDF5 would crash
    with writing_at_most(100_000), pytest.raises(FitFailed, match=r"epoch 1 could not be written \(File too large\)"):
        run.keep(1, Model(), average)
    assert [path.name for path in run.folder.iterdir()] == ["progress.json"]
    run.keep(1, Model(), average)
    with h5py.File(run.weights(1)) as file:
        assert file["weights"].shape == (200_000,)
    assert run.weights(1).stat().st_size < 1_000_000
    assert Average.read(run.average(1), 0.9).steps == 0
    with writing_at_most(10), pytest.raises(FitFailed, match=r"progress\.json could not be written"):
        run.after(epoch(1, 0.5), "f")
    assert Run.start_or_resume(tmp_path / "r", "f").epochs == ()


def test_two_that_write_the_same_epoch_at_once_spoil_neither(tmp_path: Path) -> None:
    path = tmp_path / "epoch-001.weights.h5"

    class Slow(Model):
        """Is overtaken while it writes, as a process that was stopped and lost its place."""

        def save_weights(self, temporary: Path) -> None:
            with temporary.open("r+b") as file:
                save_weights(Model(), path)
                file.write(bytes(1 << 20))

    # what it wrote is gone, and the other's file is whole
    with pytest.raises(FileNotFoundError):
        save_weights(Slow(), path)
    with h5py.File(path) as file:
        assert file["weights"].shape == (200_000,)
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_what_was_killed_while_writing_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / ".unfinished-00000000.weights.h5").write_bytes(b"w")
    save_weights(Model(), tmp_path / "epoch-001.weights.h5")
    assert [found.name for found in tmp_path.iterdir()] == ["epoch-001.weights.h5"]


def test_a_record_from_before_the_learning_rate_was_noted_is_read(tmp_path: Path) -> None:
    old = {"number": 1, "loss": 0.5, "watch_loss": 0.4, "watch_accuracy": 0.9, "seconds": 1.0}
    (tmp_path / "progress.json").write_text(json.dumps({"fingerprint": "f", "epochs": [old]}))
    assert Run.start_or_resume(tmp_path, "f").epochs == (Epoch(**old, learning_rate=None),)
