from __future__ import annotations

import numpy as np
import pytest

from training.datasets.dataset import Item
from training.datasets.items import Traits
from training.examination.metrics import Scored
from training.examination.subgroups import subgroups

LABELS = np.array([0, 1] * 40)
# pneumonias of even patients are missed
SCORES = np.where((LABELS == 1) & (np.arange(80) % 4 == 1), 0.9, 0.2)
SCORED = Scored(LABELS, SCORES, SCORES, np.arange(80))


def items(*traits: Traits, kinds: tuple[str | None, ...] = (None, None)) -> tuple[Item, ...]:
    return tuple(
        Item(f"{n}", f"{n}", ("NORMAL", "PNEUMONIA")[n % 2], None, f"p{n}", kinds[n % 2], traits[n // 2 % len(traits)])
        for n in range(80)
    )


def test_a_kind_of_pneumonia_is_held_against_all_normals() -> None:
    found = subgroups(items(Traits(), kinds=(None, "viral")), None, SCORED, 0.5)
    assert list(found) == ["viral"]
    group = found["viral"]
    assert (group.of, group.n, group.normal, group.pneumonia, group.patients) == ("kind", 40, 40, 40, 80)
    assert set(group.metrics) == {"auc", "sensitivity", "average_precision"}
    assert group.metrics["sensitivity"].value == 0.5
    assert not group.few


def test_groups_have_both_classes_where_both_are_there() -> None:
    female, male = Traits(sex="F", view="AP", device="A 1"), Traits(sex="M", view="PA", age_days=400)
    found = subgroups(items(female, male), None, SCORED, 0.5)
    assert list(found) == [
        *("sex: F", "sex: M", "age: 1 and 2 years", "age: unknown", "view: AP", "view: PA"),
        *("device: A 1", "device: unknown"),
    ]
    women, men = found["sex: F"], found["sex: M"]
    assert (women.n, women.normal, women.pneumonia) == (40, 20, 20)
    # patients are in pairs: one of a pair has its pneumonia called, the other is missed
    assert (women.metrics["sensitivity"].value, men.metrics["sensitivity"].value) == (1.0, 0.0)
    assert women.metrics["specificity"].value == 1.0
    # told, and marked: 20 patients of each class are few
    assert women.few


def test_what_nobody_knows_has_no_groups() -> None:
    assert subgroups(items(Traits()), None, SCORED, 0.5) == {}


def test_one_class_alone_is_told_and_what_needs_both_is_empty() -> None:
    traits = Traits(sex="F")
    group = subgroups(items(traits)[::2], None, SCORED.only(LABELS == 0), 0.5)["sex: F"]
    assert (group.normal, group.pneumonia, group.few) == (40, 0, False)
    assert group.metrics["auc"].value is None
    assert group.metrics["specificity"].value == 1.0


@pytest.mark.parametrize(
    ("rows", "columns", "word"),
    [
        (224, 224, "under 0.25 megapixels"),
        (500, 500, "0.25 to 0.5 megapixels"),
        (1000, 1000, "1 to 2 megapixels"),
        (1999, 1000, "1 to 2 megapixels"),
        (2500, 3000, "4 megapixels and over"),
    ],
)
def test_sizes_are_of_the_original(rows: int, columns: int, word: str) -> None:
    sizes = np.tile([rows, columns], (80, 1))
    found = subgroups(items(Traits()), sizes, SCORED, 0.5)
    assert [(name, group.n) for name, group in found.items()] == [(f"size: {word}", 80)]


def test_bands_come_from_small_to_large() -> None:
    sizes = np.array([[3000, 3000], [1500, 1000], [224, 224], [1500, 2000]] * 20)
    ages = [Traits(age_days=days) for days in (9000, 100, 2191, 2192)]
    found = subgroups(items(*ages), sizes, SCORED, 0.5)
    assert list(found) == [
        *("size: under 0.25 megapixels", "size: 1 to 2 megapixels", "size: 2 to 4 megapixels"),
        "size: 4 megapixels and over",
        *("age: under 1 year", "age: 3 to 5 years", "age: 6 to 17 years", "age: 18 years and over"),
    ]
