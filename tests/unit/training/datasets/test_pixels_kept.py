from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imaging.spec import PreprocessSpec
from tests.factories.collections import picture, published, write_folder
from training.datasets.dataset import Dataset, open_dataset
from training.datasets.pixels import Kept, load, load_squares
from training.errors import DatasetError

SPEC = PreprocessSpec(triangle_size=40, input_size=16, channels=1)


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.datasets.pixels._PART", 40_000)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "pictures", published(40, 60))


def both(dataset: Dataset, kept: Kept | None) -> tuple[np.ndarray, np.ndarray]:
    return (
        load(dataset, dataset.items, SPEC, kept=kept).planes,
        load_squares(dataset, dataset.items, SPEC, kept=kept).planes,
    )


def test_what_is_kept_is_what_would_be_in_memory_and_is_not_read_again(pictures: Path, tmp_path: Path) -> None:
    kept = Kept(tmp_path / "kept", "digest")
    with open_dataset(pictures) as dataset:
        plain = both(dataset, None)
        first = both(dataset, kept)
        for path in pictures.rglob("*.jpeg"):
            path.write_bytes(b"")
        again = both(dataset, kept)
        for one, made, found in zip(plain, first, again, strict=True):
            assert one.dtype == made.dtype == found.dtype
            assert isinstance(found, np.memmap)
            np.testing.assert_array_equal(one, made)
            np.testing.assert_array_equal(one, found)
        with pytest.raises(DatasetError, match="is empty"):
            load(dataset, dataset.items, SPEC, kept=Kept(tmp_path / "kept", "other data"))


def test_an_unreadable_picture_is_named_and_what_was_made_before_it_stays(pictures: Path, tmp_path: Path) -> None:
    bad = pictures / "train/PNEUMONIA/person57_virus_157.jpeg"
    bad.write_bytes(bad.read_bytes()[:200])
    kept = Kept(tmp_path / "kept", "digest")
    steps: list[int] = []
    with open_dataset(pictures) as dataset:
        for use in (None, kept):
            with pytest.raises(
                DatasetError,
                match=r"train/PNEUMONIA/person57_virus_157\.jpeg is no readable picture: .*; replace or remove it$",
            ):
                load(dataset, dataset.items, SPEC, kept=use)
        assert not list(kept.folder.glob("*.npy"))
        bad.write_bytes(picture("PNEUMONIA", 10_057))
        planes = load(dataset, dataset.items, SPEC, lambda: steps.append(1), kept=kept).planes
        np.testing.assert_array_equal(planes, load(dataset, dataset.items, SPEC).planes)
    assert len(steps) == len(dataset.items)
    assert not list(kept.folder.glob("*.partial"))
