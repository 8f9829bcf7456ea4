from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from sqlalchemy import Engine

from bundle.manifest import LITERT
from cli.__main__ import run
from core.settings import Settings
from db.base import make_sessions
from db.registry import NewModel, register
from db.vocabulary import ModelOrigin
from tests.factories.bundles import make_bundle, make_key, starter, write_public
from worker.serving import install_starter


@pytest.fixture
def site(settings: Settings, sqlite_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """An installation with the starter as champion, and one model of its own beside it."""
    keys = tmp_path / "keys"
    keys.mkdir()
    write_public(make_key(), keys / "site.pem")
    monkeypatch.setenv("LUNGWATCH_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("LUNGWATCH_TRUSTED_KEYS_DIR", str(keys))
    digest = make_bundle(settings.bundles / "own-1", version="own-1")
    manifest = starter().manifest
    with make_sessions(sqlite_engine).begin() as session:
        install_starter(settings, session)
        register(
            session,
            NewModel(
                name="test",
                version="own-1",
                origin=ModelOrigin.TRAINED,
                bundle_digest=digest,
                location="own-1",
                architecture=manifest.architecture,
                preprocess_digest=manifest.preprocess_digest,
                threshold=0.5,
                manifest={},
            ),
        )
    return settings


def test_a_fresh_clone_lists_shows_and_verifies_the_starter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUNGWATCH_DATA_DIR", str(tmp_path / "none"))
    assert run(["models", "list", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["origin"], row["location"], row["digest"]) == ("STARTER", "starter", starter().digest)
    assert row["score_threshold"] == starter().manifest.operating_point.threshold
    assert "threshold" not in row
    assert run(["models", "list"]) == 0
    assert "Score threshold" in capsys.readouterr().out
    assert run(["models", "show"]) == 0
    shown = capsys.readouterr().out
    assert "Kermany" in shown
    assert all(line == line.rstrip() for line in shown.splitlines())
    assert run(["models", "show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["manifest"]["architecture"] == starter().manifest.architecture
    assert run(["models", "verify", "--json"]) == 0
    assert [row["sound"] for row in json.loads(capsys.readouterr().out)] == [True]
    assert not (tmp_path / "none").exists()


def test_registered_models_are_listed_with_the_champion_marked(
    site: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert site
    assert run(["models", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["location"], row["champion"]) for row in rows] == [("starter", True), ("own-1", False)]
    for model in ("own-1", "champion", str(site.bundles / "own-1")):
        assert run(["models", "show", model, "--json"]) == 0
    assert run(["models", "list"]) == 0
    assert "champion" in capsys.readouterr().out


def test_verify_names_the_damaged_one_and_fails(site: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "verify"]) == 0
    path = site.bundles / "own-1" / LITERT
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(bytes(content))
    capsys.readouterr()
    assert run(["models", "verify", "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)
    assert [(row["version"], row["sound"]) for row in rows][1:] == [("own-1", False)]
    assert "model.tflite is damaged or was altered" in rows[1]["problem"]
    shutil.rmtree(site.bundles / "own-1")
    assert run(["models", "verify"]) == 1
    assert run(["models", "show", "own-1"]) == 2
    assert run(["models", "show", "no-such-version"]) == 2
    assert "lungwatch models list" in capsys.readouterr().err


def test_a_trusted_key_that_cannot_be_read_is_a_wrong_setting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUNGWATCH_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("LUNGWATCH_TRUSTED_KEYS_DIR", str(tmp_path / "none"))
    assert run(["models", "verify"]) == 2
    assert "LUNGWATCH_TRUSTED_KEYS_DIR" in capsys.readouterr().err
