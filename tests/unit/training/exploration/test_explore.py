from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from cli.output import print_json
from imaging.spec import PreprocessSpec
from tests.factories.collections import picture, published, write_folder, write_zip
from tests.shared_data import shared_data
from training.datasets.dataset import Rendered, open_dataset
from training.exploration.charts import bars, histogram
from training.exploration.explore import Exploration, explore
from training.exploration.facts import measure, separation, spread
from training.exploration.page import page
from training.exploration.problems import ProblemKind

SPEC = PreprocessSpec(triangle_size=32, input_size=16)
STANDARD = PreprocessSpec(triangle_size=32, input_size=16, channels=1, scale="standard", crop=0.05, clip=(1.0, 99.0))
FILES = {**published(30, 40), **published(4, 6, "val", first=500), **published(2, 3, "test")}


def explored(location: Path, spec: PreprocessSpec = SPEC, samples: int = 2) -> Exploration:
    with open_dataset(location, whole_patients=False) as dataset:
        return explore(dataset, spec, samples)


def kinds(found: Exploration) -> set[ProblemKind]:
    return {problem.kind for problem in found.problems}


def test_what_a_data_set_holds(tmp_path: Path) -> None:
    files = {**FILES, "train/PNEUMONIA/person1_bacteria_7.jpeg": picture("PNEUMONIA", 7), "stray.png": b"x"}
    found = explored(write_zip(tmp_path / "c.zip", files))
    assert found.images == 86
    assert found.counts == {
        "test": {"NORMAL": 2, "PNEUMONIA": 3},
        "train": {"NORMAL": 30, "PNEUMONIA": 41},
        "val": {"NORMAL": 4, "PNEUMONIA": 6},
    }
    assert (found.patients.grouped, found.patients.told_apart) == (85, 86)
    assert found.patients.images_each == {1: 84, 2: 1}
    assert sum(sum(counts.values()) for counts in found.uses.values()) == 86
    assert found.uses["test"] == {"NORMAL": 2, "PNEUMONIA": 3}
    assert found.spreads["rows"]["NORMAL"].median == 32
    # pneumonias are drawn brighter
    assert found.separations["mean"] == 1
    assert found.separations["aspect"] == 0.5
    assert len(found.samples) == 4
    assert kinds(found) == {ProblemKind.TOO_FEW_PATIENTS, ProblemKind.IGNORED}


def test_everything_wrong_is_told_with_its_files(tmp_path: Path) -> None:
    content = picture("NORMAL", 900)
    files = {
        **FILES,
        "train/NORMAL/IM-0002-0001.jpeg": b"no picture",
        "train/NORMAL/IM-0901-0001.jpeg": content,
        "test/NORMAL/IM-0901-0001.jpeg": content,
        "train/NORMAL/IM-0902-0001.jpeg": picture("NORMAL", 902),
        "train/NORMAL/IM-0903-0001.jpeg": picture("NORMAL", 902),
        "train/NORMAL/IM-0904-0001.jpeg": picture("NORMAL", 904),
        "train/PNEUMONIA/person904_virus_1.jpeg": picture("NORMAL", 904),
        "val/NORMAL/IM-0001-0009.jpeg": picture("NORMAL", 905),
    }
    del files["test/PNEUMONIA/person1_virus_101.jpeg"]
    del files["test/PNEUMONIA/person2_bacteria_102.jpeg"]
    del files["test/PNEUMONIA/person3_virus_103.jpeg"]
    found = explored(write_folder(tmp_path / "c", files))
    said = {problem.kind: problem for problem in found.problems}
    assert not found.usable
    assert "IM-0002-0001.jpeg is no readable picture" in said[ProblemKind.UNREADABLE].said
    assert said[ProblemKind.EMPTY_CLASS].said == "no image of class PNEUMONIA in the split test"
    assert set(said[ProblemKind.DUPLICATE_ACROSS_SPLITS].paths) == {
        "test/NORMAL/IM-0901-0001.jpeg",
        "train/NORMAL/IM-0901-0001.jpeg",
    }
    assert "IM-0902-0001.jpeg" in said[ProblemKind.DUPLICATE_ACROSS_PATIENTS].said
    assert "person904_virus_1.jpeg" in said[ProblemKind.LABELS_DIFFER].said
    assert "patient train/IM-0001 is in the splits train and val" in said[ProblemKind.PATIENT_IN_TWO_SPLITS].said
    assert (found.copies.groups, found.copies.images) == (3, 6)
    assert found.uses["dropped"] == {"NORMAL": 2, "PNEUMONIA": 0}
    assert "IM-0901-0001.jpeg" in page(found, "model")


