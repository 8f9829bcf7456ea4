from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from cli.__main__ import run
from tests.factories.bundles import make_key
from tests.factories.collections import published, write_zip


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


def test_too_few_epochs_for_the_stages_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key = tmp_path / "key.pem"
    key.write_bytes(make_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    key.chmod(0o600)
    monkeypatch.setenv("LUNGWATCH_SIGNING_KEY_FILE", str(key))
    data = write_zip(tmp_path / "c.zip", published(2, 2))
    assert run(["train", "champion", "--data", str(data), "--out", str(tmp_path / "out"), "--epochs", "1"]) == 2
    assert "at least 2 epochs are needed" in capsys.readouterr().err
    assert not (tmp_path / "out.partial").exists()
