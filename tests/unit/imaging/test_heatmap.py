from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from imaging.heatmap import WARNING, render, spread_out


def hot(row: int, column: int) -> NDArray[np.float32]:
    heat = np.zeros((5, 5), np.float32)
    heat[row, column] = 1
    return heat


def drawn(master: NDArray[np.uint16], heat: NDArray[np.float32]) -> Image.Image:
    return Image.open(io.BytesIO(render(master, heat, 0.05, "model 1")))


@pytest.mark.parametrize("shape", [(512, 400), (300, 512), (60, 512)])
@pytest.mark.parametrize(("row", "column"), [(0, 0), (2, 2), (4, 1), (1, 4)])
def test_a_place_lands_where_the_model_saw_it(shape: tuple[int, int], row: int, column: int) -> None:
    whole = spread_out(hot(row, column), shape, 0.1)
    assert whole.shape == shape
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    centre = (whole * rows).sum() / whole.sum() / shape[0], (whole * columns).sum() / whole.sum() / shape[1]
    # the middle of the place, squash and crop undone
    np.testing.assert_allclose(centre, [0.1 + 0.8 * (place + 0.5) / 5 for place in (row, column)], atol=0.05)


def test_nothing_is_claimed_of_what_was_cropped_away() -> None:
    whole = spread_out(np.ones((5, 5), np.float32), (200, 100), 0.1)
    assert whole[20:180, 10:90].min() == 1
    whole[20:180, 10:90] = 0
    assert whole.max() == 0


def test_only_what_speaks_for_the_finding_is_coloured() -> None:
    master = np.full((400, 450), 30000, np.uint16)
    pixels = np.asarray(drawn(master, hot(2, 2) - hot(0, 0)))[:400].astype(int)
    assert (pixels[..., 0] - pixels[..., 2])[180:220, 210:240].min() > 30
    assert (pixels[..., 0] - pixels[..., 2])[:80, :90].max() == 0


def test_cold_or_no_numbers_leave_the_image_alone() -> None:
    master = np.random.default_rng(0).integers(0, 65536, (400, 420)).astype(np.uint16)
    for heat in (np.full((5, 5), -3, np.float32), np.full((5, 5), np.nan, np.float32)):
        pixels = np.asarray(drawn(master, heat))[:400]
        for channel in range(3):
            np.testing.assert_allclose(pixels[..., channel], master / 257, atol=0.51)


@pytest.mark.parametrize("shape", [(512, 512), (512, 30), (60, 512), (1, 1)])
def test_every_picture_says_that_it_is_no_localisation(shape: tuple[int, int]) -> None:
    image = drawn(np.zeros(shape, np.uint16), hot(1, 1))
    assert image.mode == "RGB"
    assert WARNING == "NOT LOCALISATION"
    assert WARNING in image.text["Warning"]
    assert "not localisation" in image.text["Title"]
    assert image.text["Source"] == "model 1"
    strip = np.asarray(image)[shape[0] :]
    assert (strip > 200).any()
    # the words fit
    assert strip[:, -2:].max() == 0
