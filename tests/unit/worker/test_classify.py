from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bundle.head import Head
from bundle.runtime import Seen
from imaging.reasons import Rejection
from worker.classify import score

HEAD = Head(np.float32([1, -1]), 0.0, 0.5)
INPUTS = [np.full((8, 8, 1), value, np.float32) for value in (0.2, 0.4)]


class Seeing:
    """Scores by the mean; its features are the means of quarters, and nought."""

    name = "seeing"

    def predict(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        return inputs.mean(axis=(1, 2, 3))

    def look(self, inputs: NDArray[np.float32]) -> Seen:
        quarters = inputs.reshape(len(inputs), 2, 4, 2, 4, 1).mean(axis=(2, 4))
        return Seen(self.predict(inputs), np.concatenate([quarters, np.zeros_like(quarters)], axis=3))


class Stranger:
    """Finds everything as unfamiliar as it is told to."""

    def __init__(self, value: float) -> None:
        self.value = value

    def unfamiliarity(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.full(len(inputs), self.value)


def test_a_bundle_without_more_gives_a_score_and_nothing_else() -> None:
    first, second = score(Seeing(), INPUTS)
    assert (first.value, second.value) == (pytest.approx(0.2), pytest.approx(0.4))
    assert (first.unfamiliarity, first.heat) == (None, None)


def test_one_inference_gives_score_unfamiliarity_and_heat() -> None:
    first, second = score(Seeing(), INPUTS, Stranger(1.25), HEAD)
    assert first.unfamiliarity == second.unfamiliarity == 1.25
    assert first.value == pytest.approx(0.2)
    assert second.heat == [[pytest.approx(0.8)] * 2] * 2


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_unfamiliarity_that_is_no_number_is_none(value: float) -> None:
    (found,) = score(Seeing(), INPUTS[:1], Stranger(value))
    assert found.unfamiliarity is None
    assert found.value is not None


def test_a_heatmap_that_is_no_number_is_none() -> None:
    class Broken(Seeing):
        def look(self, inputs: NDArray[np.float32]) -> Seen:
            seen = super().look(inputs)
            return Seen(seen.scores, seen.features * np.float32(np.nan))

    (found,) = score(Broken(), INPUTS[:1], None, HEAD)
    assert found.heat is None
    assert found.value == pytest.approx(0.2)


def test_one_image_that_fails_fails_alone() -> None:
    class Picky(Seeing):
        def look(self, inputs: NDArray[np.float32]) -> Seen:
            if (inputs > 0.3).any():
                message = "no"
                raise RuntimeError(message)
            return super().look(inputs)

    first, second = score(Picky(), INPUTS, Stranger(0.5), HEAD)
    assert (first.value, first.unfamiliarity) == (pytest.approx(0.2), 0.5)
    assert second.failed is Rejection.INFERENCE_FAILED
