from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from imaging.instance import read_instance
from imaging.master import load_master
from tests.factories.collections import picture, published, write_folder
from tests.factories.dicom_objects import gradient, lateral, part10, phantom, truncated_file
from training.datasets import decoding
from training.datasets.dataset import LABELS, Item, Layout, open_dataset
from training.datasets.decoding import default_rules
from training.datasets.items import Traits
from training.datasets.patients import patient_digest
from training.errors import DatasetError

OBJECTS = {name: phantom(f"table {name}", picture=gradient(seed=seed)) for seed, name in enumerate("abcd")}
for place, made in enumerate(OBJECTS.values()):
    made.PatientID = f"P{place // 2}"
FILES = {f"images/{name}.dcm": part10(made) for name, made in OBJECTS.items()}
UIDS = {name: str(made.SOPInstanceUID) for name, made in OBJECTS.items()}
BY_FILE = "file,label\nimages/a.dcm,NORMAL\nimages/b.dcm,normal\nimages/c.dcm,PNEUMONIA\nimages/d.dcm,PNEUMONIA\n"


def located(tmp_path: Path, table: str, files: dict[str, bytes] | None = None) -> Path:
    return write_folder(tmp_path / "site", {**(FILES if files is None else files), "labels.csv": table.encode()})


def items(location: Path) -> tuple[Item, ...]:
    with open_dataset(location) as dataset:
        return dataset.items


def zipped(folder: Path) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, f"export/{file.relative_to(folder).as_posix()}")
    return path


def test_files_by_path_in_a_folder_and_in_a_zip(tmp_path: Path) -> None:
    location = located(tmp_path, BY_FILE, {**FILES, "images/e.dcm": part10(phantom()), ".hidden": b"x"})
    with open_dataset(location) as dataset:
        assert dataset.layout is Layout.TABLE
        assert dataset.ignored == ("images/e.dcm",)
        found = dataset.items
    assert [item.key for item in found] == sorted(
        f"{label}/{UIDS[name]}" for name, label in zip("abcd", ("NORMAL",) * 2 + ("PNEUMONIA",) * 2, strict=True)
    )
    assert {(item.key, item.label, item.patient) for item in found} == {
        (item.key, item.label, item.patient) for item in items(zipped(location))
    }


def test_a_header_tells_the_patient_and_no_identifier_is_kept(tmp_path: Path) -> None:
    found = {item.path: item.patient for item in items(located(tmp_path, BY_FILE))}
    assert found["images/a.dcm"] == found["images/b.dcm"] != found["images/c.dcm"]
    assert found["images/a.dcm"] == "dicom/" + patient_digest("\\P0")


def test_files_by_uid_with_every_column(tmp_path: Path) -> None:
    table = "\ufeffSOP_Instance_UID,label,patient,split,subgroup,remark\n" + "".join(
        f"{UIDS[name]},{label},{patient},{split},{subgroup},seen\n"
        for name, label, patient, split, subgroup in (
            ("a", "NORMAL", "one", "train", ""),
            ("b", "PNEUMONIA", "two", "test", "viral"),
            ("c", "PNEUMONIA", "three", "validation", "fungal"),
        )
    )
    found = {item.path: item for item in items(located(tmp_path, table, {**FILES, "notes.txt": b"no DICOM"}))}
    assert found["images/b.dcm"] == Item(
        *(f"test/PNEUMONIA/{UIDS['b']}", "images/b.dcm", "PNEUMONIA", "test", "table/two", "viral"),
        Traits(sex="O", age_days=1096, view="AP", device="Phantom"),
    )
    assert found["images/c.dcm"].published_split == "val"
    assert found["images/a.dcm"].subgroup is None


