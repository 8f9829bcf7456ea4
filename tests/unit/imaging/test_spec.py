from __future__ import annotations

import dataclasses

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


def test_it_reads_back_what_it_wrote() -> None:
    spec = PreprocessSpec(input_size=96, channels=1)
    assert PreprocessSpec.from_dict(spec.to_dict()) == spec


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
