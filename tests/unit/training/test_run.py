from __future__ import annotations

from pathlib import Path

import pytest

from training.errors import FitFailed
from training.recipe import RECIPES
from training.run import Epoch, Run


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
