from __future__ import annotations

import pytest

from training.datasets.collection import is_collection
from training.datasets.items import Item


def items(normals: list[str], pneumonias: list[str]) -> list[Item]:
    named = [("NORMAL", stem) for stem in normals] + [("PNEUMONIA", stem) for stem in pneumonias]
    return [Item(stem, f"any/{label}/{stem}.jpeg", label, None, stem, None) for label, stem in named]


NORMALS = ["IM-0115-0001", "IM-0115-0001-0002", "NORMAL2-IM-0173-0001", "NORMAL2-IM-0173-0001-0002"]
PNEUMONIAS = ["person1234_bacteria_5678", "person1_virus_6", "person1234_virus_99_1"]


def test_the_collection_is_known_by_its_names() -> None:
    assert is_collection(items(NORMALS, PNEUMONIAS))
    assert is_collection(items(["NORMAL-1003233-0001"], ["BACTERIA-1008087-0001", "VIRUS-1018048-0002"]))
    assert is_collection(items(NORMALS * 100, [*PNEUMONIAS * 100, "one of our own"]))


@pytest.mark.parametrize(
    ("normals", "pneumonias"),
    [
        # what a viewer exports, of both classes
        (NORMALS, ["IM-0001-0001", "IM-0002-0001"]),
        # our normals beside its pneumonias, and the other way round
        (["a1", "a2"], PNEUMONIAS * 1000),
        (NORMALS * 1000, ["b1", "b2"]),
        # names of the other class
        (PNEUMONIAS, NORMALS),
        ([*NORMALS, "one of our own"], PNEUMONIAS),
        (NORMALS, [f"{stem} and more" for stem in PNEUMONIAS]),
        ([], PNEUMONIAS),
        ([], []),
    ],
)
def test_other_data_are_not_the_collection(normals: list[str], pneumonias: list[str]) -> None:
    assert not is_collection(items(normals, pneumonias))
