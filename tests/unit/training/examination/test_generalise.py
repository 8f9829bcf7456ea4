from __future__ import annotations

import numpy as np
import pytest

from training.datasets.dataset import Item
from training.datasets.styles import frames
from training.errors import DatasetError
from training.examination.generalise import folds


def drawn(normals: int, pneumonias: int) -> tuple[tuple[Item, ...], np.ndarray, np.ndarray]:
    """Return items, planes and frames: normals framed in one of two ways, two images a patient, and pneumonias."""
    items, planes = [], []
    for number in range(normals + pneumonias):
        patient = number // 2
        grey = np.random.default_rng(number).integers(20_000, 30_000, (56, 56))
        # a patient's normals share their frame
        grey[:6] = 60_000 if patient % 3 else 0
        name = ("NORMAL", "PNEUMONIA")[int(number >= normals)]
        items.append(Item(f"{name}/{number}", f"{number}", name, None, f"train/{patient}", None))
        planes.append(grey.astype(np.uint16))
    return tuple(items), np.stack(planes), frames(np.stack(planes[:normals]))


def test_a_style_is_left_out_whole_and_nobody_is_on_two_sides() -> None:
    items, planes, framed = drawn(40, 80)
    both = folds(items, framed, 2)
    assert [fold.number for fold in both] == [0, 1]
    judged = np.concatenate([fold.judged for fold in both])
    np.testing.assert_array_equal(np.sort(judged), np.arange(120))
    for fold in both:
        uses = [{items[row].patient for row in rows} for rows in (fold.fitted, fold.choosing, fold.judged)]
        assert sum(map(len, uses)) == len(set.union(*uses)) == 60
        normals = [row for row in fold.judged if items[row].label == "NORMAL"]
        assert len({bool(planes[row, 0, 0]) for row in normals}) == 1
        # pneumonias are shared out evenly, by the patient alone
        assert 10 <= len(uses[2] & {f"train/{patient}" for patient in range(20, 60)}) <= 30
    assert len(both[0].judged) >= len(both[1].judged) - 20


def test_too_few_normals_for_the_styles() -> None:
    items, _, framed = drawn(4, 20)
    with pytest.raises(DatasetError, match="do not fall into 6 styles"):
        folds(items, framed, 6)