def test_headers_and_columns_tell_sex_age_view_and_device(tmp_path: Path) -> None:
    plain = phantom("traits", picture=gradient(seed=9))
    plain.PatientSex, plain.PatientAge, plain.Manufacturer, plain.ManufacturerModelName = "F", "018M", "Maker", "X|1"
    files = {"a.dcm": part10(plain), "b.jpeg": picture("NORMAL", 1), "c.jpeg": picture("NORMAL", 2)}
    table = (
        "file,label,sex,age,view,device\na.dcm,NORMAL,,,,\nb.jpeg,NORMAL,male,4,pa,Room 2\nc.jpeg,NORMAL,unknown,,,\n"
    )
    found = {item.path: item.traits for item in items(located(tmp_path, table, files))}
    assert found == {
        "a.dcm": Traits("F", 548, "AP", "Maker X|1"),
        "b.jpeg": Traits("M", 1461, "PA", "Room 2"),
        "c.jpeg": Traits(),
    }
    # what the table says of a file goes before what its header says
    over = table.replace("a.dcm,NORMAL,,,,", "a.dcm,NORMAL,m,002Y,PA,")
    found = {item.path: item.traits for item in items(located(tmp_path / "over", over, files))}
    assert found["a.dcm"] == Traits("M", 731, "PA", "Maker X|1")


def test_pictures_may_stand_in_the_table(tmp_path: Path) -> None:
    files = {"person1_virus_2.jpeg": picture("PNEUMONIA", 1), **FILES}
    table = "file,label\nperson1_virus_2.jpeg,PNEUMONIA\nimages/a.dcm,NORMAL\n"
    with open_dataset(located(tmp_path, table, files)) as dataset:
        assert [dataset.master(item).shape for item in dataset.items] == [(96, 128), (32, 32)]
        last = dataset.items[-1]
        assert (last.key, last.patient, last.subgroup) == ("PNEUMONIA/person1_virus_2.jpeg", "train/person1", "viral")


def test_pixels_are_those_that_serving_sees(tmp_path: Path) -> None:
    location = located(tmp_path, BY_FILE)
    with open_dataset(location) as dataset:
        rendered = dataset.render(dataset.items[0])
        path = location / dataset.items[0].path
    reading = read_instance(path, tmp_path / "masters", default_rules())
    assert reading.master is not None
    np.testing.assert_array_equal(rendered.master, load_master(tmp_path / "masters", reading.master.digest))
    assert (rendered.rows, rendered.columns, rendered.size) == (96, 128, path.stat().st_size)


WRONG = [
    ("file,label\nimages/a.dcm,COVID\n", r"labels\.csv, line 2: label 'COVID' is not in the vocabulary"),
    ("file,label\nimages/x.dcm,NORMAL\n", r"line 2: there is no file images/x\.dcm"),
    ("file,label\n../../etc/passwd,NORMAL\n", r"line 2: there is no file"),
    ("file,label\n,NORMAL\n", "line 2: names no file"),
    ("file,label\nimages/a.dcm,NORMAL\nimages/a.dcm,NORMAL\n", r"line 3: images/a\.dcm is labelled already in line 2"),
    ("file,label\nimages/a.dcm\n", "line 2: has 1 fields where the header has 2"),
    ("file,label,label\nimages/a.dcm,NORMAL,NORMAL\n", "'label' stands there twice"),
    ("file,label,split\nimages/a.dcm,NORMAL,half\n", "split 'half' is none of"),
    ("file,label,patient\nimages/a.dcm,NORMAL,a/b\n", "patient is no word"),
    ("file,label,sex\nimages/a.dcm,NORMAL,x\n", "line 2: sex 'x' is none of F, M, O and unknown"),
    ("file,label,age\nimages/a.dcm,NORMAL,old\n", "line 2: age 'old' is neither years nor an age such as 018M"),
    ("file,label,device\nimages/a.dcm,NORMAL,a/b\n", "line 2: device is no word"),
    ("sop_instance_uid,label\n1.2.3,NORMAL\n", "line 2: its SOP Instance UID is in no file here"),
    (f"file,sop_instance_uid,label\nimages/a.dcm,{UIDS['b']},NORMAL\n", "another SOP Instance UID"),
    ("file,label\n", "no line below its header"),
    ('file,label\n"images/a.dcm,NORMAL\n', "is no CSV"),
    ("file,name\nimages/a.dcm,NORMAL\n", "CSV with the columns label and file or sop_instance_uid"),
    (
        "file,label,patient,split\nimages/a.dcm,NORMAL,one,train\nimages/b.dcm,NORMAL,one,test\n",
        r"patient table/one is in two splits: images/b\.dcm \(test\) and images/a\.dcm \(train\)",
    ),
]


