from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bundle.errors import BundleRefused
from bundle.familiarity import decode, describe
from bundle.load import load
from bundle.manifest import FAMILIARITY
from core.settings import RuntimeChoice
from imaging.spec import PreprocessSpec
from tests.factories.bundles import bare, chest, familiarity, knowing, make_bundle, make_key, noise, starter
from training.bundling.card import model_card

TRUSTED = [make_key().public_key()]
SPEC = PreprocessSpec.from_dict(starter().manifest.preprocess)


def chests(count: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([SPEC.apply(chest(rng)) for _ in range(count)])


def test_what_is_like_the_training_data_is_told_from_what_is_not() -> None:
    known, alike = familiarity(), chests(40)
    assert np.mean(known.unfamiliarity(alike) < 1.5) > 0.9
    others = {
        "inverted": 1 - alike[:10],
        "turned": np.rot90(alike[:10], axes=(1, 2)).copy(),
        "noise": noise(10),
        "black": np.zeros_like(noise(1)),
        "white": np.ones_like(noise(1)),
    }
    for name, inputs in others.items():
        assert (known.unfamiliarity(inputs) > 1.5).all(), name


def test_exposure_alone_changes_nothing() -> None:
    (image,) = chests(1)
    for name, described in describe(image * np.float32(0.5) + np.float32(0.1)).items():
        np.testing.assert_allclose(described, describe(image)[name], atol=2e-3)


@pytest.mark.parametrize("size", [24, 128, 160])
def test_descriptions_have_one_size_whatever_the_networks_is(size: int) -> None:
    image = np.random.default_rng(0).random((size, size, 1), np.float32)
    found = {name: described.shape for name, described in describe(image).items()}
    assert found == {"layout": (256,), "edges": (200,), "detail": (9,)}


def test_edges_tell_directions() -> None:
    upright = np.tile(np.linspace(0, 1, 160, dtype=np.float32), (160, 1))[:, :, np.newaxis]
    lying = np.swapaxes(upright, 0, 1)
    shares = [describe(image)["edges"].reshape(25, 8).mean(axis=0) for image in (upright, lying)]
    # of eight directions, the fourth from the first is at a right angle to it
    assert [int(share.argmax()) for share in shares] == [0, 4]


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_what_is_no_number_is_never_familiar(value: float) -> None:
    inputs = chests(1)
    inputs[0, 3, 4] = value
    (found,) = familiarity().unfamiliarity(inputs)
    assert not found < 1.5


def test_of_no_image_there_is_no_unfamiliarity() -> None:
    assert familiarity().unfamiliarity(chests(1)[:0]).shape == (0,)


def test_it_survives_the_bundle(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle", **knowing(2.5))
    model = load(tmp_path / "bundle", RuntimeChoice.LITERT, None, TRUSTED)
    assert model.manifest.familiarity is not None
    assert model.manifest.familiarity.threshold == 2.5
    assert model.familiarity is not None
    inputs = chests(3)
    np.testing.assert_array_equal(model.familiarity.unfamiliarity(inputs), familiarity().unfamiliarity(inputs))
    card = model_card(model.manifest)
    assert "| noise | 60 | 1.000 |" in card
    assert "(under 95%): frontal chests (drawn)." in card


def test_a_bundle_without_it_stays_what_it_was(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bare", **bare())
    model = load(tmp_path / "bare", RuntimeChoice.LITERT, None, [make_key().public_key()])
    assert (model.familiarity, model.head, model.manifest.familiarity) == (None, None, None)
    assert "nfamiliar" not in model_card(model.manifest)


def test_file_and_threshold_go_together(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="both or not at all"):
        make_bundle(tmp_path / "file", familiarity=None)
    with pytest.raises(ValueError, match="both or not at all"):
        make_bundle(tmp_path / "threshold", lacking=[FAMILIARITY])


def altered(**arrays: Any) -> bytes:
    with np.load(io.BytesIO(familiarity().encode())) as found:
        content = {name: found[name] for name in found.files}
    stream = io.BytesIO()
    np.savez(stream, **{name: array for name, array in {**content, **arrays}.items() if array is not None})
    return stream.getvalue()


class Payload:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.canary,)


def test_a_file_that_does_not_hold_together_is_refused() -> None:
    decode(altered())
    for content in (
        b"",
        b"nonsense",
        familiarity().encode()[:1000],
        altered(layout_centres=None),
        altered(more=np.zeros(1, np.float32)),
        altered(layout_limit=np.float32([0])),
        altered(layout_limit=np.float32([np.nan])),
        altered(edges_whitening=np.zeros((3, 3), np.float32)),
        altered(detail_centres=np.zeros((0, 9), np.float32)),
        altered(detail_centres=np.zeros((1, 9), np.float64)),
        altered(detail_centres=np.full((1, 9), np.inf, np.float32)),
    ):
        with pytest.raises(BundleRefused, match=r"familiarity\.npz"):
            decode(content)


def test_a_damaged_file_keeps_its_bundle_out_of_service(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle", **{**knowing(), "files": {FAMILIARITY: altered(layout_limit=np.float32([-1]))}})
    with pytest.raises(BundleRefused, match="sound spread of layout"):
        load(tmp_path / "bundle", RuntimeChoice.LITERT, None, TRUSTED)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    pickle.loads(pickle.dumps(Payload(canary)))  # noqa: S301 - shows that the payload works
    canary.unlink()
    with pytest.raises(BundleRefused):
        decode(altered(layout_limit=np.array([Payload(canary)], object)))
    assert not canary.exists()
