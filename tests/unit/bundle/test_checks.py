from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bundle.checks import Checks, compare, decode
from bundle.errors import BundleRefused
from imaging.spec import PreprocessSpec

SPEC = PreprocessSpec(triangle_size=8, input_size=8, channels=1)


class MeanRuntime:
    """Scores an image by its mean, plus what a damaged weight would add."""

    name = "mean"

    def __init__(self, off: float = 0.0) -> None:
        self.off = off

    def predict(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        return (inputs.mean(axis=(1, 2, 3)) + self.off).astype(np.float32)


def made() -> Checks:
    masters = np.random.default_rng(0).integers(0, 65536, (3, 8, 8)).astype(np.uint16)
    return Checks(masters, MeanRuntime().predict(np.stack([SPEC.apply(master) for master in masters])))


def test_checks_survive_the_round_trip_and_agree() -> None:
    found = decode(made().encode())
    np.testing.assert_array_equal(found.masters, made().masters)
    assert compare(found, SPEC, MeanRuntime()) == 0.0


@pytest.mark.parametrize("off", [1e-3, -1e-3, float("nan"), float("inf")])
def test_other_scores_are_refused(off: float) -> None:
    with pytest.raises(BundleRefused, match="expected scores"):
        compare(made(), SPEC, MeanRuntime(off))


def test_other_preprocessing_is_noticed() -> None:
    class Contrast(MeanRuntime):
        def predict(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
            return inputs.std(axis=(1, 2, 3))

    masters = made().masters
    checks = Checks(masters, Contrast().predict(np.stack([SPEC.apply(master) for master in masters])))
    with pytest.raises(BundleRefused, match="expected scores"):
        compare(checks, PreprocessSpec(triangle_size=4, input_size=8, channels=1), Contrast())


class Payload:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.touch, (self.canary,))


def test_pickled_arrays_are_never_unpickled(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    stream = io.BytesIO()
    np.savez(stream, masters=np.array([Payload(canary)], dtype=object), scores=np.zeros(1, np.float32))
    with pytest.raises(BundleRefused, match="cannot be read"):
        decode(stream.getvalue())
    assert not canary.exists()
    pickle.loads(pickle.dumps(Payload(canary)))  # noqa: S301 - shows that the payload would have worked
    assert canary.exists()


@pytest.mark.parametrize(
    ("masters", "scores"),
    [
        (np.zeros((1, 8, 8), np.uint8), np.zeros(1, np.float32)),
        (np.zeros((2, 8, 8), np.uint16), np.zeros(1, np.float32)),
        (np.zeros((0, 8, 8), np.uint16), np.zeros(0, np.float32)),
        (np.zeros((1, 8, 8), np.uint16), np.array([np.nan], np.float32)),
        (np.zeros((1, 8, 8), np.uint16), np.zeros(1, np.float64)),
    ],
)
def test_contents_of_another_form_are_refused(masters: np.ndarray, scores: np.ndarray) -> None:
    with pytest.raises(BundleRefused, match="does not hold"):
        decode(Checks(masters, scores).encode())


def test_what_is_no_archive_is_refused() -> None:
    with pytest.raises(BundleRefused, match="cannot be read"):
        decode(b"nonsense")