@pytest.mark.parametrize(("table", "said"), WRONG)
def test_what_is_wrong_with_a_table_is_said_with_its_line(tmp_path: Path, table: str, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        items(located(tmp_path, table))


def test_two_tables_and_tables_of_others(tmp_path: Path) -> None:
    location = located(tmp_path, BY_FILE, {**FILES, "other.csv": b"name,age\nx,3\n"})
    assert len(items(location)) == 4
    (location / "again.csv").write_text(BY_FILE)
    with pytest.raises(DatasetError, match=r"again\.csv and labels\.csv both"):
        items(location)
    (location / "again.csv").write_bytes(b"file,label\n\xff\xfe,NORMAL\n")
    with pytest.raises(DatasetError, match="not UTF-8"):
        items(location)


def test_one_instance_in_two_files(tmp_path: Path) -> None:
    files = {**FILES, "images/again.dcm": FILES["images/a.dcm"]}
    with pytest.raises(DatasetError, match="is labelled already in line 2"):
        items(located(tmp_path, "file,label\nimages/a.dcm,NORMAL\nimages/again.dcm,PNEUMONIA\n", files))
    with pytest.raises(DatasetError, match=r"is in images/a\.dcm and images/again\.dcm"):
        items(located(tmp_path, f"sop_instance_uid,label\n{UIDS['a']},NORMAL\n", files))


def rendering(tmp_path: Path, content: bytes) -> None:
    location = located(tmp_path, BY_FILE, {**FILES, "images/b.dcm": content})
    with open_dataset(location) as dataset:
        for item in dataset.items:
            dataset.render(item)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"images/b\.dcm is no readable image: the file has no bytes"),
        (b"no image at all" * 30, r"images/b\.dcm is no readable image"),
        (truncated_file(), r"images/b\.dcm"),
        (part10(lateral()), r"images/b\.dcm is no readable image: the image is out of scope \(VIEW\)"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        rendering(tmp_path, content)


def test_a_decoder_that_hangs_or_dies_costs_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_dataset(located(tmp_path, BY_FILE)) as dataset:
        monkeypatch.setattr(decoding, "_SECONDS", 0.0)
        with pytest.raises(DatasetError, match=r"\.dcm is no readable image: decoding it took over"):
            dataset.render(dataset.items[0])
        monkeypatch.undo()
        assert dataset.render(dataset.items[0]).rows == 96
        monkeypatch.setattr(decoding, "_give", lambda process, _: process.kill())
        with pytest.raises(DatasetError, match="the decoder crashed on it"):
            dataset.render(dataset.items[0])
        monkeypatch.undo()
        assert dataset.render(dataset.items[0]).rows == 96


def test_a_patient_in_two_splits_of_folders_is_named(tmp_path: Path) -> None:
    files = {**published(2, 2), "val/NORMAL/IM-0001-0009.jpeg": picture("NORMAL", 77)}
    with pytest.raises(DatasetError, match=r"patient train/IM-0001 is in two splits: .*IM-0001-0001.*IM-0001-0009"):
        items(write_folder(tmp_path / "c", files))


@pytest.mark.parametrize("path", ["train/COVID/x.jpeg", "deep/test/normal/x.png"])
def test_a_folder_in_a_split_that_is_no_class_is_named(tmp_path: Path, path: str) -> None:
    with pytest.raises(DatasetError, match=rf"{path} lies under the label .* not in the vocabulary"):
        items(write_folder(tmp_path / "c", {**published(1, 1), path: picture("NORMAL", 5)}))


def test_a_folder_beside_the_classes_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="label 'COVID', which is not in the vocabulary"):
        items(write_folder(tmp_path / "c", {**published(1, 1, None), "COVID/x.jpeg": picture("NORMAL", 5)}))
    assert set(LABELS) == {"NORMAL", "PNEUMONIA"}
