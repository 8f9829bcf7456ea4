from __future__ import annotations

from pathlib import Path

import pytest

from cli.__main__ import run
from tests.factories.bundles import make_key, write_private
from tests.factories.collections import published, write_folder, write_zip
from training.datasets.collection import INTENDED_USE
from training.datasets.items import LABELS


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
def _key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = write_private(make_key(), tmp_path / "key.pem")
    key.chmod(0o600)
    monkeypatch.setenv("LUNGWATCH_SIGNING_KEY_FILE", str(key))


@pytest.mark.usefixtures("_key")
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


@pytest.mark.usefixtures("_key")
def test_claims_of_no_words_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "base", "--data", str(tmp_path), "--out", str(tmp_path / "out"), "--origin", " "]) == 2
    assert "--origin" in capsys.readouterr().err


@pytest.mark.usefixtures("_key")
def test_too_few_epochs_for_the_stages_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_zip(tmp_path / "c.zip", published(2, 2))
    assert run(["train", "champion", "--data", str(data), "--out", str(tmp_path / "out"), "--epochs", "1"]) == 2
    assert "at least 2 epochs are needed" in capsys.readouterr().err
    assert not (tmp_path / "out.partial").exists()
