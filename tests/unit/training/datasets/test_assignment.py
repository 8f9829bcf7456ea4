from __future__ import annotations

from pathlib import Path

import pytest

from tests.factories.collections import picture, published, write_zip
from training.datasets.assignment import Assignment, assign
from training.datasets.dataset import open_dataset
from training.datasets.patients import Split, split_of
from training.errors import DatasetError
from training.examination.part import Part, choose, items_of


def assigned(path: Path, files: dict[str, bytes]) -> Assignment:
    path.unlink(missing_ok=True)
    with open_dataset(write_zip(path, files)) as dataset:
        return assign(dataset)


def places(assignment: Assignment) -> dict[str, Split]:
    return {item.patient: split for split, items in assignment.items.items() for item in items}


def first_of(split: Split, start: int = 1) -> int:
    return next(number for number in range(start, 10_000) if split_of(f"train/person{number}") is split)


def test_nobody_moves_as_data_grows(tmp_path: Path) -> None:
    small = places(assigned(tmp_path / "c.zip", published(20, 20)))
    large = places(assigned(tmp_path / "c.zip", {**published(200, 200), **published(10, 10, "val", first=300)}))
    assert small.items() <= large.items()
    assert set(large.values()) == {Split.FIT, Split.WATCH, Split.VALIDATION, Split.TEST}


def test_every_image_of_a_patient_is_on_one_side(tmp_path: Path) -> None:
    files = published(0, 60)
    more = {name.replace("virus_", "virus_9"): picture("PNEUMONIA", 20_000 + row) for row, name in enumerate(files)}
    more |= {name.replace("virus_", "bacteria_8"): picture("PNEUMONIA", 30_000 + n) for n, name in enumerate(files)}
    found = assigned(tmp_path / "c.zip", {**files, **more})
    patients = [{item.patient for item in items} for items in found.items.values()]
    assert sum(len(some) for some in patients) == len(set().union(*patients)) == 60


@pytest.mark.parametrize("held_out", [Split.TEST, Split.VALIDATION, Split.WATCH])
def test_identical_pictures_never_straddle(tmp_path: Path, held_out: Split) -> None:
    fitted, kept = first_of(Split.FIT), first_of(held_out)
    same = picture("PNEUMONIA", 1)
    names = {
        f"train/PNEUMONIA/person{fitted}_virus_1.jpeg": same,
        f"train/PNEUMONIA/person{fitted}_virus_2.jpeg": picture("PNEUMONIA", 2),
        f"train/PNEUMONIA/person{kept}_virus_3.jpeg": same,
    }
    found = assigned(tmp_path / "c.zip", names)
    assert [item.key for item in found.items[held_out]] == [f"train/PNEUMONIA/person{kept}_virus_3.jpeg"]
    assert [item.key for item in found.items[Split.FIT]] == [f"train/PNEUMONIA/person{fitted}_virus_2.jpeg"]
    assert [item.key for item in found.dropped] == [f"train/PNEUMONIA/person{fitted}_virus_1.jpeg"]


def test_the_same_pixels_in_another_file_never_straddle(tmp_path: Path) -> None:
    fitted, kept = first_of(Split.FIT), first_of(Split.TEST)
    same = picture("PNEUMONIA", 1)
    # a comment segment behind SOI: other bytes, the same pixels
    commented = same[:2] + b"\xff\xfe\x00\x07hello" + same[2:]
    names = {
        f"train/PNEUMONIA/person{fitted}_virus_1.jpeg": same,
        f"train/PNEUMONIA/person{kept}_virus_3.jpeg": commented,
    }
    found = assigned(tmp_path / "c.zip", names)
    assert [item.key for item in found.dropped] == [f"train/PNEUMONIA/person{fitted}_virus_1.jpeg"]
    names[f"train/NORMAL/IM-{kept:04}-0001.jpeg"] = commented
    with pytest.raises(DatasetError, match="different labels"):
        assigned(tmp_path / "c.zip", names)


def test_a_share_of_our_own_is_told_from_a_published_test(tmp_path: Path) -> None:
    plain = write_zip(tmp_path / "plain.zip", published(40, 60))
    with choose(plain, Part.TEST) as chosen:
        assert chosen.own_share
        assert 0 < len(chosen.items) < 40
    with choose(plain, Part.ALL) as chosen:
        assert (chosen.own_share, len(chosen.items)) == (False, 100)
    with choose(write_zip(tmp_path / "test.zip", published(2, 3, None), inside=""), Part.TEST) as chosen:
        assert (chosen.own_share, len(chosen.items)) == (False, 5)


def test_identical_pictures_on_one_side_stay(tmp_path: Path) -> None:
    fitted = first_of(Split.FIT)
    same = picture("PNEUMONIA", 1)
    names = {f"train/PNEUMONIA/person{fitted}_virus_{number}.jpeg": same for number in (1, 2)}
    assert len(assigned(tmp_path / "c.zip", names).items[Split.FIT]) == 2


def test_a_published_test_is_the_test_as_it_stands(tmp_path: Path) -> None:
    files = {**published(40, 40), **published(5, 6, "test")}
    found = assigned(tmp_path / "c.zip", files)
    assert {item.published_split for item in found.items[Split.TEST]} == {"test"}
    assert len(found.items[Split.TEST]) == 11
    # our own frozen share stays out of fitting all the same
    alone = assigned(tmp_path / "c.zip", published(40, 40))
    assert [item.key for item in found.items[Split.RESERVED]] == [item.key for item in alone.items[Split.TEST]]
    assert [item.key for item in found.items[Split.FIT]] == [item.key for item in alone.items[Split.FIT]]


def test_a_picture_of_the_published_test_is_never_fitted_on(tmp_path: Path) -> None:
    name = f"person{first_of(Split.FIT)}_virus_1.jpeg"
    same = picture("PNEUMONIA", 1)
    found = assigned(tmp_path / "c.zip", {f"train/PNEUMONIA/{name}": same, "test/PNEUMONIA/person1_virus_1.jpeg": same})
    assert not found.items[Split.FIT]
    assert len(found.items[Split.TEST]) == 1


def test_contradicting_labels_are_named(tmp_path: Path) -> None:
    same = picture("NORMAL", 1)
    files = {"train/NORMAL/IM-0001-0001.jpeg": same, "train/PNEUMONIA/person1_virus_1.jpeg": same}
    with pytest.raises(DatasetError, match=r"different labels: .*IM-0001.*person1_virus"):
        assigned(tmp_path / "c.zip", files)


def test_the_digest_tells_data_apart(tmp_path: Path) -> None:
    files = published(3, 3)
    name = next(iter(files))
    digest = assigned(tmp_path / "c.zip", files).data_digest()
    assert digest == assigned(tmp_path / "again.zip", files).data_digest()
    assert digest != assigned(tmp_path / "c.zip", {**files, name: picture("NORMAL", 77)}).data_digest()


def test_parts_of_a_data_set(tmp_path: Path) -> None:
    files = {**published(40, 40), **published(5, 6, "test")}
    found = assigned(tmp_path / "c.zip", files)
    parts = {part: items_of(found, part) for part in Part}
    assert len(parts[Part.ALL]) == len(files)
    assert sum(len(items) for part, items in parts.items() if part is not Part.ALL) == len(files)
