from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from imaging.spec import PreprocessSpec
from tests.factories.collections import picture, published, write_folder, write_zip
from training.datasets import pixels
from training.datasets.dataset import Dataset, open_dataset
from training.errors import DatasetError

FILES = {**published(3, 4), **published(1, 2, "val", first=50), **published(2, 2, "test")}


def keys(location: Path) -> list[str]:
    with open_dataset(location) as dataset:
        for item in dataset.items:
            assert dataset.read(item)
        return [item.key for item in dataset.items]


def test_a_folder_and_a_zip_hold_the_same(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "chest_xray", FILES)
    assert keys(folder) == keys(write_zip(tmp_path / "c.zip", FILES)) == sorted(FILES)
    assert keys(tmp_path / "chest_xray") == keys(write_zip(tmp_path / "flat.zip", FILES, inside=""))


def test_only_a_test_split(tmp_path: Path) -> None:
    files = published(2, 3, "test")
    assert keys(write_zip(tmp_path / "t.zip", files)) == sorted(files)
    folder = write_folder(tmp_path / "chest_xray", files)
    # handed in itself, the folder still says what it is
    assert keys(folder / "test") == keys(folder) == sorted(files)
    assert keys(folder / "test" / "NORMAL") == sorted(key for key in files if "NORMAL" in key)


def test_a_zip_may_be_a_split(tmp_path: Path) -> None:
    files = published(2, 3, "test")
    bare = {name.removeprefix("test/"): content for name, content in files.items()}
    assert keys(write_zip(tmp_path / "test.zip", bare, inside="")) == sorted(files)


@pytest.mark.parametrize("place", ["plain", "train/plain", "test/plain", "NORMAL/plain"])
def test_where_a_data_set_lies_says_nothing_of_it(tmp_path: Path, place: str) -> None:
    files = published(2, 2, None)
    assert keys(write_folder(tmp_path / place, files)) == sorted(files)


def test_links_are_followed_and_lead_nowhere_for_ever(tmp_path: Path) -> None:
    files = published(2, 3, "train")
    real = write_folder(tmp_path / "disk", files)
    linked = tmp_path / "chest_xray"
    (linked / "train").mkdir(parents=True)
    for label in ("NORMAL", "PNEUMONIA"):
        (linked / "train" / label).symlink_to(real / "train" / label)
    (linked / "train" / "up").symlink_to(linked)
    (linked / "train" / "gone").symlink_to(tmp_path / "nowhere")
    assert keys(linked) == sorted(files)


def test_a_folder_that_cannot_be_looked_into_is_named(tmp_path: Path) -> None:
    location = write_folder(tmp_path / "c", FILES)
    # deeper than a path may be long: made step by step, since no name could reach it
    here = os.open(location, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=here)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    with pytest.raises(DatasetError, match="cannot be looked into"):
        keys(location)


def test_what_lies_in_a_class_folder_and_is_no_picture_is_counted(tmp_path: Path) -> None:
    others = {"train/NORMAL/scan.tif": b"x", "train/PNEUMONIA/1.dcm": b"x", "train/NORMAL/.DS_Store": b"x"}
    others["train/README.txt"] = b"x"
    with open_dataset(write_folder(tmp_path / "c", {**FILES, **others})) as dataset:
        assert dataset.ignored == ("train/NORMAL/scan.tif", "train/PNEUMONIA/1.dcm")


def test_a_folder_per_class(tmp_path: Path) -> None:
    files = published(2, 2, None)
    location = write_folder(tmp_path / "plain", files)
    assert keys(location) == sorted(files)
    with open_dataset(location) as dataset:
        assert {item.published_split for item in dataset.items} == {None}
        assert dataset.items[0].patient == "train/IM-0001"


