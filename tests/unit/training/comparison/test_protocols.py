from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.factories.collections import picture, published, write_folder
from training.comparison.protocols import Fold, Plan, Protocol, plan, shuffle_split
from training.datasets.dataset import Item, open_dataset
from training.datasets.patients import Split, split_of
from training.errors import DatasetError


def planned(root: Path, files: dict[str, bytes], protocol: Protocol, folds: int = 3) -> tuple[Plan, tuple[Item, ...]]:
    with open_dataset(write_folder(root, files)) as dataset:
        return plan(protocol, dataset, folds), dataset.items


def patients(items: tuple[Item, ...], rows: np.ndarray) -> set[str]:
    return {items[row].patient for row in rows}


def test_the_notebooks_split_is_scikit_learns() -> None:
    # train_test_split(range(n), test_size=0.2, random_state=13) of scikit-learn 1.9.1
    fit, scored = shuffle_split(11)
    assert (list(fit), list(scored)) == ([8, 1, 4, 10, 6, 9, 0, 2], [3, 5, 7])
    fit, scored = shuffle_split(5_232)
    assert (len(fit), len(scored)) == (4_185, 1_047)
    assert list(fit[:6]) == [2463, 1356, 100, 55, 1045, 2994]
    assert list(scored[:6]) == [1441, 4601, 2101, 4844, 2273, 2643]
    assert (list(fit[-3:]), list(scored[-3:])) == ([2790, 74, 338], [3656, 3570, 1643])
    fit, scored = shuffle_split(5_856)
    assert (len(fit), len(scored)) == (4_684, 1_172)
    assert (list(fit[:3]), list(scored[-3:])) == ([350, 386, 3254], [1027, 2869, 3695])


def test_seed_takes_every_image_in_the_order_of_paths_and_says_what_leaks(tmp_path: Path) -> None:
    files = published(20, 30) | published(3, 4, "test")
    # one more image of each patient with pneumonia, and a copy
    files |= {
        name.replace(".jpeg", "0.jpeg"): picture("PNEUMONIA", 500_000 + number) for number, name in enumerate(files)
    }
    found, items = planned(tmp_path, files, Protocol.SEED)
    (fold,) = found.folds
    assert [item.key for item in items] == sorted(files)
    assert sorted([*fold.fit, *fold.scored]) == list(range(len(files)))
    assert len(fold.tune) == 0
    shared = sum(items[row].patient in patients(items, fold.fit) for row in fold.scored)
    assert shared > 0
    assert f"{shared} of the {len(fold.scored)} scored images are of patients fitted on" in found.notes[0]


def test_published_scores_the_published_test(tmp_path: Path) -> None:
    files = published(30, 60) | published(5, 6, "test")
    found, items = planned(tmp_path, files, Protocol.PUBLISHED)
    (fold,) = found.folds
    assert {items[row].key for row in fold.scored} == {name for name in files if name.startswith("test/")}
    assert len(fold.fit) + len(fold.tune) + len(fold.scored) == len(files)
    assert not patients(items, fold.fit) & patients(items, fold.tune)
    assert not any("frozen" in note for note in found.notes)


def test_published_without_a_test_scores_our_frozen_share_and_says_so(tmp_path: Path) -> None:
    found, items = planned(tmp_path, published(30, 60), Protocol.PUBLISHED)
    (fold,) = found.folds
    assert not patients(items, fold.fit) & patients(items, fold.scored)
    assert "no test/" in found.notes[0]


def test_patient_scores_every_patient_once_in_five_folds_and_then_anew(tmp_path: Path) -> None:
    files = published(31, 62)
    found, items = planned(tmp_path, files, Protocol.PATIENT, folds=10)
    for folds in (found.folds[:5], found.folds[5:]):
        scored = np.concatenate([fold.scored for fold in folds])
        assert sorted(scored) == list(range(len(items)))
        assert {sum(items[row].label == "NORMAL" for row in fold.scored) for fold in folds} == {6, 7}
    first, second = ({frozenset(fold.scored) for fold in folds} for folds in (found.folds[:5], found.folds[5:]))
    assert not first & second
    assert found.notes[0] == "5-fold cross-validation by patient, repeated: 10 folds in all."


