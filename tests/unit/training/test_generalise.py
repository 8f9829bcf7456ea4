from __future__ import annotations

import numpy as np
import pytest

from training.datasets import Item
from training.errors import FitFailed
from training.generalise import folds
from training.pixels import Squares


def squares(normals: int, pneumonias: int) -> Squares:
    """Return normals framed in one of two ways, two images a patient, and pneumonias."""
    items, planes, labels, patients = [], [], [], []
    for number in range(normals + pneumonias):
        label = int(number >= normals)
        patient = number // 2
        grey = np.random.default_rng(number).integers(20_000, 30_000, (56, 56))
        # a patient's normals share their frame
        grey[:6] = 60_000 if patient % 3 else 0
        name = ("NORMAL", "PNEUMONIA")[label]
        items.append(Item(f"{name}/{number}", f"{number}", name, None, f"train/{patient}", None))
        planes.append(grey.astype(np.uint16))
        labels.append(label)
        patients.append(patient)
    return Squares(np.stack(planes), np.array(labels), np.array(patients), tuple(items))


def test_a_style_is_left_out_whole_and_nobody_is_on_two_sides() -> None:
    images = squares(40, 80)
    both = folds(images, 2)
    assert [fold.number for fold in both] == [0, 1]
    judged = np.concatenate([fold.judged for fold in both])
    np.testing.assert_array_equal(np.sort(judged), np.arange(120))
    for fold in both:
        uses = [set(images.patients[rows]) for rows in (fold.fitted, fold.choosing, fold.judged)]
        assert sum(map(len, uses)) == len(set.union(*uses)) == 60
        normals = fold.judged[images.labels[fold.judged] == 0]
        assert len({bool(images.planes[row, 0, 0]) for row in normals}) == 1
        # pneumonias are shared out evenly, by the patient alone
        assert 10 <= len(uses[2] & set(range(20, 60))) <= 30
    assert len(both[0].judged) >= len(both[1].judged) - 20


def test_too_few_normals_for_the_styles() -> None:
    with pytest.raises(FitFailed, match="do not fall into 6 styles"):
        folds(squares(4, 20), 6)