def test_one_class_alone(tmp_path: Path) -> None:
    found = explored(write_folder(tmp_path / "c", published(3, 0)))
    assert ProblemKind.EMPTY_CLASS in kinds(found)
    assert found.separations == {}
    assert "There is one class only" in page(found, "model")


class Pictures(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.sources += [value or "" for name, value in attrs if name in {"src", "href"}]


@pytest.mark.parametrize("spec", [SPEC, STANDARD])
def test_the_page_needs_nothing_from_elsewhere(tmp_path: Path, spec: PreprocessSpec) -> None:
    found = explored(write_folder(tmp_path / "<c>", FILES), spec, samples=3)
    text = page(found, "a <model>")
    parser = Pictures()
    parser.feed(text)
    assert len(parser.sources) == 12
    assert all(source.startswith("data:image/jpeg;base64,") for source in parser.sources)
    assert {"svg", "polyline", "table"} <= parser.tags
    assert not {"script", "link", "c", "model"} & parser.tags
    assert "&lt;c&gt;" in text
    assert all(sample.before.dtype == sample.after.dtype == np.uint8 for sample in found.samples)


def test_the_same_samples_each_time_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    location = write_folder(tmp_path / "c", FILES)
    one, other = explored(location), explored(location)
    assert [sample.item for sample in one.samples] == [sample.item for sample in other.samples]
    print_json(one.to_dict())
    told = json.loads(capsys.readouterr().out)
    assert told["patients"]["grouped"] == 85
    assert {label: sum(counted) for label, counted in told["grey_levels"].items()} == {
        label: int(counted.sum()) for label, counted in one.levels.items()
    }


def rendered(master: np.ndarray) -> Rendered:
    return Rendered("0" * 64, master.size, *master.shape, master.astype(np.uint16))


def test_measures_by_hand() -> None:
    ramp = np.tile(np.arange(0, 256, 8, dtype=np.int64) * 257, (32, 1))
    known, levels = measure(rendered(ramp), SPEC)
    assert known.mean == pytest.approx(124)
    assert known.deviation == pytest.approx(np.arange(0, 256, 8).std())
    assert (known.low, known.high) == (0, 248)
    assert known.clipped == pytest.approx(1 / 32)
    # steps of 8 along the rows, none down the columns
    assert known.sharpness == pytest.approx(4)
    assert known.frame == pytest.approx(124)
    assert levels.sum() == 1024
    flat, _ = measure(rendered(np.full((1, 1), 65535)), PreprocessSpec(triangle_size=1, input_size=1))
    assert (flat.mean, flat.deviation, flat.sharpness, flat.clipped, flat.frame) == (255, 0, 0, 1, 255)


def test_separation_and_spread() -> None:
    assert separation([1, 2], [3, 4]) == separation([3, 4], [1, 2]) == 1
    assert separation([1, 1], [1]) == 0.5
    assert separation([1, 2, 3], [2]) == 0.5
    assert separation([], [1]) is None
    assert spread([5.0]).median == spread([5.0]).largest == 5


def test_charts_of_little() -> None:
    assert histogram("t", {"a": [], "b": []}) == ""
    assert histogram("t", {"a": [1.0], "b": []}).count("<polyline") == 2
    assert bars("t", {}) == ""
    assert "<title>3: 9</title>" in bars("<t>", {1: 1, 3: 9})


@pytest.mark.timeout(600)
def test_the_public_collection() -> None:
    found = explored(shared_data("chest_xray_train_224.zip"))
    assert {split: tuple(counts.values()) for split, counts in found.counts.items()}.keys() == {"train", "val"}
    assert found.images == 5232
    assert [sum(counts[label] for counts in found.counts.values()) for label in ("NORMAL", "PNEUMONIA")] == [1349, 3883]
    # both readings of whose the 808 numbers with bacterial and viral images are
    assert (found.patients.grouped, found.patients.told_apart) == (2861, 3669)
    assert found.usable
