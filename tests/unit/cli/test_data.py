from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select

from cli.__main__ import run
from core.settings import Settings
from db.base import make_readers
from db.datasets import current
from db.models.dataset import DataSet, DataSetImage, Label, LabelledImage
from db.vocabulary import ImageClass, Use
from imaging.eight_bit import master_from_picture
from imaging.master import load_master
from tests.factories.collections import picture, published, write_folder, write_zip
from tests.factories.dicom_objects import gradient, part10, phantom
from tests.limits import writing_at_most
from tests.unit.cli.conftest import Lungwatch
from training.datasets.patients import patient_digest

FILES = {**published(6, 8), **published(2, 2, "test")}
TABLES = (DataSet, LabelledImage, DataSetImage, Label)


def counts(engine: Engine) -> list[int]:
    with make_readers(engine)() as session:
        return [session.scalar(select(func.count()).select_from(table)) or 0 for table in TABLES]


def test_importing_enters_everything_once(
    lungwatch: Lungwatch, engine: Engine, ledger_settings: Settings, tmp_path: Path
) -> None:
    location = write_folder(tmp_path / "site", FILES)
    foreseen = lungwatch("data", "import", str(location), "--dry-run", "--json")
    assert foreseen.code == 0
    assert counts(engine) == [0, 0, 0, 0]
    assert not ledger_settings.masters.exists()
    done = lungwatch("data", "import", str(location), "--origin", "a friend, CC BY 4.0", "--json")
    assert json.loads(foreseen.out) | {"dry_run": False} == json.loads(done.out)
    assert counts(engine) == [1, 18, 18, 18]
    with make_readers(engine)() as session:
        assert session.scalars(select(DataSet.origin)).one() == "a friend, CC BY 4.0"
        rows = {row.key: row for row in current(session)}
    for name, content in FILES.items():
        row = rows[name]
        assert (load_master(ledger_settings.masters, row.master_digest) == master_from_picture(content)).all()
        assert row.label == ImageClass(name.split("/")[1])
        assert (row.use is Use.TEST) == name.startswith("test/")
    assert rows["test/NORMAL/IM-0001-0001.jpeg"].patient_digest == patient_digest("test/IM-0001")
    # under another name and from a zip it is still the same
    again = lungwatch("data", "import", str(write_zip(tmp_path / "again.zip", FILES)))
    assert (again.code, counts(engine)) == (0, [1, 18, 18, 18])
    assert "registered before, as site version 1" in again.out


def test_masters_that_are_gone_are_made_again(lungwatch: Lungwatch, ledger_settings: Settings, tmp_path: Path) -> None:
    location = str(write_folder(tmp_path / "site", FILES))
    assert lungwatch("data", "import", location).code == 0
    lost, *_ = ledger_settings.masters.rglob("*.png")
    content = lost.read_bytes()
    lost.unlink()
    assert "1 master images that were gone are made again" in lungwatch("data", "import", location).out
    assert lost.read_bytes() == content


def test_a_changed_label_is_shown_and_becomes_a_version(lungwatch: Lungwatch, engine: Engine, tmp_path: Path) -> None:
    lungwatch("data", "import", str(write_folder(tmp_path / "a" / "site", FILES)))
    moved = dict(FILES)
    moved["train/PNEUMONIA/IM-0001-0001.jpeg"] = moved.pop("train/NORMAL/IM-0001-0001.jpeg")
    location = str(write_folder(tmp_path / "b" / "site", moved))
    foreseen = lungwatch("data", "import", location, "--dry-run")
    assert "version 2" in foreseen.out
    assert "1 changed labels" in foreseen.out
    assert "train/PNEUMONIA/IM-0001-0001.jpeg  NORMAL" in foreseen.out
    assert lungwatch("data", "import", location).code == 0
    assert counts(engine) == [2, 18, 36, 19]
    with make_readers(engine)() as session:
        assert len(current(session)) == 18


def test_dicom_files_with_a_table(lungwatch: Lungwatch, engine: Engine, tmp_path: Path) -> None:
    files = {f"{number}.dcm": part10(phantom(f"data {number}", picture=gradient(seed=number))) for number in range(2)}
    table = b"file,label,patient\n0.dcm,NORMAL,one\n1.dcm,PNEUMONIA,two\n"
    done = lungwatch("data", "import", str(write_folder(tmp_path / "site", {**files, "labels.csv": table})), "--json")
    assert json.loads(done.out)["layout"] == "TABLE"
    assert counts(engine) == [1, 2, 2, 2]


