from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from imaging.spec import PreprocessSpec
from training.datasets.dataset import Item
from training.datasets.pixels import Squares
from training.errors import DatasetError
from training.examination.stress import DISTORTIONS, UNCHANGED, stress

SPEC = PreprocessSpec(triangle_size=64, input_size=64, channels=1)


class Middle:
    """Sees only the middle: pneumonias are brighter there."""

    name = "middle"

    def predict(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        return inputs[:, 24:40, 24:40, 0].mean(axis=(1, 2))


class Frame:
    """Sees only the frame."""

    name = "frame"

    def predict(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        return inputs[:, :6, :, 0].mean(axis=(1, 2))


@pytest.fixture
def squares() -> Squares:
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    planes = rng.integers(10_000, 30_000, (40, 64, 64)).astype(np.uint16)
    planes[labels == 1] += 20_000
    items = tuple(Item(f"{n}", f"{n}", ("NORMAL", "PNEUMONIA")[n % 2], None, f"p{n}", None) for n in range(40))
    return Squares(planes, labels, np.arange(40), items)


def test_every_distortion_keeps_shape_and_range() -> None:
    rng = np.random.default_rng(0)
    plane, lender = rng.random((2, 64, 64), np.float32)
    for name, distortion in DISTORTIONS.items():
        before = plane.copy()
        changed = distortion(plane, lender, np.random.default_rng(0))
        assert changed.shape == plane.shape, name
        np.testing.assert_array_equal(plane, before)
        assert (name == UNCHANGED) == np.array_equal(changed, plane)


def test_a_model_of_the_middle_stands_what_is_done_to_the_frame(squares: Squares) -> None:
    found = {row.name: row for row in stress(SPEC, Middle(), 0.4, squares, resamples=20)}
    assert list(found) == list(DISTORTIONS)
    unchanged = found[UNCHANGED]
    assert (unchanged.auc.value, unchanged.auc_change.value, unchanged.moved) == (1, 0, 0)
    assert (unchanged.sensitivity.value, unchanged.specificity.value) == (1, 1)
    for name in ("frame masked", "frame of the other class"):
        assert (found[name].auc.value, found[name].moved) == (1, 0)
        assert (found[name].auc_change.low, found[name].auc_change.high) == (0, 0)
    # brighter images cross a threshold that stays, though their order is the same
    assert found["exposure x 1.3"].auc.value == 1
    assert found["exposure x 1.3"].specificity.value < 1


def test_a_model_of_the_frame_is_found_out(squares: Squares) -> None:
    steps = []
    few = {name: DISTORTIONS[name] for name in ("frame only", "frame of the other class", "blur 1 px")}
    rows = stress(SPEC, Frame(), 0.4, squares, few, advance=lambda: steps.append(1), resamples=20)
    found = {row.name: row for row in rows}
    swapped = found["frame of the other class"]
    assert swapped.auc.value < 0.2
    assert swapped.auc_change.low <= swapped.auc_change.value <= swapped.auc_change.high < -0.5
    assert found["frame only"].auc.value == 1
    assert list(found) == [UNCHANGED, *few]
    assert len(steps) == len(found)


def test_one_class_alone_cannot_be_stressed(squares: Squares) -> None:
    with pytest.raises(DatasetError, match="both classes"):
        stress(SPEC, Middle(), 0.4, squares.only(np.flatnonzero(squares.labels == 0)))
