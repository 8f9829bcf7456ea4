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


def test_a_batch_that_needs_too_much_memory_goes_image_by_image() -> None:
    class Small(Seeing):
        tried: list[int] = []  # noqa: RUF012 - of this test

        def look(self, inputs: NDArray[np.float32]) -> Seen:
            self.tried.append(len(inputs))
            if len(inputs) > 1:
                raise MemoryError
            return super().look(inputs)

    runtime = Small()
    found = score(runtime, [*INPUTS, *INPUTS], Stranger(0.5), HEAD)
    assert [one.value for one in found] == pytest.approx([0.2, 0.4, 0.2, 0.4])
    assert runtime.tried == [4, 1, 1, 1, 1]


def gives(scores: object, features: object) -> Seeing:
    class Odd(Seeing):
        def look(self, _: NDArray[np.float32]) -> Seen:
            return Seen(scores, features)

    return Odd()


def flat(*shape: int) -> NDArray[np.float32]:
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize(
    ("scores", "features"),
    [
        (flat(2), flat(1, 2, 2, 2)),
        (flat(1, 2), flat(1, 2, 2, 2)),
        (flat(), flat(1, 2, 2, 2)),
        (np.zeros(1, np.int64), flat(1, 2, 2, 2)),
        (np.array(["0.1"]), flat(1, 2, 2, 2)),
        (flat(1), None),
        (flat(1), flat(2, 2, 2, 2)),
        (flat(1), flat(1, 2, 2, 3)),
        (flat(1), flat(1, 2, 2)),
        (flat(1), flat(0)),
    ],
)
def test_what_has_another_shape_than_the_images_is_no_result_and_is_not_tried_again(
    scores: object, features: object
) -> None:
    (found,) = score(gives(scores, features), INPUTS[:1], Stranger(0.5), HEAD)
    assert (found.value, found.failed, found.again) == (None, Rejection.INFERENCE_FAILED, False)
    # nor does it pass for its neighbour's
    together = score(gives(scores, features), INPUTS, Stranger(0.5), HEAD)
    assert {one.value for one in together} <= {None, 0.0}
    assert all(one.failed or one.heat for one in together)


@pytest.mark.parametrize("shape", [(2,), (1, 1), ()])
def test_an_unfamiliarity_of_another_shape_is_no_result(shape: tuple[int, ...]) -> None:
    class Odd(Stranger):
        def unfamiliarity(self, _: NDArray[np.float32]) -> NDArray[np.float64]:
            return np.zeros(shape)

    (found,) = score(Seeing(), INPUTS[:1], Odd(0.0))
    assert (found.value, found.failed) == (None, Rejection.INFERENCE_FAILED)


def test_an_unfamiliarity_that_fails_is_no_result_and_spares_the_neighbours() -> None:
    class Odd(Stranger):
        def unfamiliarity(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
            if (inputs > 0.3).any():
                raise ZeroDivisionError
            return super().unfamiliarity(inputs)

    first, second = score(Seeing(), INPUTS, Odd(0.25))
    assert (first.value, first.unfamiliarity) == (pytest.approx(0.2), 0.25)
    assert (second.value, second.failed, second.again) == (None, Rejection.INFERENCE_FAILED, True)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_number_stays_one_and_is_its_images_alone(value: float) -> None:
    scores = np.array([value, 0.25], np.float32)
    first, second = score(gives(scores, flat(2, 2, 2, 2)), INPUTS, Stranger(0.5), HEAD)
    assert first.value is not None
    assert not np.isfinite(first.value)
    assert second.value == 0.25
