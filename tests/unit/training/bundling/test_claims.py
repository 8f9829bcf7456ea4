from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import Misconfigured
from tests.factories.collections import published, write_folder
from training.bundling.claims import Claims, read_intended_use
from training.datasets.collection import ATTRIBUTION, COLLECTION, INTENDED_USE
from training.datasets.dataset import open_dataset
from training.errors import DatasetError

ADULTS: dict[str, Any] = {
    "purpose": "Marks chest radiographs of adults.",
    "population": "Adults of one ward.",
    "age_days": [6575, 40000],
    "views": ["PA"],
    "classes": "Pneumonia against none.",
    "limits": [],
}
SITE = {f"{label}/{number}.png": b"x" for label in ("NORMAL", "PNEUMONIA") for number in range(3)}


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "use.json"
    path.write_text(json.dumps({name: value for name, value in (ADULTS | changes).items() if value is not None}))
    return path


def test_the_collection_is_called_what_it_is(tmp_path: Path) -> None:
    with open_dataset(write_folder(tmp_path / "some", published(2, 2))) as dataset:
        assert Claims().of(dataset) == (COLLECTION, ATTRIBUTION, INTENDED_USE)
        assert Claims("a part of it").of(dataset) == ("a part of it", ATTRIBUTION, INTENDED_USE)


def test_a_sites_own_data_are_what_the_site_says(tmp_path: Path) -> None:
    use = read_intended_use(written(tmp_path))
    with open_dataset(write_folder(tmp_path / "ward", SITE)) as dataset:
        assert Claims("our ward", "ours alone", use).of(dataset) == ("our ward", "ours alone", use)
        with pytest.raises(
            DatasetError, match=r"ward is not the public collection .*: say --attribution, --intended-use "
        ):
            Claims("our ward").of(dataset)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"views": None}, "views: Field required"),
        ({"age_days": [6, 5]}, "age_days: the first day included"),
        ({"age_days": [-1, 5]}, "age_days: the first day included"),
        ({"age_days": ["one", 5]}, "age_days.0: Input should be a valid integer"),
        ({"ages": [1, 5]}, "ages: Extra inputs are not permitted"),
    ],
)
def test_an_intended_use_that_is_none_is_refused_by_field(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = written(tmp_path, **changes)
    with pytest.raises(Misconfigured) as refused:
        read_intended_use(path)
    assert str(refused.value).startswith(f"{path} is no intended use: ")
    assert said in str(refused.value)


def test_an_intended_use_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"none\.json cannot be read: No such file"):
        read_intended_use(tmp_path / "none.json")
    (tmp_path / "words").write_text("for adults")
    with pytest.raises(Misconfigured, match="words is no intended use: intended use: Invalid JSON"):
        read_intended_use(tmp_path / "words")


def test_the_documents_example_is_an_intended_use(tmp_path: Path) -> None:
    page = Path(__file__).resolve().parents[4] / "docs" / "model-card.md"
    path = tmp_path / "use.json"
    path.write_text(page.read_text().partition("```json\n")[2].partition("```")[0])
    assert read_intended_use(path).views == ("PA", "AP")