def test_patient_divides_by_patient(tmp_path: Path) -> None:
    files = published(30, 60)
    for number in range(1, 20):
        files[f"train/PNEUMONIA/person{number}_virus_9{number:02}.jpeg"] = picture("PNEUMONIA", 77_000 + number)
    found, items = planned(tmp_path, files, Protocol.PATIENT)
    assert len(found.folds) == 3
    for fold in found.folds:
        parts = [patients(items, rows) for rows in (fold.fit, fold.tune, fold.scored)]
        assert sum(len(part) for part in parts) == len(set.union(*parts)) == 90
        assert len(parts[2]) == 18
        assert sum(items[row].label == "NORMAL" for row in fold.scored) == 6
    assert len({tuple(fold.scored) for fold in found.folds}) == 3
    again, _ = planned(tmp_path / "again", files, Protocol.PATIENT)
    assert [list(fold.scored) for fold in again.folds] == [list(fold.scored) for fold in found.folds]


def test_styles_leaves_one_style_of_normals_out_and_the_frozen_share_out_of_all(tmp_path: Path) -> None:
    files = published(90, 90) | published(2, 3, "test")
    # a normal once more under another patient's name
    files["train/NORMAL/NORMAL2-IM-0001-0001.jpeg"] = files["train/NORMAL/IM-0001-0001.jpeg"]
    found, items = planned(tmp_path, files, Protocol.STYLES)
    assert [fold.name for fold in found.folds] == [f"style-{number}" for number in range(1, 7)]
    scored = np.concatenate([fold.scored for fold in found.folds])
    assert len(scored) == len(set(scored))
    used = {items[row].patient for row in scored}
    assert {split_of(patient) for patient in used} == {Split.FIT, Split.WATCH, Split.VALIDATION}
    assert not any(patient.startswith("test/") for patient in used)
    for fold in found.folds:
        sides = [patients(items, rows) for rows in (fold.fit, fold.tune, fold.scored)]
        assert sum(len(side) for side in sides) == len(set.union(*sides))
        pictures = [
            {found.digests[items[row].key].picture for row in rows} for rows in (fold.fit, fold.tune, fold.scored)
        ]
        assert sum(len(side) for side in pictures) == len(set.union(*pictures))
    again, _ = planned(tmp_path, files, Protocol.STYLES)
    assert [list(fold.scored) for fold in again.folds] == [list(fold.scored) for fold in found.folds]


def test_the_same_bytes_are_never_on_two_sides(tmp_path: Path) -> None:
    files = published(30, 60)
    for number in range(1, 31):
        # every normal once more under another patient's name
        files[f"train/NORMAL/NORMAL2-IM-{number:04}-0001.jpeg"] = files[f"train/NORMAL/IM-{number:04}-0001.jpeg"]
    found, items = planned(tmp_path, files, Protocol.PATIENT)
    for fold in found.folds:
        sides = [{found.digests[items[row].key].picture for row in rows} for rows in (fold.fit, fold.tune, fold.scored)]
        assert sum(len(side) for side in sides) == len(set.union(*sides))
        # what is scored is never thinned out: a fifth of 60 patients with one normal each
        assert sum(items[row].label == "NORMAL" for row in fold.scored) == 12


@pytest.mark.parametrize(
    ("protocol", "files", "message"),
    [
        (Protocol.PATIENT, published(2, 60), "none with NORMAL falls to those fitted on|none with NORMAL"),
        (Protocol.PUBLISHED, published(30, 60) | published(0, 3, "test"), "none with NORMAL falls to those scored"),
        (Protocol.SEED, published(1, 40), "none with NORMAL"),
    ],
)
def test_too_few_patients_are_said(tmp_path: Path, protocol: Protocol, files: dict[str, bytes], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        planned(tmp_path, files, protocol)


def test_one_picture_with_two_labels_is_named(tmp_path: Path) -> None:
    files = published(3, 3)
    files["train/PNEUMONIA/person9_virus_9.jpeg"] = files["train/NORMAL/IM-0001-0001.jpeg"]
    with pytest.raises(DatasetError, match=r"different labels: .*IM-0001-0001"):
        planned(tmp_path, files, Protocol.SEED)


def test_a_fold_is_rows() -> None:
    assert Fold("x", *shuffle_split(10), np.empty(0, np.int64)).name == "x"
