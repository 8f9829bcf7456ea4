from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bundle.checks import Checks, compare
from bundle.errors import BundleRefused
from bundle.head import Head, decode
from bundle.runtime import Seen
from imaging.spec import PreprocessSpec

HEAD = Head(np.random.default_rng(0).standard_normal(6).astype(np.float32), -0.3, 2.0)
SPEC = PreprocessSpec(triangle_size=8, input_size=8, channels=1)


class Seeing:
    """Its features are powers of the means of quarters; it scores them as a network with HEAD would."""

    name = "seeing"

    def predict(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.look(inputs).scores

    def look(self, inputs: NDArray[np.float32]) -> Seen:
        features = inputs.reshape(len(inputs), 4, 2, 4, 2, 1).mean(axis=(2, 4)) ** np.arange(1, 7, dtype=np.float32)
        log_odds = features.mean(axis=(1, 2)) @ HEAD.towards + HEAD.offset
        return Seen((1 / (1 + np.exp(-log_odds))).astype(np.float32), features)


class Blind(Seeing):
    def look(self, inputs: NDArray[np.float32]) -> Seen:
        return Seen(super().look(inputs).scores, None)


def checks() -> Checks:
    masters = np.random.default_rng(0).integers(0, 65536, (3, 8, 8)).astype(np.uint16)
    return Checks(masters, Seeing().predict(np.stack([SPEC.apply(master) for master in masters])))


def test_contributions_add_up_to_the_score() -> None:
    seen = Seeing().look(np.stack([SPEC.apply(master) for master in checks().masters]))
    assert seen.features is not None
    added = HEAD.contributions(seen.features)
    assert added.shape == (3, 4, 4)
    log_odds = np.log(seen.scores / (1 - seen.scores))
    np.testing.assert_allclose(added.mean(axis=(1, 2)) + HEAD.offset, log_odds, atol=1e-4)
    np.testing.assert_allclose(HEAD.heat(seen.features) * HEAD.full, added, rtol=1e-5)


@pytest.mark.parametrize(
    "other",
    [
        Head(HEAD.towards, HEAD.offset + 0.1, HEAD.full),
        Head(HEAD.towards[::-1].copy(), HEAD.offset, HEAD.full),
        Head(HEAD.towards[:5], HEAD.offset, HEAD.full),
    ],
)
def test_the_head_of_another_network_is_refused(other: Head) -> None:
    compare(checks(), SPEC, Seeing(), HEAD)
    with pytest.raises(BundleRefused, match=r"head\.npz"):
        compare(checks(), SPEC, Seeing(), other)


def test_a_runtime_without_features_is_refused() -> None:
    compare(checks(), SPEC, Blind())
    with pytest.raises(BundleRefused, match="does not give the features"):
        compare(checks(), SPEC, Blind(), HEAD)


def test_it_survives_the_round_trip() -> None:
    found = decode(HEAD.encode())
    np.testing.assert_array_equal(found.towards, HEAD.towards)
    assert (found.offset, found.full) == (np.float32(HEAD.offset), HEAD.full)


def content(**arrays: Any) -> bytes:
    good = {"towards": HEAD.towards, "offset": np.float32([0]), "full": np.float32([1])}
    stream = io.BytesIO()
    np.savez(stream, **{name: array for name, array in {**good, **arrays}.items() if array is not None})
    return stream.getvalue()


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        HEAD.encode()[:100],
        content(full=None),
        content(full=np.float32([0])),
        content(full=np.float32([1, 2])),
        content(towards=np.zeros((2, 2), np.float32)),
        content(towards=np.float32([np.nan])),
        content(offset=np.float64([0])),
        content(offset=np.array([{}], object)),
    ],
)
def test_what_is_no_head_is_refused(damaged: bytes) -> None:
    decode(content())
    with pytest.raises(BundleRefused, match=r"head\.npz"):
        decode(damaged)
