from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cli.__main__ import run
from cli.predict import Row, _show
from db.vocabulary import Outcome
from imaging.reasons import Rejection
from tests.factories.bundles import bare, chest, knowing, make_bundle, make_key, starter, write_public
from tests.factories.collections import picture
from tests.factories.dicom_objects import hand, lateral, phantom, truncated_file, write

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNGWATCH_DATA_DIR", str(tmp_path / "nothing-here"))
    monkeypatch.setenv("LUNGWATCH_DATABASE_URL", "postgresql://127.0.0.1:1/none")


def predicted(capsys: pytest.CaptureFixture[str], *files: Path | str, code: int = 0) -> list[dict[str, Any]]:
    assert run(["predict", "--json", *map(str, files)]) == code
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    for row in rows:
        assert {"file", "outcome", "reason", "probability", "flags", "model"} <= set(row)
    return rows


def test_a_picture_is_classified_without_any_database(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "person1_virus_1.jpeg"
    path.write_bytes(picture("PNEUMONIA", 1, size=300))
    (row,) = predicted(capsys, path)
    assert row["file"] == str(path)
    assert row["outcome"] in {"SUSPECTED", "NOT_SUSPECTED"}
    assert row["reason"] is None
    assert 0 < row["probability"] < 1
    assert ("SUSPECTED" in row["flags"]) == (row["outcome"] == "SUSPECTED")
    assert {"UNKNOWN_AGE", "UNKNOWN_VIEW"} <= set(row["annotations"])
    assert row["model"] == starter().manifest.title
    assert not (tmp_path / "nothing-here").exists()


def test_dicom_goes_through_the_scope_rules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [
        write(tmp_path, phantom(), "chest.dcm"),
        write(tmp_path, lateral(), "lateral.dcm"),
        write(tmp_path, hand(), "hand.dcm"),
    ]
    rows = predicted(capsys, *files)
    assert rows[0]["outcome"] in {"SUSPECTED", "NOT_SUSPECTED"}
    assert [(row["outcome"], row["reason"]) for row in rows[1:]] == [
        ("OUT_OF_SCOPE", "VIEW"),
        ("OUT_OF_SCOPE", "BODY_PART"),
    ]
    assert all(row["probability"] is None for row in rows[1:])


def test_what_cannot_be_read_has_no_result_and_a_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = {
        "truncated.dcm": (truncated_file(), {Rejection.TRUNCATED}),
        "empty.dcm": (b"", {Rejection.EMPTY}),
        "text.txt": (b"no radiograph at all" * 20, {Rejection.NOT_DICOM}),
        "broken.jpeg": (picture("NORMAL", 1)[:300], {Rejection.DECODE_FAILED}),
    }
    for name, (content, _) in wrong.items():
        (tmp_path / name).write_bytes(content)
    sound = tmp_path / "sound.jpeg"
    sound.write_bytes(picture("NORMAL", 1, size=300))
    rows = predicted(capsys, *(tmp_path / name for name in wrong), tmp_path / "absent", tmp_path, sound, code=1)
    for row, (name, (_, reasons)) in zip(rows, wrong.items(), strict=False):
        assert (row["outcome"], row["reason"] in reasons, row["flags"]) == ("NO_RESULT", True, ["NO_RESULT"]), name
        assert row["probability"] is None
    assert [row["reason"] for row in rows[4:6]] == ["MISSING_FILE", "NOT_DICOM"]
    # one bad file spoils no other
    assert rows[-1]["outcome"] in {"SUSPECTED", "NOT_SUSPECTED"}


def test_the_sites_prevalence_moves_the_probability_and_not_the_outcome(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jpeg"
    path.write_bytes(picture("PNEUMONIA", 1, size=300))
    (before,) = predicted(capsys, path)
    monkeypatch.setenv("LUNGWATCH_SITE_PREVALENCE", "0.05")
    (after,) = predicted(capsys, path)
    assert after["prevalence"] == 0.05
    assert after["probability"] < before["probability"]
    assert after["outcome"] == before["outcome"]


@pytest.fixture
def _own_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keys").mkdir()
    write_public(make_key(), tmp_path / "keys" / "key.pem")
    monkeypatch.setenv("LUNGWATCH_TRUSTED_KEYS_DIR", str(tmp_path / "keys"))


@pytest.mark.usefixtures("_own_key")
def test_an_unfamiliar_image_is_flagged_and_never_not_suspected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_bundle(tmp_path / "bundle", **knowing(2.5))
    paths = [tmp_path / "like.png", tmp_path / "unlike.png"]
    chest_like = (chest(np.random.default_rng(5)) >> 8).astype(np.uint8)
    for path, grey in zip(paths, (chest_like, np.rot90(chest_like)), strict=True):
        Image.fromarray(np.ascontiguousarray(grey)).resize((300, 300)).save(path)
    # what the network says of it is its own affair
    assert run(["predict", "--json", "--model", str(tmp_path / "bundle"), *map(str, paths)]) in {0, 1}
    like, unlike = json.loads(capsys.readouterr().out)
    assert "UNFAMILIAR" not in like["flags"]
    assert "UNFAMILIAR" in unlike["flags"]
    assert unlike["outcome"] in {"SUSPECTED", "NO_RESULT"}
    if unlike["outcome"] == "NO_RESULT":
        assert unlike["reason"] == "UNFAMILIAR"
    assert set(like) == set(unlike)


@pytest.mark.usefixtures("_own_key")
def test_a_model_that_makes_no_heatmaps_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.jpeg"
    path.write_bytes(picture("NORMAL", 1))
    make_bundle(tmp_path / "bundle", **bare())
    command = ["predict", "--model", str(tmp_path / "bundle"), "--heatmap", str(tmp_path / "maps"), str(path)]
    assert run(command) == 2
    assert "makes no heatmaps" in capsys.readouterr().err
    assert not (tmp_path / "maps").exists()


def test_the_table_names_files_outcomes_and_what_went_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.jpeg"
    path.write_bytes(picture("NORMAL", 1, size=300))
    assert run(["predict", str(path), str(tmp_path / "absent.dcm")]) == 1
    shown = capsys.readouterr()
    assert "a.jpeg" in shown.out
    assert "not a medical device" in shown.out
    assert "the file cannot be read" in shown.err


def test_a_folder_is_named_as_it_was_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["predict", "."]) == 1
    shown = capsys.readouterr()
    assert [line.split()[:2] for line in shown.out.splitlines()[2:]] == [[".", "NO_RESULT:"]]
    assert shown.err == ".: is a folder; name its files\n"


def test_the_table_claims_no_certainty(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [Row(Path(f"{number}.dcm"), Outcome.SUSPECTED, probability=number) for number in (0.9996, 0.0001, 0.5)]
    _show(rows, "model 1")
    assert [line.split()[2] for line in capsys.readouterr().out.splitlines()[2:]] == [">0.99", "<0.01", "0.50"]


def test_piped_it_prints_its_results_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.jpeg"
    path.write_bytes(picture("NORMAL", 1, size=300))
    command = [sys.executable, "-m", "cli", "predict", "--json", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert len(json.loads(done.stdout)) == 1
    # no bar, and no word of the library that computes
    assert done.stderr == ""


@pytest.mark.parametrize("model", ["/nonexistent/bundle", "99"])
def test_a_model_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LUNGWATCH_DATABASE_URL")
    path = tmp_path / "a.jpeg"
    path.write_bytes(picture("NORMAL", 1))
    assert run(["predict", "--model", model, str(path)]) == 2
    assert "lungwatch: " in capsys.readouterr().err
    assert not (tmp_path / "nothing-here").exists()
