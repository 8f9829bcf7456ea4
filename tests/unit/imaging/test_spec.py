from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from core.errors import Misconfigured
from imaging.spec import PreprocessSpec, input_digest


def picture(side: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (side, side)).astype(np.uint8)


def test_the_shape_is_what_the_network_takes() -> None:
    master = np.zeros((512, 400), np.uint16)
    assert PreprocessSpec().apply(master).shape == (128, 128, 3)
    single = PreprocessSpec(input_size=224, channels=1).apply(master)
    assert (single.shape, single.dtype) == ((224, 224, 1), np.float32)


def test_black_and_white_are_zero_and_one() -> None:
    for value, expected in ((0, 0.0), (65535, 1.0)):
        assert (PreprocessSpec().apply(np.full((300, 200), value, np.uint16)) == expected).all()


def test_a_training_copy_passes_the_first_filter_untouched() -> None:
    copy = picture(224)
    plane = PreprocessSpec(input_size=224, channels=1).apply(copy.astype(np.uint16) * np.uint16(257))[:, :, 0]
    np.testing.assert_array_equal(plane, copy.astype(np.float32) * 257 / np.float32(65535))


def test_the_second_filter_is_pillows_triangle() -> None:
    copy = picture(224)
    plane = PreprocessSpec(channels=1).apply(copy.astype(np.uint16) * np.uint16(257))[:, :, 0]
    # Pillow's own 8-bit path rounds, once a direction, so it agrees to a grey level
    pillow = np.asarray(Image.fromarray(copy).resize((128, 128), Image.Resampling.BILINEAR))
    assert np.abs(plane * 255 - pillow).max() <= 1.01


def test_the_digest_follows_every_field() -> None:
    spec = PreprocessSpec()
    others = [
        dataclasses.replace(spec, triangle_size=256),
        dataclasses.replace(spec, input_size=224),
        dataclasses.replace(spec, channels=1),
    ]
    assert len({other.digest() for other in (spec, *others)}) == 4
    # held fixed: bundles in the field carry it
    assert spec.digest() == "967f0c60636e418134e40adba97bca75fd8c0d08e822ab8dd2f1b101d753479b"


STANDARD = PreprocessSpec(input_size=160, channels=1, scale="standard", crop=0.05, clip=(1.0, 99.0))


@pytest.mark.parametrize("spec", [PreprocessSpec(input_size=96, channels=1), STANDARD])
def test_it_reads_back_what_it_wrote(spec: PreprocessSpec) -> None:
    through_json = json.loads(json.dumps(spec.to_dict()))
    assert PreprocessSpec.from_dict(through_json) == spec
    assert PreprocessSpec.from_dict(through_json).digest() == spec.digest()


def test_what_the_first_fields_can_say_stays_version_one() -> None:
    assert PreprocessSpec().to_dict() == {
        "version": 1, "triangle_size": 224, "input_size": 128, "channels": 3, "scale": "unit"
    }  # fmt: skip
    assert STANDARD.to_dict()["version"] == 2
    # held fixed: bundles in the field carry it
    assert STANDARD.digest() == "b930df9d472302f392d5d0975b1881077ceaf2dd9885b6d134fb356319f9b788"
    with pytest.raises(Misconfigured, match="are version 1, not 2"):
        PreprocessSpec.from_dict({**PreprocessSpec().to_dict(), "version": 2, "crop": 0.0, "clip": None})


def test_standardised_input_forgets_exposure_and_letters() -> None:
    master = (picture(224) * np.uint16(60)).astype(np.uint16)
    plane = STANDARD.apply(master)
    assert (plane.shape, plane.dtype) == ((160, 160, 1), np.float32)
    assert abs(float(plane.mean())) < 1e-5
    assert abs(float(plane.std()) - 1) < 1e-4
    brighter = (master.astype(np.int64) * 3 + 5000).astype(np.uint16)
    np.testing.assert_allclose(STANDARD.apply(brighter), plane, atol=1e-4)
    marked = master.copy()
    marked[100:108, 100:108] = 65535
    # the letter is no brighter than the brightest hundredth, so all else stays nearly as it was
    assert np.median(np.abs(STANDARD.apply(marked) - plane)) < 0.05
    assert marked.max() == 65535 > STANDARD.apply(marked).max()


def test_the_crop_leaves_the_edge_out() -> None:
    edged = picture(224).astype(np.uint16)
    edged[:10] = edged[-10:] = edged[:, :10] = edged[:, -10:] = 60_000
    bare = picture(224).astype(np.uint16)
    spec = dataclasses.replace(STANDARD, crop=0.06)
    np.testing.assert_array_equal(spec.apply(edged), spec.apply(bare))


def test_an_empty_image_is_nought() -> None:
    assert (STANDARD.apply(np.full((300, 200), 40_000, np.uint16)) == 0).all()


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"version": None},
        {"scale": "imagenet"},
        {"channels": 2},
        {"channels": True},
        {"input_size": 0},
        {"input_size": 128.0},
        {"triangle_size": 100_000},
        {"surprise": 1},
    ],
)
def test_a_spec_this_code_does_not_implement_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(Misconfigured):
        PreprocessSpec.from_dict({**PreprocessSpec().to_dict(), **change})


@pytest.mark.parametrize(
    "change",
    [
        {"version": 1},
        {"version": True},
        {"scale": "percent"},
        {"crop": 0.3},
        {"crop": -0.1},
        {"crop": 0},
        {"crop": float("nan")},
        {"clip": [99, 1]},
        {"clip": [1]},
        {"clip": ["1", "99"]},
        {"clip": 5},
        {"clip": [float("nan"), 99]},
        {"surprise": 1},
    ],
)
def test_a_standardised_spec_this_code_does_not_implement_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(Misconfigured):
        PreprocessSpec.from_dict({**STANDARD.to_dict(), **change})


@pytest.mark.parametrize("master", [np.zeros((5, 5)), np.zeros((5, 5, 1), np.uint16), np.zeros((0, 5), np.uint16)])
def test_only_masters_are_taken(master: np.ndarray[tuple[int, ...], np.dtype[np.uint16]]) -> None:
    with pytest.raises(ValueError, match="master"):
        PreprocessSpec().apply(master)


def test_the_input_digest_depends_on_every_value() -> None:
    values = PreprocessSpec().apply(picture(224).astype(np.uint16))
    changed = values.copy()
    changed[5, 5, 0] = np.nextafter(changed[5, 5, 0], np.float32(1))
    assert input_digest(values) == input_digest(values.copy())
    assert input_digest(values) != input_digest(changed)
