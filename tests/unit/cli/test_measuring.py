from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.__main__ import run
from tests.factories.bundles import make_bundle, make_key, starter, write_public
from tests.factories.collections import picture, published, write_folder, write_zip
from tests.factories.dicom_objects import gradient, part10, phantom
from tests.limits import writing_at_most
from training.examination.stress import DISTORTIONS

pytestmark = pytest.mark.usefixtures("few_resamples")


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNGWATCH_DATA_DIR", str(tmp_path / "none"))


def test_evaluate_prints_the_agreed_json_for_a_test_split_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_zip(tmp_path / "test_only.zip", published(4, 6, "test"))
    assert run(["evaluate", "--data", str(data), "--split", "test", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["data"], found["split"], found["n"]) == ("test_only.zip", "test", 10)
    assert set(found["metrics"]["auc"]) == {"value", "low", "high"}
    assert found["operating_point"]["score_threshold"] == starter().manifest.operating_point.threshold
    assert run(["evaluate", "--data", str(data)]) == 0
    shown = capsys.readouterr()
    assert "specificity" in shown.out
    assert f"score threshold {starter().manifest.operating_point.threshold:.6g}" in shown.out
    # no bar where no terminal is
    assert shown.err == ""


def test_what_is_wrong_with_a_data_set_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", "--data", str(tmp_path / "none.zip")]) == 2
    assert "no such folder or zip" in capsys.readouterr().err
    data = write_zip(tmp_path / "c.zip", published(1, 1, "test"))
    assert run(["evaluate", "--data", str(data), "--split", "validation"]) == 2
    assert "no image in the split validation" in capsys.readouterr().err


def test_a_wrong_path_is_said_before_a_model_is_looked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", "--data", str(tmp_path / "none"), "--model", str(tmp_path / "no-model")]) == 2
    assert "no such folder or zip" in capsys.readouterr().err


def test_a_share_of_our_own_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_zip(tmp_path / "c.zip", published(20, 30))
    for command in ("evaluate", "stress"):
        assert run([command, "--data", str(data), "--model", "starter"]) == 0
        assert "c.zip has no test/: scored are" in capsys.readouterr().err
    assert run(["evaluate", "--data", str(data), "--split", "all"]) == 0
    assert "has no test/" not in capsys.readouterr().err


def test_a_sites_own_words_for_a_chest_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files, lines = {}, ["file,label,split"]
    for number in range(4):
        made = phantom(f"site {number}", picture=gradient(seed=number))
        made.BodyPartExamined, made.AnatomicRegionSequence = "TORAKS", []
        files[f"{number}.dcm"] = part10(made)
        lines.append(f"{number}.dcm,{('NORMAL', 'PNEUMONIA')[number % 2]},test")
    data = write_folder(tmp_path / "site", {**files, "labels.csv": "\n".join(lines).encode()})
    for command in ("evaluate", "stress"):
        arguments = [command, "--data", str(data), "--model", "starter"]
        monkeypatch.delenv("LUNGWATCH_CHEST_SYNONYMS", raising=False)
        assert run(arguments) == 2
        assert "out of scope (BODY_PART)" in capsys.readouterr().err
        monkeypatch.setenv("LUNGWATCH_CHEST_SYNONYMS", '["CHEST", "TORAKS"]')
        assert run(arguments) == 0


def test_subgroups_are_told_of_tables_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {f"{number}.png": picture("NORMAL", number) for number in range(12)}
    labels, sexes = ("NORMAL", "PNEUMONIA") * 6, ("F", "F", "M", "M") * 3
    lines = [
        f"{number}.png,{labels[number]},test,{sexes[number]},{number % 4 + 1},Room {number % 3}" for number in range(12)
    ]
    table = "\n".join(["file,label,split,sex,age,device", *lines]).encode()
    data = write_folder(tmp_path / "site", {**files, "labels.csv": table})
    assert run(["evaluate", "--data", str(data), "--json"]) == 0
    groups = json.loads(capsys.readouterr().out)["subgroups"]
    assert {name: group["n"] for name, group in groups.items()} == {
        "size: under 0.25 megapixels": 12,
        "sex: F": 6,
        "sex: M": 6,
        "age: 1 and 2 years": 6,
        "age: 3 to 5 years": 6,
        **{f"device: Room {number}": 4 for number in range(3)},
    }
    assert groups["sex: F"]["few"] is True
    assert (groups["sex: F"]["normal"], groups["sex: F"]["pneumonia"]) == (3, 3)
    assert run(["evaluate", "--data", str(data)]) == 0
    assert "few patients" in capsys.readouterr().out


def another(root: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the shipped network under another name and threshold."""
    point = starter().manifest.operating_point
    make_bundle(
        root / "other",
        name="other",
        operating_point={**point.model_dump(), "threshold": 0.1},
        uncertainty={**starter().manifest.uncertainty.model_dump(), "high": 0.5},
    )
    keys = root / "keys"
    keys.mkdir()
    write_public(make_key(), keys / "other.pem")
    monkeypatch.setenv("LUNGWATCH_TRUSTED_KEYS_DIR", str(keys))
    return str(root / "other")


def test_several_models_come_with_their_spread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_zip(tmp_path / "c.zip", published(4, 6, "test"))
    models = ["--model", "starter", "--model", another(tmp_path, monkeypatch)]
    assert run(["evaluate", "--data", str(data), *models, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["model"] for one in found["models"]] == [starter().manifest.title, "other 1"]
    assert (found["data"], found["split"], found["n"]) == ("c.zip", "test", 10)
    # one network, two thresholds
    auc, accuracy = found["spread"]["auc"], found["spread"]["accuracy"]
    assert auc["lowest"] == auc["highest"] == auc["mean"]
    assert auc["deviation"] == 0
    values = [one["metrics"]["accuracy"]["value"] for one in found["models"]]
    assert (accuracy["lowest"], accuracy["highest"]) == (min(values), max(values))
    assert run(["evaluate", "--data", str(data), *models]) == 0
    assert "standard deviation" in capsys.readouterr().out


def test_stress_puts_models_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_zip(tmp_path / "c.zip", published(3, 4, "test"))
    models = ["--model", "starter", "--model", another(tmp_path, monkeypatch)]
    out = tmp_path / "report"
    assert run(["stress", "--data", str(data), *models, "--out", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert json.loads((out / "stress.json").read_text()) == found
    assert [one["model"] for one in found["models"]] == [starter().manifest.title, "other 1"]
    for one in found["models"]:
        assert [row["name"] for row in one["distortions"]] == list(DISTORTIONS)
        assert set(one["distortions"][1]) == {"name", "auc", "auc_change", "sensitivity", "specificity", "moved"}
    # as many rows as distortions, and both models in each
    rows = [line for line in (out / "stress.md").read_text().splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[0].removeprefix("| ") for line in rows[1:]] == list(DISTORTIONS)
    assert rows[1].count("|") == 12
    assert run(["stress", "--data", str(data), "--model", "starter"]) == 0
    assert "frame of the other class" in capsys.readouterr().out
    before = (out / "stress.md").read_text()
    with writing_at_most(100):
        assert run(["stress", "--data", str(data), "--model", "starter", "--out", str(out)]) == 3
    assert f"{out / 'stress.md'}: File too large" in capsys.readouterr().err
    assert (out / "stress.md").read_text() == before


def test_stress_wants_both_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_zip(tmp_path / "c.zip", published(3, 0, "test"))
    assert run(["stress", "--data", str(data), "--model", "starter"]) == 2
    assert "no image of class PNEUMONIA in the split test" in capsys.readouterr().err