WRONG = {
    "one class": (
        {name: content for name, content in FILES.items() if "NORMAL" in name},
        "no image of class PNEUMONIA",
    ),
    "unreadable": ({**FILES, "train/NORMAL/IM-0001-0001.jpeg": b"x"}, "IM-0001-0001.jpeg is no readable picture"),
    "empty": ({**FILES, "train/NORMAL/IM-0001-0001.jpeg": b""}, "IM-0001-0001.jpeg is empty"),
    "labels differ": (
        {**FILES, "train/PNEUMONIA/person50_virus_1.jpeg": FILES["train/NORMAL/IM-0001-0001.jpeg"]},
        "the same picture carries different labels: train/NORMAL/IM-0001-0001.jpeg, train/PNEUMONIA/person50_virus_1",
    ),
    "unknown label": ({**FILES, "train/COVID/x.jpeg": picture("NORMAL", 3)}, "train/COVID/x.jpeg lies under the label"),
    "two splits": (
        {**FILES, "val/NORMAL/IM-0001-0002.jpeg": picture("NORMAL", 3)},
        "patient train/IM-0001 is in two splits",
    ),
}


@pytest.mark.parametrize("what", list(WRONG))
def test_what_is_wrong_is_said_and_nothing_is_entered(
    lungwatch: Lungwatch, engine: Engine, tmp_path: Path, what: str
) -> None:
    files, said = WRONG[what]
    done = lungwatch("data", "import", str(write_folder(tmp_path / "site", files)))
    assert done.code == 2
    assert said in done.err
    assert counts(engine) == [0, 0, 0, 0]


def test_names_the_ledger_cannot_keep(lungwatch: Lungwatch, engine: Engine, tmp_path: Path) -> None:
    location = write_zip(tmp_path / "site.zip", {**FILES, f"train/NORMAL/{'x' * 300}.png": picture("NORMAL", 3)})
    done = lungwatch("data", "import", str(location))
    assert done.code == 2
    assert "xxx.png' is too long" in done.err
    for option in ("--name", "--origin"):
        done = lungwatch("data", "import", str(location), option, "x" * 256)
        assert done.code == 2
        assert "printable characters" in done.err
    assert counts(engine) == [0, 0, 0, 0]


def test_one_class_if_it_is_meant(lungwatch: Lungwatch, engine: Engine, tmp_path: Path) -> None:
    assert lungwatch("data", "import", str(write_folder(tmp_path / "site", published(3, 0))), "--one-class").code == 0
    assert counts(engine) == [1, 3, 3, 3]


def test_a_copy_that_is_held_out_is_named(lungwatch: Lungwatch, tmp_path: Path) -> None:
    files = {**FILES, "train/NORMAL/IM-0777-0001.jpeg": FILES["test/NORMAL/IM-0001-0001.jpeg"]}
    done = lungwatch("data", "import", str(write_folder(tmp_path / "site", files)))
    assert done.code == 0
    assert "dropped: train/NORMAL/IM-0777-0001.jpeg" in done.out


def test_a_disk_that_fills_stops_it(
    lungwatch: Lungwatch, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUNGWATCH_FREE_SPACE_BYTES", str(1 << 50))
    done = lungwatch("data", "import", str(write_folder(tmp_path / "site", FILES)))
    assert done.code == 3
    assert "nothing was registered" in done.err
    assert counts(engine) == [0, 0, 0, 0]


def test_exploring_writes_a_page_and_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LUNGWATCH_DATA_DIR", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)
    location = write_zip(tmp_path / "site.zip", FILES)
    # too few patients to train on
    assert run(["data", "explore", str(location)]) == 1
    shown = capsys.readouterr()
    assert "bytes per pixel" in shown.out
    assert "site.html has charts" in shown.err
    assert (tmp_path / "site.html").read_text().startswith("<!doctype html>")
    assert run(["data", "explore", str(location), "--json", "--out", str(tmp_path / "page.html")]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["counts"]["train"] == {"NORMAL": 6, "PNEUMONIA": 8}
    assert found["problems"][0]["kind"] == "TOO_FEW_PATIENTS"
    assert (tmp_path / "page.html").exists()
    assert not (tmp_path / "none").exists()
    assert run(["data", "explore", str(tmp_path / "no.zip")]) == 2
    # on a full disk the older page stays, and no part of another beside it
    names = {path.name for path in tmp_path.iterdir()}
    (tmp_path / "page.html").write_text("the older one")
    with writing_at_most(1000):
        assert run(["data", "explore", str(location), "--out", str(tmp_path / "page.html")]) == 3
    assert f"{tmp_path / 'page.html'}: File too large" in capsys.readouterr().err
    assert (tmp_path / "page.html").read_text() == "the older one"
    assert {path.name for path in tmp_path.iterdir()} == names


def test_a_page_replaces_no_device_and_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LUNGWATCH_DATA_DIR", str(tmp_path / "none"))
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", ""):
        assert run(["data", "explore", str(tmp_path / "no.zip"), "--out", str(tmp_path / name)]) == 2
        assert "is no file" in capsys.readouterr().err