def test_the_public_download_holds_everything_twice_and_rubbish(tmp_path: Path) -> None:
    twice = {**FILES, **{f"chest_xray/{name}": content for name, content in FILES.items()}}
    rubbish = {
        "__MACOSX/train/NORMAL/._IM-0001-0001.jpeg": b"x",
        "train/NORMAL/.DS_Store": b"x",
        "train/NORMAL/._IM-0001-0001.jpeg": b"x",
        "README.txt": b"x",
        "elsewhere/picture.jpeg": b"x",
    }
    assert keys(write_zip(tmp_path / "c.zip", {**twice, **rubbish})) == sorted(FILES)


def test_two_pictures_of_one_name_are_named(tmp_path: Path) -> None:
    files = {**FILES, "again/train/NORMAL/IM-0001-0001.jpeg": picture("NORMAL", 99)}
    with pytest.raises(DatasetError, match=r"IM-0001-0001\.jpeg and .*IM-0001-0001\.jpeg are different"):
        keys(write_folder(tmp_path / "c", files))


@pytest.mark.parametrize("absent", ["NORMAL", "PNEUMONIA"])
def test_a_missing_class_is_named(tmp_path: Path, absent: str) -> None:
    files = {name: content for name, content in FILES.items() if absent not in name}
    # an empty folder is no better than none
    (tmp_path / "c" / "train" / absent).mkdir(parents=True)
    with open_dataset(write_folder(tmp_path / "c", files)) as dataset, pytest.raises(DatasetError, match=absent):
        dataset.require_classes()


def test_what_is_no_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such folder or zip"):
        keys(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="no pictures in folders named NORMAL or PNEUMONIA"):
        keys(tmp_path / "empty")
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(DatasetError, match="neither a folder nor a readable zip"):
        keys(tmp_path / "text.zip")


SPEC = PreprocessSpec(triangle_size=16, input_size=8, channels=3)


def load(dataset: Dataset) -> pixels.Examples:
    return pixels.load(dataset, dataset.items, SPEC)


@pytest.mark.parametrize("content", [b"", b"no picture", picture("NORMAL", 1)[:200]])
def test_an_unreadable_image_is_named(tmp_path: Path, content: bytes) -> None:
    files = {**FILES, "train/NORMAL/IM-0002-0001.jpeg": content}
    location = write_zip(tmp_path / "c.zip", files)
    with open_dataset(location) as dataset, pytest.raises(DatasetError, match=r"IM-0002-0001\.jpeg"):
        load(dataset)


def test_a_damaged_zip_names_the_member(tmp_path: Path) -> None:
    location = write_zip(tmp_path / "c.zip", FILES)
    content = bytearray(location.read_bytes())
    place = content.index(FILES["train/NORMAL/IM-0002-0001.jpeg"]) + 100
    content[place] ^= 255
    location.write_bytes(bytes(content))
    with open_dataset(location) as dataset, pytest.raises(DatasetError, match=r"IM-0002-0001\.jpeg cannot be read"):
        load(dataset)


def test_pixels_come_in_order_with_labels_and_patients(tmp_path: Path) -> None:
    files = {**FILES, "train/PNEUMONIA/person1_bacteria_7.jpeg": picture("PNEUMONIA", 7)}
    with open_dataset(write_zip(tmp_path / "c.zip", files)) as dataset:
        examples = load(dataset)
    assert len(examples) == len(files)
    assert examples.planes.shape == (len(files), 8, 8)
    assert examples.inputs(slice(0, 2)).shape == (2, 8, 8, 3)
    assert 0 <= examples.planes.min() < examples.planes.max() <= 1
    np.testing.assert_array_equal(examples.labels, ["PNEUMONIA" in item.key for item in examples.items])
    rows = {item.key: row for row, item in enumerate(examples.items)}
    one = examples.patients[rows["train/PNEUMONIA/person1_bacteria_7.jpeg"]]
    assert one == examples.patients[rows["train/PNEUMONIA/person1_virus_101.jpeg"]]
    assert one != examples.patients[rows["test/PNEUMONIA/person1_virus_101.jpeg"]]
