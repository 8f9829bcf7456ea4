from __future__ import annotations

from pathlib import Path

import numpy as np

from imaging.spec import PreprocessSpec
from tests.factories.collections import write_folder
from tests.factories.dicom_objects import gradient, part10, phantom
from training.datasets.dataset import open_dataset
from training.datasets.pixels import load, load_squares


def test_dicom_files_of_a_table_are_loaded_from_their_masters(tmp_path: Path) -> None:
    files = {f"{number}.dcm": part10(phantom(f"pixels {number}", picture=gradient(seed=number))) for number in (1, 2)}
    files["labels.csv"] = b"file,label\n1.dcm,NORMAL\n2.dcm,PNEUMONIA\n"
    spec = PreprocessSpec(triangle_size=32, input_size=16, channels=1)
    with open_dataset(write_folder(tmp_path / "site", files)) as dataset:
        examples = load(dataset, dataset.items, spec)
        squares = load_squares(dataset, dataset.items, spec)
        for row, item in enumerate(dataset.items):
            np.testing.assert_array_equal(examples.planes[row], spec.apply(dataset.master(item))[:, :, 0])
    assert squares.planes.shape == (2, 32, 32)
    assert sorted(examples.labels) == [0, 1]
