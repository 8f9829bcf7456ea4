from __future__ import annotations

from pathlib import Path

import pytest

from bundle.architectures.table import ARCHITECTURES
from bundle.store import verify
from cli.__main__ import run
from cli.training import bars
from tests.factories.bundles import make_key, write_private
from tests.factories.collections import published, write_folder, write_zip
from tests.factories.networks import tiny
from training.bundling import build
from training.bundling.build import Order
from training.datasets.collection import INTENDED_USE
from training.datasets.items import LABELS
from training.errors import FitFailed
from training.fitting.recipe import RECIPES, HardenedRecipe, Stage
from training.fitting.run import Epoch


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNGWATCH_DATA_DIR", str(tmp_path / "none"))


def test_training_asks_for_the_key_before_hours_are_spent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_zip(tmp_path / "c.zip", published(2, 2))
    assert run(["train", "regularised", "--data", str(data), "--out", str(tmp_path / "out")]) == 2
    assert "LUNGWATCH_SIGNING_KEY_FILE is not set" in capsys.readouterr().err
    assert not (tmp_path / "out.partial").exists()


def test_a_model_we_do_not_know(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "resnet", "--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "regularised" in capsys.readouterr().err


@pytest.fixture
def signing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = write_private(make_key(), tmp_path / "key.pem")
    key.chmod(0o600)
    monkeypatch.setenv("LUNGWATCH_SIGNING_KEY_FILE", str(key))


@pytest.mark.usefixtures("signing")
def test_other_data_than_the_collection_are_not_called_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # no pictures: nothing is decoded before that is said
    files = {f"{label}/{number}.png": f"{label} {number}".encode() for label in LABELS for number in range(3)}
    words = ["train", "regularised", "--data", str(write_folder(tmp_path / "ward", files))]
    words += ["--out", str(tmp_path / "out"), "--origin", "our ward"]
    assert run(words) == 2
    said = capsys.readouterr().err
    assert "ward is not the public collection" in said
    assert "say --attribution, --intended-use (" in said
    use = tmp_path / "use.json"
    use.write_text(INTENDED_USE.model_dump_json())
    words += ["--attribution", "ours", "--intended-use", str(use)]
    assert run(words) == 2
    # that is what is wrong with it now
    assert "0.png is no readable picture" in capsys.readouterr().err
    use.write_text("{}")
    assert run(words) == 2
    assert "purpose: Field required" in capsys.readouterr().err
    assert not (tmp_path / "out.partial").exists()


@pytest.mark.usefixtures("signing")
def test_claims_of_no_words_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "base", "--data", str(tmp_path), "--out", str(tmp_path / "out"), "--origin", " "]) == 2
    assert "--origin" in capsys.readouterr().err


@pytest.mark.usefixtures("signing")
def test_too_few_epochs_for_the_stages_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_zip(tmp_path / "c.zip", published(2, 2))
    assert run(["train", "champion", "--data", str(data), "--out", str(tmp_path / "out"), "--epochs", "1"]) == 2
    assert "at least 2 epochs are needed" in capsys.readouterr().err
    assert not (tmp_path / "out.partial").exists()


@pytest.mark.tensorflow
# Keras' variables and NumPy 2; nothing of ours
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
@pytest.mark.usefixtures("few_resamples", "signing")
def test_what_is_said_of_a_model_that_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(ARCHITECTURES, "tiny", tiny)
    monkeypatch.setitem(RECIPES, "champion", HardenedRecipe("tiny", (Stage(32, 2),), batch_size=16, averaging=0.5))
    data, out = write_zip(tmp_path / "c.zip", published(40, 90)), tmp_path / "out"
    arguments = ["train", "champion", "--data", str(data), "--out", str(out), "--version", "7"]
    assert run([*arguments, "--sensitivity", "0.5", "--no-unlike"]) == 0
    shown = capsys.readouterr()
    found = verify(out, None, [make_key().public_key()])
    assert f"champion 7 written to {out}, digest {found.digest}\n" in shown.out
    assert f"{out}.partial held the work in progress and may be removed\n" in shown.err
    assert [line[:14] for line in shown.err.splitlines() if line.startswith("epoch")] == [
        "epoch  1: loss",
        "epoch  2: loss",
    ]
    for split, figures in found.manifest.metrics.items():
        assert f"{split} patients" in shown.out
        assert f"{figures['auc'].value:.5f}".rstrip("0") in shown.out
    assert set(found.manifest.metrics) == {"validation", "test"}
    # what is unfamiliar is known all the same
    assert found.manifest.familiarity is not None
    assert found.manifest.familiarity.noticed == {}
    # done is done
    assert run(arguments) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.usefixtures("signing")
@pytest.mark.parametrize(("options", "pictures"), [([], 60), (["--no-unlike"], 0)])
def test_unlike_pictures_are_measured_unless_they_are_left_out(
    options: list[str], pictures: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Order] = []

    def refuse(order: Order, *_: object) -> None:
        asked.append(order)
        raise FitFailed("enough is known")

    monkeypatch.setattr(build, "build", refuse)
    assert run(["train", "base", "--data", str(tmp_path), "--out", str(tmp_path / "out"), *options]) == 2
    assert [order.unlike for order in asked] == [pictures]


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_shows_bars_and_a_log_the_epochs_alone(
    terminal: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    with bars() as shown:
        step = shown.stage("read fit", 3)
        step()
        step()
        shown.epoch(Epoch(2, 0.5, 0.25, 0.75, 61.2))
    said = capsys.readouterr().err
    assert "epoch  2: loss 0.5000; watched patients: loss 0.2500, balanced accuracy 0.7500; 61 s\n" in said
    assert ("read fit" in said, "2/3" in said) == (terminal, terminal)
